"""Real components as callers of the real process: zeep, lxml, openapi-spec-validator, requests.

OIC has its real names here: a sandbox speaks TLS as `acme.integration.…`, and only the gateway's egress proxy leads
there. A caller is confined to the gateway, so that an address of OIC's which is left in a document is an error, not a
way around. One process serves all tests but those that need a configuration of their own.
"""

import asyncio
import dataclasses
import gzip
import hashlib
import json
import re
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, NamedTuple, get_args
from urllib.parse import quote, urljoin, urlsplit

import pytest
import pytest_asyncio
import requests
import yaml
import zeep
from lxml import etree
from openapi_spec_validator import validate
from zeep.transports import Transport
from zeep.wsa import WsAddressingPlugin
from zeep.wsse.username import UsernameToken

from gateway.sandbox import Sandbox, Switches, big
from gateway.sandbox.switches import ContentCoding, InstanceIds, UrlStyle
from tests.fakes.certificates import server_context, server_pem
from tests.fakes.confined import Balancer, Confined, mentions_host, target
from tests.fakes.egress import Egress
from tests.fakes.gate import scene
from tests.fakes.process import Process, gateway
from tests.fakes.upstream import reply
from tests.fakes.waiting import TIME_LIMIT
from tests.system.scene import SECRETS, Settings, credential, route, settings, written

pytestmark = pytest.mark.asyncio(loop_scope="module")

ACME = "acme.integration.us-phoenix-1.ocp.oraclecloud.com"
DESIGN = "design.integration.us-phoenix-1.ocp.oraclecloud.com"
DOMAIN = "idcs-0123.identity.oraclecloud.com"
OIC = f"https://{ACME}"
OUTSIDE = "https://api.corp.example/oic"
STYLES = get_args(UrlStyle)
QUERIES = ("wsdl", "wsdl=split")
PORTS = ("HelloPort", "HelloPort12")
API = "/ic/api/integration/v1/"
PAGES = "/ic/integration/home/"
PLACES = {
    "/ic/ws/integration/v1/flows/soap/HELLO/1.0": "/hello",
    **{f"{API}flows/rest/{code}/1.0": f"/{code.lower()}" for code in ("ORDERS", "ECHO", "BIG", "STATUS", "BYTES")},
    "/ic/api/integration/v2/flows/rest/project/DEMO/PROJORDERS/1.0": "/projorders",
}
MOST_MEMORY = 16 * 1024  # KiB that a body in flight may cost


class World(NamedTuple):
    """The process in front of an OIC with its real names."""

    gate: Process
    sandbox: Sandbox
    pem: Path
    egress: Egress

    @property
    def at(self) -> str:
        return f"http://{self.gate.listen}"

    def direct(self, url: str) -> requests.Response:
        """What OIC says to a client with a token that reaches it."""
        bearer = {"Authorization": f"Bearer {self.sandbox.mint()}", "Accept-Encoding": "identity"}
        found = requests.get(
            url.replace(OIC, self.sandbox.origin), headers=bearer, verify=str(self.pem), timeout=TIME_LIMIT
        )
        assert found.status_code == 200
        return found

    def behind_a_balancer(self, folder: Path) -> AbstractAsyncContextManager[Process]:
        """A further process that callers know as OUTSIDE."""
        own_names = {"public_url": OUTSIDE, "hosts": [urlsplit(OUTSIDE).hostname]}
        return gateway(
            written(folder, real(self.sandbox, self.pem) | own_names), **SECRETS, HTTPS_PROXY=self.egress.url
        )


