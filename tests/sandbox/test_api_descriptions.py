import json
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlsplit

import pytest
import yaml
from openapi_spec_validator import OpenAPIV2SpecValidator, OpenAPIV30SpecValidator

from gateway.sandbox import Sandbox
from gateway.sandbox.api_descriptions import swagger

Send = Callable[..., Awaitable[tuple[int, Mapping[str, str], bytes]]]
FLOWS = ["ORDERS", "PROJORDERS", "ECHO", "BYTES", "BIG", "STATUS", "ASYNC"]


def base_of(sandbox: Sandbox, code: str) -> str:
    return sandbox.upstream(code, project="DEMO" if code == "PROJORDERS" else "")


@pytest.mark.parametrize("code", FLOWS)
async def test_swagger_is_valid_and_names_the_address(code: str, sandbox: Sandbox, call: Send) -> None:
    base = base_of(sandbox, code)
    status, headers, body = await call("GET", base + "metadata/swagger")
    document = json.loads(body)
    OpenAPIV2SpecValidator(document).validate()
    assert (status, headers["Content-Type"], document["info"]["title"]) == (200, "application/json", code)
    assert f"{document['schemes'][0]}://{document['host']}{document['basePath']}/" == base
    assert document["securityDefinitions"]["oauth"]["tokenUrl"] == sandbox.token_url
    assert sandbox.scope in document["securityDefinitions"]["oauth"]["scopes"]
    assert document["paths"]


@pytest.mark.parametrize("code", FLOWS)
async def test_openapi_is_valid_and_names_the_address(code: str, sandbox: Sandbox, call: Send) -> None:
    base = base_of(sandbox, code)
    document = json.loads((await call("GET", base + "metadata/openapi"))[2])
    OpenAPIV30SpecValidator(document).validate()
    assert [server["url"] + "/" for server in document["servers"]] == [base]
    flow = document["components"]["securitySchemes"]["oauth"]["flows"]["clientCredentials"]
    assert flow["tokenUrl"] == sandbox.token_url
    assert sandbox.scope in flow["scopes"]
    status, headers, text = await call("GET", base + "metadata/openapi.yaml")
    assert (status, headers["Content-Type"]) == (200, "application/yaml")
    assert yaml.safe_load(text) == document


async def test_the_page_names_both(sandbox: Sandbox, call: Send) -> None:
    base = sandbox.upstream("ORDERS")
    page = json.loads((await call("GET", base + "metadata"))[2])
    assert page["endpoint-url"] == base
    assert [link["href"] for link in page["links"]] == [f"{base}metadata/swagger", f"{base}metadata/openapi"]
    for other in ("metadata/other", "metadata/swagger/", "metadata/swagger.json", "metadata/openapi.yaml.yaml"):
        assert (await call("GET", base + other))[0] == 404


def test_the_port_is_always_written() -> None:
    for base, host in (("https://a/ic/x", "a:443"), ("https://a:443/ic/x", "a:443"), ("http://a/ic/x", "a:80")):
        document = swagger("ECHO", base, "https://idcs/oauth2/v1/token")
        assert (document["host"], document["schemes"]) == (host, [urlsplit(base).scheme])
