"""Bodies in the gateway's names: every spelling, in its place, and not one byte else."""

import json
from urllib.parse import quote

import pytest
from lxml import etree

from gateway.proxy.rewriting import RequestContext, RewritePlan, Rewriter, UrlMap
from gateway.proxy.routing import UpstreamUrl
from tests.fakes.documents import DESIGN, FLOW, GATE, HOST, ORDERS, U, text


def _nested(url: str) -> str:
    """JSON inside a JSON string, with escaped slashes."""
    return json.dumps(json.dumps({"href": url}).replace("/", "\\/"))[1:-1]


# Spellings ------------------------------------------------------------------------------------------------------------

SPELLINGS = [
    (f"{U}/17?a=1#b", f"{GATE}/orders/17?a=1#b"),
    (U, f"{GATE}/orders"),
    (f"https://{HOST}{FLOW}/", f"{GATE}/orders/"),
    (f"http://{HOST}:443{FLOW}/a%2Fb%7c//c", f"{GATE}/orders/a%2Fb%7c//c"),
    (f"http://{HOST}:80{FLOW}", f"{GATE}/orders"),
    (f"HttpS://{HOST.upper()}{FLOW}/x", f"{GATE}/orders/x"),
    (f"https://{HOST}/ic/api/z", f"{GATE}/api/z"),
    (f"https://{HOST}{FLOW}x/z", f"{GATE}/api{FLOW[7:]}x/z"),
    (f"https://{DESIGN.host}:443/ic/api/integrations/A%7C1", f"{GATE}/api/integrations/A%7C1"),
    ("https://other.example:8443/ic/ws/x?wsdl", f"{GATE}/other?wsdl"),
    (f"//{HOST}{FLOW}/1", f"{GATE}/orders/1"),
    (f"{U}/a?next={U}/b", f"{GATE}/orders/a?next={GATE}/orders/b"),
    (
        f"https://x.example/?u={quote(U + '/a%7Cb', safe='')}&v",
        f"https://x.example/?u={quote(GATE + '/orders/a%7Cb', safe='')}&v",
    ),
    (f"https://x.example/?u={quote(U + '/a')}&v", f"https://x.example/?u={quote(GATE + '/orders/a')}&v"),
    (
        f"https://x.example/?u={quote(quote(U + '/a', safe=''), safe='')}",
        f"https://x.example/?u={quote(quote(U + '/a', safe=''), safe='')}",
    ),
]


@pytest.mark.parametrize(("url", "name"), SPELLINGS)
def test_every_encoding_is_rewritten_in_every_kind_of_document(url: str, name: str) -> None:
    assert text(f'{{"a": "{url}"}}') == f'{{"a": "{name}"}}'
    slashed = f'{{"a": "{url}"}}'.replace("/", "\\/")
    assert text(slashed) == f'{{"a": "{name}"}}'.replace("/", "\\/")
    assert text(f'<a b="{url.replace("&", "&amp;")}"/>', "xml") == f'<a b="{name.replace("&", "&amp;")}"/>'
    assert text(f"<a>{url.replace('&', '&amp;')}</a>", "xml") == f"<a>{name.replace('&', '&amp;')}</a>"
    assert text(f"a: {url}\n", "yaml") == f"a: {name}\n"
    assert text(f"a: '{url}'\nb: \"{url}\"\n", "yaml") == f"a: '{name}'\nb: \"{name}\"\n"
    assert text(f"<a href='{url}'>", "html") == f"<a href='{name}'>"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        (
            r"https\u003a\u002F\u002f" + HOST + FLOW.replace("/", r"\u002f"),
            r"http\u003a\u002F\u002Fgw\u003a8080\u002Forders",
        ),
        (r"\u0068\u0074tp\u0053://\u0061" + U[9:] + r"\/x", f"{GATE}/orders" + r"\/x"),
        (rf"see\n{U}/a b", rf"see\n{GATE}/orders/a b"),
        (rf"say \"{U}/a\".", rf"say \"{GATE}/orders/a\"."),
        (rf"\\{U}/a", rf"\\{GATE}/orders/a"),
        (f"Call {U}. Or {U}, ({U})!", f"Call {GATE}/orders. Or {GATE}/orders, ({GATE}/orders)!"),
        (_nested(U), _nested(f"{GATE}/orders")),
    ],
)
def test_json_escapes_are_read_and_written(url: str, name: str) -> None:
    assert text(f'{{"a":"{url}"}}') == f'{{"a":"{name}"}}'