def real(sandbox: Sandbox, pem: Path) -> Settings:
    """The configuration in front of a sandbox that is called OIC; the developer API has a credential of its own."""
    document = settings(sandbox)
    routes = [
        *document["routes"],
        route("big", sandbox.upstream("BIG")),
        route("projorders", sandbox.upstream("PROJORDERS", project="DEMO")),
        route("developer", f"{OIC}{API}", credential="api", query={"set": {"integrationInstance": "acme"}}),
        route("pages", f"https://{DESIGN}{PAGES}", credential="api"),
    ]
    trusted = {"tls": {"ca": str(pem)}}
    token_url = sandbox.token_url.replace(sandbox.origin, f"https://{DOMAIN}")
    scopes = {"app": sandbox.scope, "api": sandbox.api_scope}
    credentials = {name: credential(token_url, scope=scope, **trusted) for name, scope in scopes.items()}
    text = json.dumps(document | {"credentials": credentials, "defaults": trusted, "routes": routes})
    return dict(json.loads(text.replace(sandbox.origin, OIC)))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("real")
    pem = server_pem(folder, ACME, DESIGN, DOMAIN)
    async with Sandbox(switches=Switches(), ssl_context=server_context(pem)) as sandbox:
        file = written(folder, real(sandbox, pem))
        async with (
            Egress(to=urlsplit(sandbox.origin).port) as egress,
            gateway(file, **SECRETS, HTTPS_PROXY=egress.url) as gate,
        ):
            yield World(gate, sandbox, pem, egress)


@pytest.fixture
def world(running: World) -> World:
    """The same world, with every switch where it belongs."""
    fresh = Switches(runtime_origin=OIC, design_origin=f"https://{DESIGN}")
    for field in dataclasses.fields(Switches):
        setattr(running.sandbox.switches, field.name, getattr(fresh, field.name))
    running.sandbox.calls.clear()
    return running


@pytest.fixture
def caller(world: World) -> Iterator[Confined]:
    with Confined(world.at) as session:
        yield session


def switch(world: World, **switches: Any) -> None:
    for name, value in switches.items():
        setattr(world.sandbox.switches, name, value)


def calls_both_ports(session: requests.Session, url: str, *, wsse: UsernameToken | None = None) -> list[str]:
    """A real SOAP client reads the WSDL and calls what it says, in both versions, to a reply and to a fault. Gives the
    instance ids that it was told.
    """
    transport = Transport(session=session)  # type: ignore[no-untyped-call] # zeep is partly typed
    client = zeep.Client(url, transport=transport, wsse=wsse, plugins=[WsAddressingPlugin()])  # type: ignore[no-untyped-call] # as above
    views = []
    for port in PORTS:
        service = client.bind("HelloService", port)
        answer = service.hello(name="M&Ms")
        assert answer.greeting == "Hello, M&Ms"
        with pytest.raises(zeep.exceptions.Fault, match="ended in a fault") as raised:
            service.hello(name="FAULT")
        views += [answer.oicInstanceId, raised.value.detail.findtext(".//{*}oicInstanceId")]
    return views


def arrived_through_the_gateway(world: World) -> bool:
    calls = world.sandbox.calls
    vias = [call.header("Via") or "" for call in calls]
    bearers = [call.header("Authorization") or "" for call in calls]
    return len(calls) > 0 and all(vias) and all(bearer.startswith("Bearer ey") for bearer in bearers)


# SOAP ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coding", get_args(ContentCoding))
@pytest.mark.parametrize("style", STYLES)
async def test_a_soap_client_needs_no_address_of_oic(
    style: UrlStyle, coding: ContentCoding, world: World, caller: Confined
) -> None:
    switch(world, url_style=style, content_coding=coding, content_coding_forced=True)
    for query in QUERIES:
        world.sandbox.calls.clear()
        seen = len(world.gate.records)
        found_ids = await asyncio.to_thread(calls_both_ports, caller, f"{world.at}/hello/?{query}")
        documents = 3 if query == "wsdl=split" else 2
        records = (await world.gate.wait_for_records(seen + documents + 4))[seen:]
        assert [record["instance_id"] for record in records][documents:] == found_ids
        assert {record["route"] for record in records} == {"hello"}
        assert len(world.sandbox.calls) == documents + 4
        assert arrived_through_the_gateway(world)
    output = caller.received_bytes()
    assert not mentions_host(output, ACME)
    assert b"Content-Encoding" not in output


