"""A usual SOAP message is one that the filter of credentials passes unchanged; anything else is left to the filter."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest
from gateway.oic.soap_credentials import SoapCredentialFilter
from gateway.oic.usual_soap import usual_message_namespace

S11 = "http://schemas.xmlsoap.org/soap/envelope/"
S12 = "http://www.w3.org/2003/05/soap-envelope"
XML = b"text/xml; charset=utf-8"
BODY = "<soap:Body><order/></soap:Body></soap:Envelope>"

USUAL = {
    "zeep": f"<?xml version='1.0' encoding='utf-8'?>\n<soap:Envelope xmlns:soap=\"{S11}\">{BODY}",
    ".NET": f'<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap="{S11}" '
    f'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xsd="http://www.w3.org/2001/XMLSchema">{BODY}',
    "JAX-WS": f'<?xml version="1.0" ?><S:Envelope xmlns:S="{S11}"><S:Body><order/></S:Body></S:Envelope>',
    "SAAJ": f'<SOAP-ENV:Envelope xmlns:SOAP-ENV="{S11}"><SOAP-ENV:Header/><SOAP-ENV:Body/></SOAP-ENV:Envelope>',
    "SoapUI": f'<soapenv:Envelope xmlns:soapenv="{S12}" xmlns:a="urn:a">\n   <soapenv:Header/>\n   <soapenv:Body>\n'
    "      <a:order/>\n   </soapenv:Body>\n</soapenv:Envelope>",
    "PHP": f'<?xml version="1.0" encoding="UTF-8"?>\n<SOAP-ENV:Envelope xmlns:SOAP-ENV="{S11}" xmlns:ns1="urn:a">'
    "<SOAP-ENV:Body><ns1:order/></SOAP-ENV:Body></SOAP-ENV:Envelope>\n",
    "WCF": f'\ufeff<s:Envelope xmlns:s="{S11}"><s:Body xmlns:x="urn:x"/></s:Envelope>'.replace(' xmlns:x="urn:x"', ""),
    "a header with blanks": f'<s:Envelope xmlns:s="{S11}"><s:Header>\n</s:Header><s:Body/></s:Envelope>',
}
UNUSUAL = {
    "a token": f'<s:Envelope xmlns:s="{S11}"><s:Header/><s:Body>UsernameToken</s:Body></s:Envelope>',
    "a block in the header": f'<s:Envelope xmlns:s="{S11}"><s:Header><a/></s:Header><s:Body/></s:Envelope>',
    "a DOCTYPE": f'<!DOCTYPE x><s:Envelope xmlns:s="{S11}"><s:Body/></s:Envelope>',
    "a DOCTYPE in front of the header": f'<?xml version="1.0"?><!DOCTYPE x []><s:Envelope xmlns:s="{S11}"><s:Body/>',
    "another charset": f'<?xml version="1.0" encoding="utf-7"?><s:Envelope xmlns:s="{S11}"><s:Body/></s:Envelope>',
    "XML 1.1": f'<?xml version="1.1"?><s:Envelope xmlns:s="{S11}"><s:Body/></s:Envelope>',
    "another prefix": f'<s:Envelope xmlns:s="{S11}"><S:Body/></s:Envelope>',
    "a body of another namespace": f'<s:Envelope xmlns:s="{S11}"><s:Body xmlns:s="urn:x"/></s:Envelope>',
    "two namespaces": f'<s:Envelope xmlns:s="urn:x" xmlns:s="{S11}"><s:Body/></s:Envelope>',
    "no SOAP": '<s:Envelope xmlns:s="urn:x"><s:Body/></s:Envelope>',
    "no namespace": f'<s:Envelope xmlns:t="{S11}"><s:Body/></s:Envelope>',
    "small letters": f'<s:envelope xmlns:s="{S11}"><s:body/></s:envelope>',
    "an entity": f'<s:Envelope xmlns:s="{S11}" a="&x;"><s:Body/></s:Envelope>',
    "a quote within a value": f"<s:Envelope xmlns:t=\"' xmlns:s='{S11}\"><s:Body/></s:Envelope>",
    "a long beginning": f'<s:Envelope xmlns:s="{S11}" a="{"x" * 5000}"><s:Body/></s:Envelope>',
    "nothing": "",
}


@pytest.mark.parametrize("text", USUAL.values(), ids=USUAL)
def test_messages_of_usual_clients_are_recognized(text: str) -> None:
    namespace = usual_message_namespace(XML, None, text.encode())
    assert namespace in {S11, S12}


@pytest.mark.parametrize("text", UNUSUAL.values(), ids=UNUSUAL)
def test_everything_else_is_left_to_the_filter(text: str) -> None:
    assert usual_message_namespace(XML, None, text.encode()) is None


@pytest.mark.parametrize("coding", ["utf-16", "utf-16-le", "utf-32", "cp037"])
def test_other_charsets_are_left_to_the_filter(coding: str) -> None:
    assert usual_message_namespace(b"text/xml", None, USUAL["SAAJ"].encode(coding)) is None


@pytest.mark.parametrize(
    "media",
    [
        b"multipart/related; type=text/xml",
        b"text/xml; charset=utf-16",
        b"text/xml; charset=utf-7",
        b"text/xml; charset=hz",
        b"text/xml; charset=iso-2022-jp",
    ],
)
def test_other_media_types_are_left_to_the_filter(media: bytes) -> None:
    assert usual_message_namespace(media, None, USUAL["SAAJ"].encode()) is None


def test_a_coded_body_is_left_to_the_filter() -> None:
    assert usual_message_namespace(XML, b"gzip", USUAL["SAAJ"].encode()) is None


PARTS = (
    *(
        '<?xml version="1.0"?>',
        '<?xml version="1.0" encoding="utf-8"?>',
        "<!DOCTYPE s:Envelope>",
        "<!-- -->",
        "\n",
        " ",
    ),
    *(f'<s:Envelope xmlns:s="{S11}">', f'<s:Envelope a="b" xmlns:s="{S12}" >', f"<s:Envelope xmlns:s='{S11}' a='b'>"),
    *(
        "<s:Header/>",
        "<s:Header>",
        "</s:Header>",
        "<s:Security><s:UsernameToken/></s:Security>",
        "<x/>",
        "UsernameToken",
    ),
    *(
        "<s:Body/>",
        "<s:Body>",
        "</s:Body>",
        "</s:Envelope>",
        '<s:Body xmlns:s="x">',
        "&lt;",
        "<![CDATA[",
        "]]>",
        "\x00",
    ),
)
USUAL_PARTS = st.tuples(
    st.sampled_from(("", PARTS[0], PARTS[1])),
    st.sampled_from(PARTS[6:9]),
    st.sampled_from(("", "\n", "<s:Header/>", "<s:Header>\n</s:Header>", "<x/>")),
    st.sampled_from(("<s:Body>", "<s:Body/>", '<s:Body xmlns:s="x">')),
    st.text(max_size=20),
    st.sampled_from(("", "</s:Body></s:Envelope>", *PARTS)),
).map("".join)


@given(
    st.one_of(USUAL_PARTS, st.lists(st.sampled_from(PARTS), max_size=9).map("".join)),
    st.sampled_from((XML, b"text/xml", b"application/soap+xml", None, b"text/plain")),
    st.booleans(),
)
def test_what_is_usual_passes_the_filter_unchanged(text: str, media: bytes | None, soap_action: bool) -> None:  # noqa: FBT001
    data = text.encode("utf-8", "replace")
    namespace = usual_message_namespace(media, None, data)
    if namespace is None:
        return
    found = SoapCredentialFilter(media, soap_action=soap_action, reads_tokens=True)
    try:
        assert found.feed(data, last=True)
    except BadRequest as error:
        pytest.fail(f"the filter refuses a usual message: {error.detail}")
    assert (b"".join(found.output), found.tokens, found.namespace) == (data, [], namespace)