@pytest.mark.parametrize("slash", ["&#47;", "&#x2F;", "&#x002f;", "/"])
@pytest.mark.parametrize("colon", ["&#58;", "&#x3a;", ":"])
def test_xml_character_references_are_read_and_written(slash: str, colon: str) -> None:
    def spelt(url: str) -> str:
        return (
            url.replace(":", colon).replace("/", slash) if colon == ":" else url.replace("/", slash).replace(":", colon)
        )

    body = f'<a b="{spelt(U)}/x?a&amp;b">{spelt(U)}</a>'
    seen = text(body, "xml")
    assert etree.fromstring(seen).get("b") == f"{GATE}/orders/x?a&b"
    assert etree.fromstring(seen).text == f"{GATE}/orders"
    assert seen.count(slash) >= 3


@pytest.mark.parametrize(
    "url",
    [
        f"https://u@{HOST}{FLOW}/1",
        f"https://u:p@{HOST}{FLOW}",
        f"https://{HOST}.evil{FLOW}/1",
        f"https://evil.{HOST}{FLOW}",
        f"xhttps://{HOST}{FLOW}",
        f"https://{HOST}:8443{FLOW}",
        f"https://{HOST}/elsewhere{FLOW}",
        f"https:/{HOST}{FLOW}",
        f"{U}/../x",
        f"{U}/%2e%2e/x",
        f"ftp://{HOST}{FLOW}",
        f"https://{HOST}",
        f"see //{HOST}{FLOW}",
        f"https://{HOST}:443urn:opc:x",
        "https://x.example/ic/api/",
        FLOW,
        f"see {FLOW}",
    ],
)
@pytest.mark.parametrize("kind", ["json", "xml", "yaml", "html"])
def test_what_is_not_ours_stays(url: str, kind: str) -> None:
    for body in (f'["{url}"]', f"<a>{url}</a>", f"<a b='{url}'/>", f"a: {url}\n"):
        assert text(body, kind) == body


# The whole authority counts, whatever ends it in its document. A root upstream: then no path is needed to be ours.
ROOT = UpstreamUrl.parse(f"https://{HOST}/")
AT_ROOT = UrlMap.from_routes([(ROOT, "/all")])


@pytest.mark.parametrize(
    ("kind", "start"),
    [
        ("json", f"https%3A%2F%2F{HOST}%40evil.example%2Fic"),
        ("json", f"https%3A%2F%2F{HOST}@evil.example%2Fic"),
        ("json", f"https%3A%2F%2F{HOST}:8443%2Fic"),
        ("json", f"https%3A%2F%2F{HOST}%2Eevil.example%2Fic"),
        ("json", f"https%253A%252F%252F{HOST}%2540evil.example%252Fic"),
        ("json", f"https%3A%2F%2F{HOST}*evil.example%2Fic"),
        ("json", f"https%3A%2F%2F{HOST}!%40evil.example%2Fic"),
        ("json", f"https://{HOST}@evil.example/ic"),
        ("json", f"https://{HOST}\\u0040evil.example/ic"),
        ("json", f"https://{HOST}'@evil.example/ic"),
        ("json", f"//{HOST}@evil.example/ic"),
        ("xml", f"https://{HOST}'@evil.example/ic"),
        ("xml", f"https://{HOST}&amp;.evil.example/ic"),
        ("xml", f"https://{HOST}&amp;@evil.example/ic"),
        ("xml", f"https://{HOST}&#64;evil.example/ic"),
        ("yaml", f"https://{HOST}'@evil.example/ic"),
        ("yaml", f"https://{HOST}\\x40evil.example/ic"),
    ],
)
def test_a_url_of_another_authority_stays(kind: str, start: str) -> None:
    here = RequestContext(ROOT, GATE, route_path="/all")
    for body in (
        f'["{start}"]',
        f'{{"a": "see {start}/x"}}',
        f"<a>{start}</a>",
        f'<a b="{start}/x"/>',
        f"a: {start}\n",
    ):
        assert text(body, kind) == body
        rewriter = Rewriter(RewritePlan(kind, "", ""), AT_ROOT, here)
        seen = b"".join(b"".join(out) for step in (rewriter.feed([body.encode()]), rewriter.end()) for out in step)
        assert seen.decode() == body


@pytest.mark.parametrize("end", ["/>", " />", ">", " c='d'/>", "\n/>"])
def test_a_quote_ends_a_url_that_is_not_all_of_its_attribute(end: str) -> None:
    for start, name in (
        (U, f"{GATE}/orders"),
        (f"{U}/a", f"{GATE}/orders/a"),
        (f"https://{HOST}/ic/api", f"{GATE}/api"),
    ):
        assert text(f"<a b='x?u={start}'{end}", "xml") == f"<a b='x?u={name}'{end}"