@pytest.mark.parametrize("instance_ids", ["decimal", "body", "none"])
async def test_the_run_of_every_call_is_known(instance_ids: InstanceIds, world: World, caller: Confined) -> None:
    switch(world, instance_ids=instance_ids)
    seen = len(world.gate.records)
    found_ids = await asyncio.to_thread(calls_both_ports, caller, f"{world.at}/hello/?wsdl")
    records = (await world.gate.wait_for_records(seen + 6))[seen:]
    assert [record["instance_id"] for record in records][2:] == found_ids
    heads = [reply.headers.get("x-oracle-ics-instance-id") for reply in caller.responses]
    assert heads[2:] == found_ids
    assert all(found_ids) == (instance_ids != "none")


@pytest.mark.parametrize("use_digest", [False, True])
async def test_soap_credentials_of_the_caller_are_not_forwarded(
    world: World, caller: Confined, *, use_digest: bool
) -> None:
    caller.auth = ("legacy", "pass-of-basic")
    wsse = UsernameToken("erp-user", "pass-of-wsse", use_digest=use_digest)  # type: ignore[no-untyped-call] # as above
    await asyncio.to_thread(calls_both_ports, caller, f"{world.at}/hello/?wsdl", wsse=wsse)
    assert arrived_through_the_gateway(world)
    posts = [call for call in world.sandbox.calls if call.method == "POST"]
    assert len(posts) == 4
    for call in posts:
        assert b"<ns0:name>" in call.body_start
        assert b"MessageID" in call.body_start
        for unwanted in (b"erp-user", b"pass-of", b"UsernameToken", b"Nonce", b"Password"):
            assert unwanted not in call.body_start
        assert not any(b"pass-of" in value or b"Basic" in value for _, value in call.headers)
        assert call.header("SOAPAction") == '"hello"'


async def test_a_soap_client_through_a_balancer_that_ends_tls(world: World, tmp_path: Path) -> None:
    async with world.behind_a_balancer(tmp_path) as gate:
        outside, inside = OUTSIDE, f"http://{gate.listen}"
        for style in STYLES:
            switch(world, url_style=style)
            with Confined(outside, adapter=Balancer(outside, inside)) as session:
                for query in QUERIES:
                    await asyncio.to_thread(calls_both_ports, session, f"{outside}/hello/?{query}")
                output = session.received_bytes()
                assert not mentions_host(output, ACME)
                assert not mentions_host(output, gate.listen)
                assert mentions_host(output, "api.corp.example")


@pytest.mark.parametrize("style", STYLES)
async def test_a_soap_client_that_has_the_gateway_as_its_proxy(style: UrlStyle, world: World) -> None:
    switch(world, url_style=style)
    named = f"http://{ACME}"
    with Confined(named) as session:
        session.proxies = {"http": world.at}
        for query in QUERIES:
            url = f"{named}/ic/ws/integration/v1/flows/soap/HELLO/1.0/?{query}"
            await asyncio.to_thread(calls_both_ports, session, url)
        assert not mentions_host(session.received_bytes(), f"{ACME}:443")
        assert not mentions_host(session.received_bytes(), OIC)
        assert not mentions_host(session.received_bytes(), world.gate.listen)
    assert arrived_through_the_gateway(world)


@pytest.mark.parametrize("host", ["legacy-name.localhost:81", ""])
async def test_a_caller_of_http_10_reads_names_that_lead_back(host: str, world: World) -> None:
    field = f"Host: {host}\r\n" if host else ""
    status, head, body = await world.gate.call(f"GET /hello/?wsdl HTTP/1.0\r\n{field}\r\n".encode())
    assert (status, mentions_host(head + body, ACME)) == (200, False)
    address = etree.fromstring(body).find(".//{*}port/{*}address")
    assert address is not None
    at = f"http://{host}" if host else world.at  # without a name of its own it may be relative
    assert urljoin(f"{at}/hello/?wsdl", str(address.get("location"))) == f"{at}/hello/"


