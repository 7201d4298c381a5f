"""Callers at the wire: who is served, what the others receive, and that no proof goes to OIC."""

import asyncio
import base64
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from gateway.callers.directory import ScopedProofs
from gateway.callers.proof_table import CallerProofs, ProofTable
from gateway.observe.metric_table import PREFIX
from gateway.observe.record import record_line
from gateway.proxy.caller_check import VerifiedHead
from gateway.proxy.route_table import Route
from tests.fakes.collector import Collector
from tests.fakes.gate import Gate, Scene, config, scene
from tests.fakes.proofs import PROFILE, basic, password_digest

ERP, KEY, CRM = "s3cr3t-of-erp", "s3cr3t-key-of-scanner", "s3cr3t-of-crm"
CALLERS = {
    "erp": {"basic": {"username": "erp", "password": {"env": "ERP"}}},
    "scanner": {"api_key": [{"env": "NO_SUCH_KEY"}, {"env": "KEY"}]},
    "crm": {"wsse": {"username": "crm", "password": {"env": "CRM"}}},
    "lab": {"networks": ["10.2.0.0/16"]},
}
XML = "Content-Type: text/xml; charset=utf-8"
S11 = "http://schemas.xmlsoap.org/soap/envelope/"
BASIC = "Authorization: " + basic(f"erp:{ERP}").decode()
WRONG = "Authorization: " + basic("erp:nix").decode()


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERP", ERP)
    monkeypatch.setenv("KEY", KEY)
    monkeypatch.setenv("CRM", CRM)


def guarded(*callers: str, **settings: Any) -> AbstractAsyncContextManager[Scene]:
    """A route that only these callers may use."""
    route = {"callers": list(callers), **settings.pop("route", {})}
    return scene(callers=CALLERS | settings.pop("callers", {}), route=route, **settings)


def soap(token: str = "") -> bytes:
    header = f"<s:Header><w:Security xmlns:w='w'>{token}</w:Security></s:Header>" if token else ""
    return f"<s:Envelope xmlns:s='{S11}'>{header}<s:Body><h/></s:Body></s:Envelope>".encode()


def token(password: str = CRM, user: str = "crm", kind: str = "", more: str = "") -> str:
    return (
        f"<w:UsernameToken><w:Username>{user}</w:Username><w:Password Type='{kind}'>{password}</w:Password>{more}"
        "</w:UsernameToken>"
    )