# Places ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["href", "url", "redirect-url", "location", "self", "Location"])
def test_a_path_is_rewritten_as_the_value_of_a_link_name(name: str) -> None:
    assert text(f'{{"{name}" : "{FLOW}/1"}}') == f'{{"{name}" : "/orders/1"}}'
    assert text(f'{{"{name}":"{FLOW}/1"}}'.replace("/", "\\/")) == f'{{"{name}":"\\/orders\\/1"}}'
    assert text(
        f'{{"{name}":"{FLOW}/1"}}', here=RequestContext(ORDERS, "https://gw.example/oic", route_path="/orders")
    ) == (f'{{"{name}":"/oic/orders/1"}}')
    assert text(f'{{"{name}":"{FLOW}/a b"}}') == f'{{"{name}":"{FLOW}/a b"}}'


@pytest.mark.parametrize(
    "body",
    [
        f'{{"{U}": 1}}',
        f'{{"a":1,"{U}" : 1}}',
        f'{{"{FLOW}/1": {{}}}}',
        f'{{"path": "{FLOW}"}}',
        f'["href", "{FLOW}"]',
        f'{{"tokenUrl": "{U}/t", "authorizationUrl":"{U}", "refreshUrl":"{U}","openIdConnectUrl":"{U}"}}',
        f'{{"//{HOST}{FLOW}": 1}}',
        f'{{"href":1,"{FLOW}":"x"}}',
        f'{{"basePath": "{FLOW}"}}',
    ],
)
def test_names_and_token_endpoints_stay_in_json(body: str) -> None:
    assert text(body) == body


def test_a_member_s_name_may_be_written_with_escapes() -> None:
    assert text(rf'{{"\u0068ref":"{FLOW}/1"}}') == r'{"\u0068ref":"/orders/1"}'
    assert text(rf'{{"token\u0055rl":"{U}"}}') == rf'{{"token\u0055rl":"{U}"}}'
    assert text(rf'{{"tokenUr\u006c":"{U}"}}') == rf'{{"tokenUr\u006c":"{U}"}}'
    assert text(rf'{{"tokenUr\u006":"{U}"}}') == rf'{{"tokenUr\u006":"{GATE}/orders"}}'


def test_every_value_of_json_is_rewritten() -> None:
    seen = text(json.dumps({"a": [U, U + "/1"], "b": {U: U}, "c": U, "d": f"//{HOST}{FLOW}"}))
    assert json.loads(seen) == {
        "a": [f"{GATE}/orders", f"{GATE}/orders/1"],
        "b": {U: f"{GATE}/orders"},
        "c": f"{GATE}/orders",
        "d": f"{GATE}/orders",
    }
    assert text(f'"{U}"') == f'"{GATE}/orders"'


WSDL = f"""<?xml version="1.0" encoding="UTF-8"?>
<!-- at {U}/?wsdl -->
<wsdl:definitions name="H" targetNamespace="{U}/ns" xmlns:tns="{U}/ns" xmlns="{U}"
    xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/"
    xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
    xmlns:wsa="http://www.w3.org/2005/08/addressing" xsi:schemaLocation="{U}/ns {U}/1.xsd
      {U}/ns2 {U}/2.xsd">
  <wsdl:import namespace="{U}/ns" location = "{U}/?wsdl=a&amp;b"/>
  <wsdl:types><xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace='{U}/ns'>
    <xs:import namespace='{U}/ns' schemaLocation='{U}/?xsd=1'/><xs:include schemaLocation="{FLOW}/?xsd=2"/>
  </xs:schema></wsdl:types>
  <wsdl:operation name="hello"><soap:operation soapAction="{U}/hello"/>
    <wsdl:input wsaw:Action="{U}/in" xmlns:wsaw="x"/></wsdl:operation>
  <wsa:Action>{U}/hello</wsa:Action><wsa:To>{U}/to</wsa:To>
  <wsdl:service name="S"><wsdl:port name="P" binding="tns:B"><soap:address location="{U}/"/></wsdl:port></wsdl:service>
</wsdl:definitions>
"""


def test_a_wsdl_is_equal_but_for_its_addresses() -> None:
    seen = etree.fromstring(text(WSDL, "xml").encode())
    before = etree.fromstring(WSDL.encode())
    differing = []
    for one, other in zip(before.iter("*"), seen.iter("*"), strict=True):
        assert (one.tag, one.nsmap, list(one.attrib)) == (other.tag, other.nsmap, list(other.attrib))
        differing += [(name, other.get(name)) for name, value in one.attrib.items() if other.get(name) != value]
        differing += [(one.tag, other.text)] if one.text != other.text else []
    xsi = "{http://www.w3.org/2001/XMLSchema-instance}schemaLocation"
    assert [(str(name).rpartition("}")[2], (value or "").split()) for name, value in differing] == [
        ("schemaLocation", [f"{U}/ns", f"{GATE}/orders/1.xsd", f"{U}/ns2", f"{GATE}/orders/2.xsd"]),
        ("location", [f"{GATE}/orders/?wsdl=a&b"]),
        ("schemaLocation", [f"{GATE}/orders/?xsd=1"]),
        ("schemaLocation", ["/orders/?xsd=2"]),
        ("To", [f"{GATE}/orders/to"]),
        ("location", [f"{GATE}/orders/"]),
    ]
    assert before.get(xsi) is not None