LOOKALIKES = """
<!-- {at}/service/ is ours -->
<w:definitions xmlns:w="http://schemas.xmlsoap.org/wsdl/" xmlns:tns="{at}/types" targetNamespace="{at}/types"
    xmlns:s="http://schemas.xmlsoap.org/wsdl/soap/" xmlns:x="http://www.w3.org/2001/XMLSchema"
    xmlns:wsam="http://www.w3.org/2007/05/addressing/metadata">
  <w:types><x:schema targetNamespace="{at}/types" elementFormDefault="qualified">
    <x:complexType name="one"><x:sequence><x:element name="link" type="x:anyURI"/></x:sequence></x:complexType>
    <x:element name="ask" type="tns:one"/><x:element name="answer" type="tns:one"/>
  </x:schema></w:types>
  <w:message name="in"><w:part name="p" element="tns:ask"/></w:message>
  <w:message name="out"><w:part name="p" element="tns:answer"/></w:message>
  <w:portType name="T"><w:operation name="ask">
    <w:input message="tns:in" wsam:Action="{at}/types/ask"/><w:output message="tns:out"/></w:operation></w:portType>
  <w:binding name="B" type="tns:T"><s:binding transport="http://schemas.xmlsoap.org/soap/http"/>
    <w:operation name="ask"><s:operation soapAction="{at}/types/ask"/>
      <w:input><s:body use="literal"/></w:input><w:output><s:body use="literal"/></w:output></w:operation></w:binding>
  <w:service name="S"><w:port name="P" binding="tns:B"><s:address location="{at}/service/"/></w:port></w:service>
</w:definitions>"""
ANSWER = """<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body>
<a:answer xmlns:a="{at}/types"><a:link>{at}/service/7?of={at}/types</a:link></a:answer></e:Body></e:Envelope>"""


PACKERS: dict[str, Callable[[bytes], bytes]] = {"identity": bytes, "gzip": gzip.compress, "deflate": zlib.compress}


