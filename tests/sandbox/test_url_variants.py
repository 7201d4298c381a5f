import html
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import get_args
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import pytest

from gateway.sandbox import API, Sandbox
from gateway.sandbox.response_variants import UrlVariant
from gateway.sandbox.switches import UrlStyle

Send = Callable[..., Awaitable[tuple[int, Mapping[str, str], bytes]]]
OIC = "https://acme.integration.us-phoenix-1.ocp.oraclecloud.com"
DESIGN = "https://design.integration.us-phoenix-1.ocp.oraclecloud.com:443"


def spelled(style: UrlStyle, text: str, kind: str = "json") -> str:
    return UrlVariant(style, (OIC, DESIGN)).rewrite(text, kind)


@pytest.mark.parametrize(
    ("style", "kind", "written"),
    [
        ("plain", "json", f"{OIC}/ic/a"),
        ("port", "json", f"{OIC}:443/ic/a"),
        ("http", "json", f"http{OIC.removeprefix('https')}/ic/a"),
        ("upper", "json", f"{OIC.upper()}/ic/a"),
        ("escaped", "json", f"{OIC}/ic/a".replace("/", "\\/")),
        ("escaped", "xml", f"{OIC}/ic/a"),
        ("entities", "xml", f"{OIC}/ic/a".replace(":", "&#58;").replace("/", "&#x2F;")),
        ("entities", "json", f"{OIC}/ic/a"),
        (
            "percent",
            "json",
            "https://portal.example/open?to=https%3A%2F%2Facme.integration.us-phoenix-1.ocp.oraclecloud.com%2Fic%2Fa",
        ),
    ],
)
def test_each_style(style: UrlStyle, kind: str, written: str) -> None:
    assert spelled(style, f'"{OIC}/ic/a"', kind) == f'"{written}"'


@pytest.mark.parametrize("style", get_args(UrlStyle))
@pytest.mark.parametrize(
    "text", [f"{OIC}/oauth2/v1/token", f"{OIC}.example/ic/a", "https://other.example/ic/", "ic/", ""]
)
def test_what_is_not_its_own_stays(style: UrlStyle, text: str) -> None:
    assert spelled(style, text) == text


def test_the_design_host_is_its_own_too() -> None:
    assert spelled("upper", f"<{DESIGN}/ic/a>;<{OIC}/ic/b>") == f"<{DESIGN.upper()}/ic/a>;<{OIC.upper()}/ic/b>"
    assert spelled("port", f"{DESIGN}/ic/a {OIC}/ic/b") == f"{DESIGN}/ic/a {OIC}:443/ic/b"


@pytest.mark.parametrize("style", get_args(UrlStyle))
async def test_head_and_json_are_in_the_style_and_mean_the_same(style: UrlStyle, sandbox: Sandbox, call: Send) -> None:
    sandbox.switches.url_style = style
    _, headers, body = await call("POST", sandbox.upstream("ORDERS"), data=b"{}")
    link = json.loads(body)["links"][0]["href"]
    assert link == headers["Location"] == headers["Content-Location"]
    assert headers["Link"].startswith(f"<{link}>")
    name = unquote(link).replace("https://portal.example/open?to=", "")
    assert name.lower().replace("https:", "http:") == f"{sandbox.upstream('ORDERS')}1003".lower()
    plain = f"{sandbox.upstream('ORDERS')}1003".encode()
    assert (plain in body) == (style in {"plain", "port", "entities"})


@pytest.mark.parametrize("style", get_args(UrlStyle))
async def test_xml_is_in_the_style_and_means_the_same(style: UrlStyle, sandbox: Sandbox, call: Send) -> None:
    plain = ET.fromstring((await call("GET", sandbox.soap_upstream() + "?wsdl"))[2])
    sandbox.switches.url_style = style
    written = (await call("GET", sandbox.soap_upstream() + "?wsdl"))[2]
    assert (sandbox.soap_upstream().encode() in written) == (style in {"plain", "port", "escaped"})
    for before, after in zip(plain.iter(), ET.fromstring(written).iter(), strict=True):
        for name, value in after.attrib.items():
            expected = unquote(html.unescape(value)).replace("https://portal.example/open?to=", "")
            expected = f"http:{expected[6:]}" if style == "http" and "/ic/" in value else expected
            assert expected.lower() == before.attrib[name].lower()


async def test_the_developer_api_is_in_the_style(sandbox: Sandbox, call: Send) -> None:
    sandbox.switches.url_style = "upper"
    url = f"{sandbox.design_origin}/ic/api/integration/v1/integrations?integrationInstance=demo"
    _, _, body = await call("GET", url, token=sandbox.mint(scope=API))
    orders = next(item for item in json.loads(body)["items"] if item["code"] == "ORDERS")
    design, runtime = sandbox.design_origin.upper(), sandbox.origin.upper()
    assert orders["links"][0]["href"].startswith(f"{design}/ic/api/")
    assert orders["redirect-url"].startswith(f"{design}/ic/")
    assert orders["endPointURI"] == f"{runtime}/ic/api/integration/v1/flows/rest/ORDERS/1.0/"


async def test_it_may_believe_to_have_another_name(sandbox: Sandbox, call: Send) -> None:
    sandbox.switches.runtime_origin = OIC
    base = f"{OIC}/ic/api/integration/v1/flows/rest/ORDERS/1.0"
    assert (await call("POST", sandbox.upstream("ORDERS"), data=b"{}"))[1]["Location"] == f"{base}/1003"
    sandbox.switches.url_style = "port"
    location = (await call("POST", sandbox.upstream("ORDERS"), data=b"{}"))[1]["Location"]
    assert location == f"{base.replace(OIC, OIC + ':443')}/1004"
    swagger = json.loads((await call("GET", sandbox.upstream("ORDERS") + "metadata/swagger"))[2])
    assert swagger["host"] == f"{OIC.removeprefix('https://')}:443"
    assert swagger["schemes"] == ["https"]
