import asyncio
import itertools
import re
from collections.abc import Awaitable, Callable, Mapping
from xml.etree import ElementTree as ET

import pytest
import zeep
from zeep.transports import Transport

from gateway.sandbox import Sandbox
from gateway.sandbox.switches import UrlStyle

Send = Callable[..., Awaitable[tuple[int, Mapping[str, str], bytes]]]
SOAP_11 = ("text/xml", "http://schemas.xmlsoap.org/soap/envelope/")
# The others lead elsewhere unless a gateway puts them right.
USABLE: tuple[UrlStyle, ...] = ("plain", "port", "upper", "escaped", "entities")
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


@pytest.mark.parametrize(("media_type", "namespace"), [SOAP_11, SOAP_12])
async def test_a_flow_may_end_in_a_fault_with_its_id(
    media_type: str, namespace: str, sandbox: Sandbox, call: Send
) -> None:
    headers = {"Content-Type": media_type}
    body = envelope(namespace, "<h:name>FAULT</h:name>")
    status, answered, reply = await call("POST", sandbox.soap_upstream(), data=body, headers=headers)
    assert (status, answered["Content-Type"].startswith(media_type)) == (500, True)
    assert (b"e:Server" if media_type == "text/xml" else b"e:Receiver") in reply
    found = ET.fromstring(reply).find(".//{http://sandbox.example/hello}oicInstanceId")
    assert found is not None
    assert found.text == answered["x-oracle-ics-instance-id"]
    sandbox.switches.instance_ids = "body"
    _, answered, reply = await call("POST", sandbox.soap_upstream(), data=body, headers=headers)
    assert ("x-oracle-ics-instance-id" in answered, b"oicInstanceId" in reply) == (False, True)
    sandbox.switches.instance_ids = "none"
    assert b"oicInstanceId" not in (await call("POST", sandbox.soap_upstream(), data=body, headers=headers))[2]


async def test_what_arrived_can_be_seen(sandbox: Sandbox, call: Send) -> None:
    secret = b"<w:UsernameToken xmlns:w='w'/>"
    body = envelope(SOAP_11[1]).replace(b"<s:Header/>", b"<s:Header>" + secret + b"</s:Header>") + b" " * 70_000
    assert (await call("POST", sandbox.soap_upstream(), data=body, headers={"Content-Type": "text/xml"}))[0] == 200
    assert sandbox.calls[-1].body_start == body[: 1 << 16]
    await call("POST", sandbox.upstream("UPLOAD"), data=body)
    assert sandbox.calls[-1].body_start == b""


@pytest.mark.parametrize(("query", "style"), list(itertools.product(("wsdl", "wsdl=split"), USABLE)))
async def test_a_real_client_reads_the_wsdl_and_calls(query: str, style: UrlStyle, sandbox: Sandbox) -> None:
    sandbox.switches.url_style = style
    url = f"{sandbox.soap_upstream()}?{query}"
    transport = Transport()  # type: ignore[no-untyped-call] # zeep leaves its constructor without types
    with transport.session as session:
        session.headers["Authorization"] = f"Bearer {sandbox.mint()}"
        client = await asyncio.to_thread(zeep.Client, url, transport=transport)
        for port in ("HelloPort", "HelloPort12"):
            service = client.bind("HelloService", port)
            answer = await asyncio.to_thread(service.hello, name="M&Ms")
            assert (answer.greeting, answer.oicInstanceId) == ("Hello, M&Ms", sandbox.calls[-1].instance_id)
            with pytest.raises(zeep.exceptions.Fault, match="ended in a fault") as raised:
                await asyncio.to_thread(service.hello, name="FAULT")
            assert sandbox.calls[-1].instance_id in "".join(raised.value.detail.itertext())


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
    answered, reply_headers, reply = await call("POST", sandbox.soap_upstream(), data=body, headers=headers)
    assert answered == status
    assert b"<e:Fault>" in reply
    assert reply_headers["Content-Type"].startswith(media_type)


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