@pytest.mark.parametrize("action", ["wsa:Action", "Action", "a:Action s:mustUnderstand='1'"])
@pytest.mark.parametrize("address", [U, f"\n  {U}/a\n", f"<![CDATA[{U}/a]]>", f"\n<![CDATA[ {U}]]>\n"])
def test_an_action_is_an_identifier(action: str, address: str) -> None:
    body = f"<e><{action}>{address}</x><To>{address}</To></e>"
    assert text(body, "xml") == f"<e><{action}>{address}</x><To>{address.replace(U, GATE + '/orders')}</To></e>"


def test_a_link_attribute_in_the_text_of_an_action_is_a_link() -> None:
    assert text(f'<Action>a href="{U}/1" b="{U}/2"</Action>', "xml") == (
        f'<Action>a href="{GATE}/orders/1" b="{U}/2"</Action>'
    )


@pytest.mark.parametrize(
    "body",
    ['<i wsaw:Action="x>%s/1"/>', "<i Action='%s x>%s'/>", '<Action b="c">x>%s</Action>', '<i Action="ion>%s"/>'],
)
def test_a_url_behind_a_raw_greater_sign_is_a_link(body: str) -> None:
    marked = body.replace(">%s", f">{U}")
    assert text(marked.replace("%s", U), "xml") == marked.replace(U, f"{GATE}/orders").replace("%s", U)


@pytest.mark.parametrize("name", ["xmlns", "xmlns:ns1", "targetNamespace", "namespace", "soapAction", "wsaw:Action"])
def test_an_identifier_stays_in_the_text_of_an_element_too(name: str) -> None:
    body = f'<a>&lt;b {name}="%s/1" c="%s/1"&gt;</a><![CDATA[<b {name}="%s">%s</b>]]>'
    mine, gate = f"https://{HOST.upper()}{FLOW}", f"{GATE}/orders"
    for url in (U, mine):
        assert text(body % ((url,) * 4), "xml") == body % (url, gate, url, gate)


def test_an_action_is_the_target_of_a_form_in_html() -> None:
    body = f'<form action="{U}/1"><a xmlns:q="{U}">'
    assert text(body, "html") == f'<form action="{GATE}/orders/1"><a xmlns:q="{U}">'


def test_namespaces_in_pairs_of_an_import_stay() -> None:
    assert text(f'<a schemaLocation="{U} {U}"/>', "xml") == f'<a schemaLocation="{U} {GATE}/orders"/>'
    assert text(f"<a schemaLocation='{U} '/>", "xml") == f"<a schemaLocation='{GATE}/orders '/>"


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (f"url: {FLOW}/1\n", "url: /orders/1\n"),
        (f"- url: '{FLOW}'\n", "- url: '/orders'\n"),
        (f'{{"url": "{FLOW}"}}\n', '{"url": "/orders"}\n'),
        (f'a: "https:\\/\\/{HOST}{FLOW}"\n', 'a: "http:\\/\\/gw:8080\\/orders"\n'),
        (f'a: "https:\\x2F\\u002f{HOST}{FLOW}"\n', 'a: "http:\\x2F\\x2Fgw:8080\\x2Forders"\n'),
        (f"a: [{U}, {U}/x]\n", f"a: [{GATE}/orders, {GATE}/orders/x]\n"),
        (f"{U}: {U}\n", f"{U}: {GATE}/orders\n"),
        (f'"{U}": a\n', f'"{U}": a\n'),
        (f"paths:\n  {FLOW}/x:\n", f"paths:\n  {FLOW}/x:\n"),
        (f"tokenUrl: {U}\n", f"tokenUrl: {U}\n"),
    ],
)
def test_yaml_values_are_rewritten_and_keys_stay(body: str, name: str) -> None:
    assert text(body, "yaml") == name


@pytest.mark.parametrize("kind", ["json", "xml", "yaml", "html"])
def test_a_url_in_the_path_of_another_one_is_rewritten(kind: str) -> None:
    gate = f"{GATE}/orders"
    assert text(f"see {U}/a,{U}/1\n", kind) == f"see {gate}/a,{gate}/1\n"
    assert text(f"see {U}/../{U}/1\n", kind) == f"see {U}/../{gate}/1\n"


def test_a_proxy_caller_gets_urls_of_oic_as_it_wrote_them() -> None:
    here = RequestContext(ORDERS, "", f"http://{HOST}", "/orders/")
    assert text(f'["{U}/1", "{FLOW}"]', here=here) == f'["http://{HOST}{FLOW}/1", "{FLOW}"]'