def digest(nonce: bytes, *, age: float = 0.0) -> str:
    created = (datetime.now(UTC) - timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%SZ")
    value = password_digest(CRM, nonce=nonce, created=created)
    nonce_text = base64.b64encode(nonce).decode()
    return token(
        value, kind=f"{PROFILE}PasswordDigest", more=f"<Nonce>{nonce_text}</Nonce><Created>{created}</Created>"
    )


def sent(at: Scene) -> bytes:
    return b"".join(request.head + request.body for request in at.upstream.requests)


def counts(gate: Gate) -> dict[Any, Any]:
    return gate.metrics.snapshot()[f"{PREFIX}caller_requests_total"]


async def test_a_caller_is_served_and_recorded() -> None:
    async with guarded("erp", "scanner") as at:
        for field, caller in (
            (BASIC, "erp"),
            (f"X-Api-Key: {KEY}", "scanner"),
            (f"Authorization: Bearer {KEY}", "scanner"),
        ):
            assert (await at.gate.get("/orders/1", field))[0] == 200
            assert at.gate.records[-1].caller == caller
        assert counts(at.gate) == {("erp", "2xx"): 1, ("scanner", "2xx"): 2}
        assert at.upstream.requests[0].field("Authorization") == "Bearer token-1"


async def test_no_proof_goes_to_oic() -> None:
    async with guarded("erp", "scanner", "crm") as at:
        for fields in ([BASIC], [f"X-Api-Key: {KEY}"], [f"X_Api_Key: {KEY}"], [f"Authorization: Bearer {KEY}"]):
            assert (await at.gate.get("/orders/1", *fields))[0] == 200
        assert (await at.gate.post(soap(token()), XML))[0] == 200
        wire = sent(at).lower()
        for secret in (ERP, KEY, CRM, basic(f"erp:{ERP}").decode()[6:], "x-api-key", "usernametoken"):
            assert secret.lower().encode() not in wire


async def test_an_unknown_caller_gets_401_with_the_challenges() -> None:
    async with guarded("erp", "scanner") as at:
        status, head, body = await at.gate.get()
        assert (status, at.upstream.connections) == (401, 0)
        assert head.count(b"WWW-Authenticate: ") == 2
        assert b'WWW-Authenticate: Basic realm="oic-gateway", charset="UTF-8"\r\n' in head
        assert b'WWW-Authenticate: Bearer realm="oic-gateway"\r\n' in head
        assert b"X-Gateway-Error: unknown-caller\r\n" in head
        assert b'"code": "unknown-caller"' in body
        [record] = at.gate.records
        assert (record.caller, record.error, record.reason) == (None, "unknown-caller", "the request has no proof")
        assert counts(at.gate) == {("-", "4xx"): 1}


async def test_a_route_without_basic_callers_asks_for_no_password() -> None:
    async with guarded("crm", "lab") as at:
        status, head, _ = await at.gate.get()
        assert (status, b"WWW-Authenticate" in head) == (401, False)


async def test_a_caller_of_another_route_gets_403() -> None:
    async with guarded("scanner") as at:
        status, head, _ = await at.gate.get("/orders/1", BASIC)
        assert (status, b"X-Gateway-Error: caller-not-allowed" in head) == (403, True)
        assert (at.gate.records[0].caller, at.upstream.connections) == ("erp", 0)
        assert counts(at.gate) == {("erp", "4xx"): 1}


REFUSED = {
    "a wrong password": [WRONG],
    "two callers": [BASIC, f"X-Api-Key: {KEY}"],
    "a right and a wrong proof": [BASIC, "X-Api-Key: nix"],
    "a repeated field": [BASIC, BASIC],
    "a hidden second field": ["Authorization: Negotiate abc", BASIC],
    "malformed base64": ["Authorization: Basic ???"],
    "an empty key": ["X-Api-Key:"],
    "a key in two spellings": [f"X-Api-Key: {KEY}", f"X_Api_Key: {KEY}"],
}


@pytest.mark.parametrize("fields", REFUSED.values(), ids=REFUSED)
async def test_ambiguous_and_wrong_proofs_are_refused(fields: list[str]) -> None:
    async with guarded("erp", "scanner") as at:
        assert (await at.gate.get("/orders/1", *fields))[0] == 401
        assert at.upstream.connections == 0


async def test_a_connection_is_not_trusted_after_a_good_proof() -> None:
    async with guarded("erp", "scanner") as at:
        caller = await at.gate.caller()
        for field, status in ((BASIC, 200), (WRONG, 401), (BASIC, 200), ("X-A: b", 401), (f"X-Api-Key: {KEY}", 200)):
            await caller.send(f"GET /orders/1 HTTP/1.1\r\nHost: gw\r\n{field}\r\n\r\n".encode())
            assert (await caller.reply())[0] == status
        assert [record.caller for record in at.gate.records] == ["erp", None, "erp", None, "scanner"]


async def test_a_repeated_head_keeps_its_caller() -> None:
    async with guarded("erp") as at:
        caller = await at.gate.caller()
        for _ in range(3):
            await caller.send(f"GET /orders/1 HTTP/1.1\r\nHost: gw\r\n{BASIC}\r\n\r\n".encode())
            assert (await caller.reply())[0] == 200
        assert counts(at.gate) == {("erp", "2xx"): 3}


async def test_a_route_without_callers_needs_no_proof() -> None:
    async with scene(callers=CALLERS) as at:
        for fields in ([], [BASIC], [WRONG], [BASIC, BASIC], ["Authorization: Negotiate x"]):
            assert (await at.gate.get("/orders/1", *fields))[0] == 200
        assert {record.caller for record in at.gate.records} == {None}
        assert counts(at.gate) == {}


async def test_open_routes_forward_only_keys_of_no_caller() -> None:
    async with scene(callers=CALLERS) as at:
        await at.gate.get("/orders/1", "X-Api-Key: of-the-flow")
        await at.gate.get("/orders/1", f"X-Api-Key: {KEY}")
        assert [request.field("X-Api-Key") for request in at.upstream.requests] == ["of-the-flow", None]


async def test_a_key_is_forwarded_where_callers_have_no_keys() -> None:
    async with guarded("erp", callers={"scanner": {"networks": ["10.3.0.0/16"]}}) as at:
        await at.gate.get("/orders/1", BASIC, "X-Api-Key: of-the-flow")
        assert at.upstream.requests[0].field("X-Api-Key") == "of-the-flow"


async def test_the_name_of_the_caller_can_be_forwarded() -> None:
    async with guarded("erp", route={"headers": {"set": {"X-Caller": "${caller}"}}}) as at:
        await at.gate.get("/orders/1", BASIC, "X-Caller: forged")
        assert at.upstream.requests[0].field("X-Caller") == "erp"


async def test_addresses_of_a_network_are_callers() -> None:
    async with guarded("home", callers={"home": {"networks": ["127.0.0.0/8"]}}) as at:
        assert (await at.gate.get())[0] == 200
        assert (await at.gate.get("/orders/1", BASIC))[0] == 401
        assert [record.caller for record in at.gate.records] == ["home", None]
        assert at.gate.records[1].reason == "the proofs name different callers: erp, home"


async def test_a_large_body_of_an_unknown_caller_is_not_read() -> None:
    async with guarded("erp") as at:
        status, head, _ = await at.gate.call(
            b"POST /orders/1 HTTP/1.1\r\nHost: gw\r\nContent-Length: 1000000000\r\nExpect: 100-continue\r\n\r\n"
        )
        assert (status, b"Connection: close" in head, at.upstream.connections) == (401, True, 0)


TOKENS = {
    "text": (token, 200),
    "a wrong password": (lambda: token("nix"), 401),
    "a digest": (lambda: digest(b"n1"), 200),
    "an old digest": (lambda: digest(b"n2", age=400), 401),
    "two tokens, one wrong": (lambda: token() + token("nix"), 401),
    "no token": (str, 401),
}


@pytest.mark.parametrize(("make", "status"), TOKENS.values(), ids=TOKENS)
async def test_soap_callers_prove_themselves_by_their_token(make: Callable[[], str], status: int) -> None:
    async with guarded("crm") as at:
        found, head, body = await at.gate.post(soap(make()), XML, 'SOAPAction: "x"')
        assert found == (200 if status == 200 else 500)  # a Fault
        assert len(at.upstream.requests) == (status == 200)
        assert at.gate.records[0].caller == ("crm" if status == 200 else None)
        if status == 401:
            assert b"X-Gateway-Error: unknown-caller; status=401" in head
            assert b"<code>unknown-caller</code><status>401</status>" in body


async def test_a_digest_is_accepted_once() -> None:
    async with guarded("crm") as at:
        message = soap(digest(b"once"))
        assert [(await at.gate.post(message, XML))[0] for _ in range(2)] == [200, 500]
        assert at.gate.records[1].reason == "the UsernameToken was used before"


async def test_soap_clients_receive_the_challenge_with_status_401() -> None:
    """Clients such as WCF send their password only after a 401."""
    async with guarded("erp", "crm") as at:
        status, head, body = await at.gate.post(soap(), XML, 'SOAPAction: "x"')
        assert (status, b"WWW-Authenticate: Basic" in head, b"<soap:Fault>" in body) == (401, True, True)
        assert (await at.gate.post(soap(), XML, BASIC))[0] == 200


async def test_a_token_must_agree_with_the_head() -> None:
    async with guarded("erp", "crm") as at:
        assert (await at.gate.post(soap(token()), XML, BASIC))[0] == 401
        assert (await at.gate.post(soap(token("nix")), XML, BASIC))[0] == 401
        assert at.upstream.connections == 0
        assert (await at.gate.post(soap(token()), XML))[0] == 200
        assert (await at.gate.post(soap(), XML, BASIC))[0] == 200
        assert [record.caller for record in at.gate.records] == [None, None, "crm", "erp"]


async def test_a_token_of_a_caller_of_another_route_gets_403() -> None:
    async with guarded("erp") as at:
        assert (await at.gate.post(soap(token()), XML))[0] == 500
        assert at.gate.records[0].error == "caller-not-allowed"
        assert (at.gate.records[0].caller, at.upstream.connections) == ("crm", 0)


async def test_nothing_is_sent_before_the_token_is_verified() -> None:
    message = soap(token())
    async with guarded("crm") as at:
        caller = await at.gate.caller()
        await caller.send(
            f"POST /orders/1 HTTP/1.1\r\nHost: gw\r\n{XML}\r\nContent-Length: {len(message)}\r\n\r\n".encode()
        )
        end = message.index(b"<s:Body>")
        await caller.send(message[:end])
        for _ in range(50):
            await asyncio.sleep(0)
        assert (at.upstream.connections, at.gate.records) == (0, [])
        await caller.send(message[end:])
        assert (await caller.reply())[0] == 200


async def test_a_large_message_streams_behind_a_token() -> None:
    body = soap(token()).replace(b"<h/>", b"<h>" + b"x" * 3_000_000 + b"</h>")
    async with guarded("crm", route={"replay_limit": "0B"}) as at:
        assert (await at.gate.post(body, XML))[0] == 200
        assert at.gate.records[0].bytes_in == len(body)
        assert len(at.upstream.requests[0].body) < len(body)


async def test_no_secret_is_in_records_and_responses() -> None:
    async with guarded("lab") as at:
        texts = []
        for fields in ([BASIC], [WRONG], [f"X-Api-Key: {KEY}"], [f"Authorization: Bearer {KEY}"], [BASIC, BASIC]):
            texts += [*(await at.gate.get("/orders/1", *fields))[1:]]
        texts += [*(await at.gate.post(soap(token()), XML))[1:]]
        texts += [repr(record).encode() + record_line(record) for record in at.gate.records]
        texts.append(repr(at.gate.runtime.table.callers).encode())
        for secret in (ERP, KEY, CRM, basic(f"erp:{ERP}").decode()[6:]):
            assert all(secret.encode() not in text for text in texts)


async def test_what_a_caller_proved_on_one_route_does_not_open_another() -> None:
    other = {
        "name": "crm",
        "path": "/crm/",
        "upstream": "http://127.0.0.1:9/ic/",
        "credential": "app",
        "callers": ["crm"],
    }
    async with guarded("erp", routes=[other]) as at:
        caller = await at.gate.caller()
        for target, expected in (("/orders/1", 200), ("/crm/1", 403), ("/orders/1", 200), ("/orders/1", 200)):
            await caller.send(f"GET {target} HTTP/1.1\r\nHost: gw\r\n{BASIC}\r\n\r\n".encode())
            assert (await caller.reply())[0] == expected
        assert [record.caller for record in await at.gate.wait_for_records(4)] == ["erp"] * 4


async def test_a_key_in_any_spelling_stays_here() -> None:
    async with guarded("scanner") as at:
        for name in ("X-Api-Key", "x-api-key", "X_API_KEY"):
            status, _, _ = await at.gate.get("/orders/1", f"{name}: {KEY}", "A: 1")
            assert status == 200
        for request in at.upstream.requests:
            assert KEY.encode() not in request.head
            assert request.field("A") == "1"


async def exchange_all(at: Scene, *requests: str) -> list[int]:
    """Send requests on one connection, each after the response to the one before; return the statuses."""
    caller = await at.gate.caller()
    statuses = []
    for request in requests:
        await caller.send(request.replace("\n", "\r\n").encode())
        statuses.append((await caller.reply())[0])
    await at.gate.wait_for_records(len(requests))
    return statuses


def request_with(*fields: str, target: str = "/orders/1", body: str | None = None) -> str:
    method, length = ("GET", ()) if body is None else ("POST", (f"Content-Length: {len(body)}",))
    return "\n".join([f"{method} {target} HTTP/1.1", "Host: gw", *fields, *length, "", body or ""])


KEY_FIELDS = {
    "as before": [f"X-Api-Key: {KEY}"],
    "another spelling of the name": [f"x-api-key: {KEY}"],
    "an underscore": [f"X_Api_Key: {KEY}"],
    "no space": [f"X-Api-Key:{KEY}"],
    "more space": [f"X-Api-Key:  {KEY} "],
    "named by Connection": [f"X-Api-Key: {KEY}", "Connection: x-api-key"],
    "between other fields": ["A: 1", f"X-Api-Key: {KEY}", "B: 2"],
    "an empty line beside it": [f"X-Api-Key: {KEY}", "X_Api-Key:"],
}


@pytest.mark.parametrize("first", KEY_FIELDS.values(), ids=KEY_FIELDS)
async def test_a_key_verified_before_stays_here_in_any_spelling(first: list[str]) -> None:
    async with guarded("scanner") as at:
        pairs = [request_with(*fields) for again in KEY_FIELDS.values() for fields in (first, again)]
        expected = [401 if "X_Api-Key:" in request.splitlines() else 200 for request in pairs]
        assert await exchange_all(at, *pairs) == expected
        assert len(at.upstream.requests) == expected.count(200)
        assert all(KEY.encode() not in request.head for request in at.upstream.requests)
        assert {record.caller for record in at.gate.records if record.status == 200} == {"scanner"}


async def test_a_key_with_a_comma_stays_here_in_one_line_and_in_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "first-half, second-half")
    one, two = ["X-Api-Key: first-half, second-half"], ["X-Api-Key: first-half", "X-Api-Key: second-half"]
    async with guarded("scanner") as at:
        for order in ((one, two, one), (two, one, two, two)):
            assert set(await exchange_all(at, *[request_with(*fields) for fields in order])) == {200}
        assert b"half" not in sent(at)


