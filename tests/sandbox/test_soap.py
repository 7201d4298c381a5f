import re
from collections.abc import Awaitable, Callable, Mapping

import pytest

from gateway.sandbox import Sandbox

Send = Callable[..., Awaitable[tuple[int, Mapping[str, str], bytes]]]
SOAP_11 = ("text/xml", "http://schemas.xmlsoap.org/soap/envelope/")
SOAP_12 = ("application/soap+xml", "http://www.w3.org/2003/05/soap-envelope")


def envelope(namespace: str, name: str = "<h:name>M&amp;Ms</h:name>") -> bytes:
    hello = f'<h:hello xmlns:h="http://sandbox.example/hello">{name}</h:hello>'
    return f'<s:Envelope xmlns:s="{namespace}"><s:Header/><s:Body>{hello}</s:Body></s:Envelope>'.encode()


@pytest.mark.parametrize(("media_type", "namespace"), [SOAP_11, SOAP_12])
async def test_hello_is_answered_in_the_same_version(
    media_type: str, namespace: str, sandbox: Sandbox, call: Send
) -> None:
    headers = {"Content-Type": f"{media_type}; charset=utf-8"}
    status, answered, body = await call("POST", sandbox.soap_upstream(), data=envelope(namespace), headers=headers)
    assert status == 200
    assert answered["Content-Type"].startswith(media_type)
    assert f'xmlns:e="{namespace}"' in body.decode()
    assert "Hello, M&amp;Ms<" in body.decode()
    assert f"oicInstanceId>{answered['x-oracle-ics-instance-id']}<" in body.decode()


@pytest.mark.parametrize(
    ("media_type", "body", "status"),
    [
        ("text/xml", b"not xml", 500),
        ("text/xml", envelope(SOAP_12[1]), 500),
        ("text/xml", envelope(SOAP_11[1], name=""), 500),
        ("text/xml", b"<!DOCTYPE x []>" + envelope(SOAP_11[1]), 500),
        ("application/soap+xml", b"<a/>", 400),
    ],
)
async def test_bad_input_gets_a_fault(media_type: str, body: bytes, status: int, sandbox: Sandbox, call: Send) -> None:
    headers = {"Content-Type": media_type}
    answered, shown, reply = await call("POST", sandbox.soap_upstream(), data=body, headers=headers)
    assert answered == status
    assert b"<e:Fault>" in reply
    assert shown["Content-Type"].startswith(media_type)


async def test_another_content_type_is_not_supported(sandbox: Sandbox, call: Send) -> None:
    headers = {"Content-Type": "application/json"}
    assert (await call("POST", sandbox.soap_upstream(), data=b"{}", headers=headers))[0] == 415


@pytest.mark.parametrize("query", ["wsdl", "WSDL"])
async def test_the_wsdl_names_the_address_and_its_schema(query: str, sandbox: Sandbox, call: Send) -> None:
    _, headers, body = await call("GET", f"{sandbox.soap_upstream()}?{query}")
    assert headers["Content-Type"].startswith("text/xml")
    assert f'<soap:address location="{sandbox.soap_upstream()}"/>' in body.decode()
    found = re.search(r'schemaLocation="([^"]+)"', body.decode())
    assert found is not None
    assert found[1].startswith(sandbox.soap_upstream())
    assert b'element name="hello"' in (await call("GET", found[1]))[2]


async def test_other_ways_are_not_allowed(sandbox: Sandbox, call: Send) -> None:
    assert (await call("GET", sandbox.soap_upstream()))[0] == 405
    assert (await call("PUT", sandbox.soap_upstream(), data=b""))[0] == 405