@pytest.mark.parametrize("coding", PACKERS)
@pytest.mark.parametrize("charset", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1", "cp1252"])
async def test_namespaces_and_actions_that_look_like_addresses_stay(charset: str, coding: str) -> None:
    """They are names that both sides compare letter by letter (WSDL 1.1 §2.1.1, Namespaces in XML §3)."""
    declared = f'<?xml version="1.0" encoding="{charset.removesuffix("-sig")}"?>'
    fields = "Content-Type: text/xml", f"Content-Encoding: {coding}"

    def ask(url: str) -> Any:
        with Confined(url.removesuffix("/orders/?wsdl")) as session:
            transport = Transport(session=session)  # type: ignore[no-untyped-call] # zeep is partly typed
            client = zeep.Client(url, transport=transport)  # type: ignore[no-untyped-call] # as above
            return client.service.ask(link="http://elsewhere.example/")

    async with scene(base="/oic") as (gate, upstream, _):
        at, here = f"{upstream.url}/oic", f"http://127.0.0.1:{gate.port}"
        bodies = [(declared + text.format(at=at)).encode(charset) for text in (LOOKALIKES, ANSWER)]
        upstream.script = [reply(200, PACKERS[coding](body), *fields) for body in bodies]
        link = await asyncio.to_thread(ask, f"{here}/orders/?wsdl")
        assert link == f"{here}/orders/service/7?of={here}/orders/types"
        described, token_request = upstream.requests
        assert (described.target, token_request.target) == ("/oic/?wsdl", "/oic/service/")
        assert token_request.field("SOAPAction") == f'"{at}/types/ask"'
        assert f'"{at}/types"'.encode() in token_request.body


# XML ----------------------------------------------------------------------------------------------------------------


def in_our_names(url: str, at: str) -> str:
    """What becomes of an address, told in another way than the product's: as it is and percent-encoded."""
    for path, ours in PLACES.items():
        plain = re.compile(rf"https?://{re.escape(ACME)}(:443)?{re.escape(path)}(?=[/?#]|$)", re.IGNORECASE)
        coded = re.compile(rf"https?%3A%2F%2F{re.escape(ACME)}(%3A443)?{quote(path, safe='')}(?=%|$)", re.IGNORECASE)
        url = coded.sub(quote(at + ours, safe=""), plain.sub(at + ours, url))
    return url


def rewritten_addresses(before: bytes, after: bytes, at: str) -> list[str]:
    """The attributes in which two documents differ, each an address and the same one in the gateway's names; all else
    is equal in its canonical form (c14n).
    """
    first, second = (etree.fromstring(document) for document in (before, after))
    differ = []
    for one, other in zip(first.iter(), second.iter(), strict=True):
        for name, address in other.attrib.items():
            value = str(one.attrib[name])
            if value != address:
                assert "://" in value
                assert address == in_our_names(value, at)
                differ.append(str(name))
                one.attrib[name] = address
    assert etree.tostring(first, method="c14n") == etree.tostring(second, method="c14n")
    return differ


@pytest.mark.parametrize("style", STYLES)
async def test_xml_is_equal_but_for_the_addresses(style: UrlStyle, world: World, caller: Confined) -> None:
    changed = {
        "wsdl": ["schemaLocation", "location", "location"],
        "wsdl=split": ["location", "location", "location"],
        "wsdl=abstract.wsdl": ["schemaLocation"],
        "xsd=hello.xsd": [],
    }
    for query, expected in changed.items():
        switch(world, url_style=style, content_coding="", content_coding_forced=True)
        before = await asyncio.to_thread(world.direct, f"{world.sandbox.soap_upstream()}?{query}")
        assert mentions_host(before.content, ACME) == bool(expected)
        for coding in get_args(ContentCoding):
            switch(world, content_coding=coding)
            after = await asyncio.to_thread(caller.get, f"{world.at}/hello/?{query}")
            assert rewritten_addresses(before.content, after.content, world.at) == expected
            assert after.headers["Content-Type"] == before.headers["Content-Type"]
            if not expected and not coding:
                # Weak also where nothing changed: a HEAD, which cannot know, gets the same (RFC 9110 section 9.3.2).
                assert after.headers["ETag"] == f"W/{before.headers['ETag']}"
            assert int(after.headers.get("Content-Length", len(after.content))) == len(after.content)


# OpenAPI and Swagger ------------------------------------------------------------------------------------------------

BELOW = {"ORDERS": "/1001", "PROJORDERS": "/1002", "ECHO": "/", "BYTES": "/10", "STATUS": "/200"}


def described(reply: requests.Response) -> dict[str, Any]:
    """The document, valid by its specification."""
    document = json.loads(reply.content) if "json" in reply.headers["Content-Type"] else yaml.safe_load(reply.content)
    validate(document)
    return dict(document)


def split_address(document: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Where a description says that the API is, and all else that it says."""
    rest = dict(document)
    if "swagger" in document:
        return f"{rest.pop('schemes')[0]}://{rest.pop('host')}{rest.pop('basePath')}", rest
    [server] = rest.pop("servers")
    return str(server.pop("url")), rest | {"server": server}


@pytest.mark.parametrize("kind", ["swagger", "openapi", "swagger.yaml", "openapi.yaml"])
@pytest.mark.parametrize("style", STYLES)
async def test_descriptions_are_valid_and_lead_here(style: UrlStyle, kind: str, world: World, caller: Confined) -> None:
    switch(world, url_style=style)
    for code in BELOW if style == "plain" else ["ORDERS"]:
        upstream = world.sandbox.upstream(code, project="DEMO" if code == "PROJORDERS" else "")
        before = described(await asyncio.to_thread(world.direct, f"{upstream}metadata/{kind}"))
        world.sandbox.calls.clear()
        reply = await asyncio.to_thread(caller.get, f"{world.at}/{code.lower()}/metadata/{kind}")
        host, same = split_address(before)
        here, rest = split_address(described(reply))
        assert rest == same
        assert here == in_our_names(host, world.at)
        assert not mentions_host(reply.content, ACME)
        assert f"{world.sandbox.token_url}".encode() in reply.content.replace(b"\\/", b"/")
        answer = await asyncio.to_thread(caller.get, target(here) + BELOW[code])
        assert answer.status_code == 200
        assert arrived_through_the_gateway(world)


@pytest.mark.parametrize("kind", ["swagger", "openapi", "swagger.yaml", "openapi.yaml"])
async def test_descriptions_behind_a_balancer_and_through_a_proxy(kind: str, world: World, tmp_path: Path) -> None:
    async with world.behind_a_balancer(tmp_path) as gate:
        with Confined(OUTSIDE, adapter=Balancer(OUTSIDE, f"http://{gate.listen}")) as session:
            reply = await asyncio.to_thread(session.get, f"{OUTSIDE}/orders/metadata/{kind}")
            here, _ = split_address(described(reply))
            assert here == f"{OUTSIDE}/orders"
            assert (await asyncio.to_thread(session.get, f"{here}/1001")).json()["id"] == "1001"
        named = f"http://{ACME}"
        with Confined(named) as session:
            session.proxies = {"http": f"http://{gate.listen}"}
            reply = await asyncio.to_thread(session.get, f"{named}{API}flows/rest/ORDERS/1.0/metadata/{kind}")
            here, _ = split_address(described(reply))
            assert here == f"{named}{API}flows/rest/ORDERS/1.0"
            assert (await asyncio.to_thread(session.get, f"{here}/1001")).json()["id"] == "1001"


# The developer API and other links ----------------------------------------------------------------------------------


def links(document: Any) -> list[str]:
    """Every `href` below."""
    if isinstance(document, list):
        return [href for item in document for href in links(item)]
    if not isinstance(document, dict):
        return []
    own = [document["href"]] if "href" in document else []
    return own + [href for value in document.values() for href in links(value)]


@pytest.mark.parametrize("style", STYLES)
async def test_every_link_of_the_developer_api_can_be_followed(style: UrlStyle, world: World, caller: Confined) -> None:
    switch(world, url_style=style)
    assert (await asyncio.to_thread(caller.get, f"{world.at}/orders/1001")).status_code == 200
    for start in ("integrations", "monitoring/instances"):
        first = await asyncio.to_thread(caller.get, f"{world.at}/developer/{start}?limit=3")
        assert (first.status_code, first.history) == (200, [])
        found = links(first.json())
        assert len(found) > 3 if start == "integrations" else len(found) > 1
        for href in found:
            assert target(href).startswith(f"{world.at}/developer/")
            assert (await asyncio.to_thread(caller.get, href)).status_code == 200
    listed = (await asyncio.to_thread(caller.get, f"{world.at}/developer/integrations")).json()["items"]
    orders = next(item for item in listed if item["code"] == "ORDERS")
    assert target(orders["endPointURI"]) == f"{world.at}/orders/"
    assert target(orders["redirect-url"]) == f"{world.at}/pages/faces/link?integration=ORDERS"
    assert arrived_through_the_gateway(world)
    assert not mentions_host(caller.received_bytes(), DESIGN)


@pytest.mark.parametrize("style", STYLES)
async def test_a_created_order_is_found_by_every_name_of_it(style: UrlStyle, world: World, caller: Confined) -> None:
    for instance_ids in ("uuid", "decimal", "body"):
        switch(world, url_style=style, instance_ids=instance_ids)
        response = await asyncio.to_thread(caller.post, f"{world.at}/orders/", json={"item": "valve"})
        assert response.status_code == 201
        [link] = response.json()["links"]
        named = [
            response.headers["Location"],
            response.headers["Content-Location"],
            response.links["self"]["url"],
            link["href"],
        ]
        assert len(set(named)) == 1
        for href in (*named, response.links["collection"]["url"]):
            assert target(href).startswith(f"{world.at}/orders/")
            assert (await asyncio.to_thread(caller.get, href)).status_code == 200
        assert response.headers["x-oracle-ics-instance-id"] == world.sandbox.calls[0].instance_id
        world.sandbox.calls.clear()
    assert not mentions_host(caller.received_bytes(), ACME)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_of_a_flow_leads_back_here(status: int, world: World, caller: Confined) -> None:
    order = f"{API}flows/rest/ORDERS/1.0/1001"
    places = {
        f"{OIC}{order}": "/orders/1001",
        f"{OIC}:443{order}?a=b#c": "/orders/1001?a=b#c",
        f"//{ACME.upper()}{order}": "/orders/1001",
        order: "/orders/1001",
        "200": "/status/200",
    }
    for location, place in places.items():
        url = f"{world.at}/status/{status}?location={quote(location)}"
        answer = await asyncio.to_thread(caller.get, url)
        assert (answer.status_code, answer.url) == (200, f"{world.at}{place}")
        assert [one.status_code for one in answer.history] == [status]
    elsewhere = f"{world.at}/status/{status}?location=https://supplier.example/"
    with pytest.raises(requests.exceptions.InvalidSchema):
        await asyncio.to_thread(caller.get, elsewhere)


# Large bodies -------------------------------------------------------------------------------------------------------


def digest(pieces: Iterator[bytes]) -> tuple[int, str]:
    """Length and SHA-256 of what comes in pieces."""
    length, sha256 = 0, hashlib.sha256()
    for piece in pieces:
        length += len(piece)
        sha256.update(piece)
    return length, sha256.hexdigest()


def fetched(url: str) -> tuple[int, str]:
    with Confined(url.rpartition("/big/")[0]) as session, session.get(url, stream=True) as reply:
        assert reply.status_code == 200
        return digest(reply.iter_content(1 << 16))


def forget_peak(gate: Process) -> int:
    """Has the highest resident size so far count from now on (proc(5), clear_refs); gives what it is now, in KiB."""
    Path(f"/proc/{gate.pid}/clear_refs").write_text("5", encoding="ascii")
    return gate.memory()


@pytest.mark.parametrize(("mebibytes", "coding"), [(50, ""), (8, "gzip")])
async def test_a_large_body_is_rewritten_with_constant_memory(
    mebibytes: int, coding: ContentCoding, tmp_path: Path
) -> None:
    async with Sandbox(switches=Switches(content_coding=coding, content_coding_forced=True)) as sandbox:
        document = settings(sandbox)
        document["routes"].append(route("big", sandbox.upstream("BIG")))
        base, orders = sandbox.upstream("BIG").encode().rstrip(b"/"), sandbox.upstream("ORDERS").encode()
        async with gateway(written(tmp_path, document), **SECRETS) as gate:
            at = f"http://{gate.listen}"
            await asyncio.to_thread(fetched, f"{at}/big/1")
            resting = forget_peak(gate)
            length, sha256 = await asyncio.to_thread(fetched, f"{at}/big/{mebibytes}")
            grown = gate.memory() - resting
            pieces = big(mebibytes, base.decode())
            own_urls = f"{at}/big".encode(), f"{at}/orders/".encode()
            expected = (piece.replace(base, own_urls[0]).replace(orders, own_urls[1]) for piece in pieces)
            assert (length, sha256) == digest(expected)
            assert grown <= MOST_MEMORY