async def test_a_repeated_key_stays_here_with_bodies_limits_and_traces() -> None:
    callers = {"scanner": {"api_key": {"env": "KEY"}, "rate": "1000/s"}}
    with_key = f"X-Api-Key: {KEY}", "Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "A: 1"
    async with (
        Collector() as collector,
        guarded("scanner", callers=callers, telemetry={"endpoint": collector.url}) as at,
    ):
        requests = [request_with(*with_key, body=body) for body in (None, "x", None, "<a/>", None)]
        assert await exchange_all(at, *requests) == [200] * 5
        assert KEY.encode() not in sent(at)
        assert [request.field("A") for request in at.upstream.requests] == ["1"] * 5
        assert {record.caller for record in at.gate.records} == {"scanner"}


async def test_open_routes_forward_no_key_of_a_caller_in_any_request() -> None:
    async with scene(callers=CALLERS) as at:
        for body in (None, "", "x"):
            for fields in KEY_FIELDS.values():
                shaped = [request_with(*fields, body=body), request_with(*fields, body=body)]
                assert set(await exchange_all(at, *shaped)) == {200}
        assert KEY.encode() not in sent(at)
        assert await exchange_all(at, *[request_with("X-Api-Key: of-the-flow", "A: 1", body="x")] * 2) == [200, 200]
        assert [request.field("X-Api-Key") for request in at.upstream.requests[-2:]] == ["of-the-flow"] * 2


async def test_a_replaced_key_proves_nothing_on_an_open_connection() -> None:
    def proofs(key: str) -> ScopedProofs:
        table = ProofTable([CallerProofs("scanner", api_keys=(key,))], key=b"k" * 32)
        return ScopedProofs(table, {"": table})

    async with guarded("scanner") as at:
        caller = await at.gate.caller()
        for key, status in ((KEY, 200), ("new", 401), (KEY, 200)):
            at.gate.runtime.table.callers.proofs = proofs(key)
            for _ in range(2):
                await caller.send(request_with(f"X-Api-Key: {KEY}").replace("\n", "\r\n").encode())
                assert (await caller.reply())[0] == status
        assert len(at.upstream.requests) == 4
        assert KEY.encode() not in sent(at)


@pytest.mark.parametrize(
    ("field", "change", "status"),
    [
        (f"X-Api-Key: {KEY}", {"route": {"callers": ["erp"]}}, 403),
        (f"X-Api-Key: {KEY}", {"callers": {"erp": CALLERS["erp"]}, "route": {"callers": ["erp"]}}, 401),
        (BASIC, {"route": {"callers": ["scanner"]}}, 403),
        (BASIC, {"callers": {"scanner": CALLERS["scanner"]}, "route": {"callers": ["scanner"]}}, 401),
        (BASIC, {"callers": {"scanner": CALLERS["scanner"]}, "route": {}}, 200),
    ],
)
async def test_a_reload_decides_again_on_an_open_connection(field: str, change: dict[str, Any], status: int) -> None:
    async with guarded("erp", "scanner") as at:
        caller = await at.gate.caller()
        for expected in (200, 200, status, status):
            await caller.send(request_with(field).replace("\n", "\r\n").encode())
            assert (await caller.reply())[0] == expected
            if len(at.gate.records) == 2:
                settings = {"callers": CALLERS, **change}
                at.gate.reload(config(at.identity.url, f"{at.upstream.url}/ic/x", **settings))
        assert ERP.encode() not in sent(at)


def test_what_a_connection_remembers_shows_no_proof() -> None:
    verified = VerifiedHead(
        (BASIC.encode(), KEY.encode(), cast("Route", None), cast("ScopedProofs", None)),
        "erp",
        f"X-Api-Key: {KEY}".encode(),
    )
    assert repr(verified) == "<VerifiedHead erp>"


@pytest.mark.usefixtures("within_an_hour")
async def test_a_recognized_caller_is_within_its_limits() -> None:
    limited = {"basic": {"username": "erp", "password": {"env": "ERP"}}, "quota": {"calls": "3/h"}}
    async with guarded("erp", callers={"erp": limited}) as at:
        assert await exchange_all(at, *[request_with(BASIC)] * 5) == [200, 200, 200, 429, 429]
        assert at.gate.problems == ["gateway.limits: calls of the caller are refused: 3 calls an hour"]
        at.gate.problems.clear()
