"""Play the cases of the corpus against one running gateway, one after the other, and compare each with its verdict.

A request case is identified by what the witness recorded between two known requests of another caller. A response
case has its own upstream, and so its own connection pool. Apart from its verdict, every case must produce only strictly
valid messages (`message`) on both sides, and exactly one record for each request. `Stage.check_records` checks the
records of all cases at once, because the gateway writes them in batches.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.corpus.cases import (
    Delivered,
    Forwarded,
    ReplyCase,
    ReplyVerdict,
    RequestCase,
    RequestVerdict,
    filled,
)
from tests.corpus.message import Fields, Reply, values
from tests.corpus.wire import Wait, Wire, Witness, echo_body
from tests.fakes.identity import Identity
from tests.fakes.process import Process, gateway

SECRET = "s3cr3t-of-the-corpus"
BODY_LIMIT = "1MiB"
CODES = {
    400: "bad-request",
    403: "forbidden",
    404: "no-route",
    405: "method-not-allowed",
    408: "request-timeout",
    413: "body-too-large",
    414: "uri-too-long",
    417: "expectation-failed",
    431: "headers-too-large",
    502: "upstream-broken",
    504: "upstream-timeout",
}
"""The error code of each status in the corpus."""


ExpectedRecord = tuple[int, set[str | None]]


@asynccontextmanager
async def stage(folder: Path, cases: list[ReplyCase]) -> AsyncIterator["Stage"]:
    """Yield a gateway with a route `/orders/` to a witness, and for each response case a route to another witness."""
    async with AsyncExitStack() as stack:
        identity = await stack.enter_async_context(Identity())
        witness = await stack.enter_async_context(Witness())
        witnesses = {}
        for case in cases:
            one = Witness(case.say, begins=case.begins, spare=case.warm)
            witnesses[case.name] = await stack.enter_async_context(one)
        routes = [_route("orders", witness, {})]
        routes += [_route(case.name, witnesses[case.name], case.timeout) for case in cases]
        file = folder / "gateway.yaml"
        file.write_text(json.dumps(_settings(identity.url, routes)), encoding="utf-8")
        process = await stack.enter_async_context(gateway(file, CORPUS_SECRET=SECRET))
        yield Stage(process, witness, witnesses)


def _settings(token_url: str, routes: list[dict[str, Any]]) -> dict[str, Any]:
    credential = {"token_url": token_url, "client_id": "corpus", "client_secret": {"env": "CORPUS_SECRET"}}
    return {
        "listen": "127.0.0.1:0",
        "admin": "127.0.0.1:0",
        "hosts": ["gw"],
        "limits": {"body": BODY_LIMIT},
        "credentials": {"app": credential},
        "defaults": {"replay_limit": "0B"},  # what is wrong in a body shows while it streams
        "routes": routes,
    }


def _route(name: str, witness: Witness, timeout: dict[str, str]) -> dict[str, Any]:
    upstream = f"http://{witness.authority}/up/"
    return {"name": name, "path": f"/{name}/", "upstream": upstream, "credential": "app", "timeout": timeout}


class Due(NamedTuple):
    """The expected records of a case, as (status, allowed errors); they stand between the records `start` and `end`."""

    case: str
    start: str
    end: str
    expected: list[ExpectedRecord]
    attempts: int | None = None

    def is_met_by(self, records: list[dict[str, Any]]) -> bool:
        """Return whether the records have the expected outcomes, and the first one the expected number of attempts."""
        pairs = zip(records, self.expected, strict=False)
        has_outcomes = all(one["status"] == status and one["error"] in errors for one, (status, errors) in pairs)
        has_all = len(records) == len(self.expected)
        return has_outcomes and has_all and (self.attempts is None or records[0]["attempts"] == self.attempts)


class Stage:
    """The gateway and its peers; `request` and `reply` play one case."""

    def __init__(self, process: Process, witness: Witness, witnesses: dict[str, Witness]) -> None:
        self._process = process
        self._witness = witness
        self._witnesses = witnesses
        self._count = 0
        self._due: list[Due] = []

    async def request(self, case: RequestCase) -> None:
        """Play the bytes of a caller."""
        start = await self._fence("/orders/")
        if self._witness.clear():
            start = await self._fence("/orders/")
        seen = len(self._witness.requests)
        async with self._caller() as wire:
            send = filled(case.send, upstream=self._witness.authority)
            waits = {"continue": _invited(wire), "reached": _reached(self._witness)}
            await wire.perform(send, waits=waits)
            replies = [await _final(wire, case, verdict) for verdict in case.verdict]
            expected = [_check_answer(*one) for one in zip(case.verdict, replies, strict=True)]
            stays = _stays(case, replies[-1])
            if stays:
                expected.append(await self._goes_on(wire, "/orders/"))
            else:
                await _ends(wire)
        end = await self._fence("/orders/")
        await self._check_arrived(seen, [one for one in expected if one is not None], part=case.reaches == "part")
        if not case.verdict[-1].dropped:
            statuses = [reply.status for reply in replies if reply is not None] + [200] * stays
            expected_records: list[ExpectedRecord] = [
                (status, {CODES[status] if status >= 400 else None}) for status in statuses
            ]
            self._due.append(Due(case.name, start, end, expected_records))

    async def reply(self, case: ReplyCase) -> None:
        """Play the bytes of an upstream."""
        witness, path = self._witnesses[case.name], f"/{case.name}/"
        if case.warm:
            await self._own(path)
        start = await self._fence("/orders/")
        before = len(witness.requests)
        async with self._caller() as wire:
            witness.caller = wire
            send = filled(case.send, path=f"{path}1")
            await wire.perform(send, waits={})
            reply = await wire.reply(is_head_request=send[0].data.startswith(b"HEAD "))
            await witness.played()
            assert reply is not None, "the connection ended without a reply"
            errors, reused = _check_verdict(case.verdict, reply)
            expected_records = [(reply.status, errors)]
            if reply.whole and not reply.closes:
                await self._goes_on(wire, path)
                expected_records.append((200, {None}))
            else:
                await _ends(wire)
        script_connection = next(connection for connection in witness.connections if connection.script_task is not None)
        if not reused:
            await script_connection.over()
        end = await self._fence(path)
        self._due.append(Due(case.name, start, end, expected_records, case.attempts))
        assert sum(request.target == "/up/1" for _, request in witness.requests[before:]) <= case.attempts
        assert (witness.requests[-1][0] is script_connection) is reused, "the wrong connection carried the next request"
        assert witness.errors == []

    async def check_records(self) -> None:
        """Check that each request of the passed cases has exactly one record, with the right outcome."""
        process = self._process
        last = await self._fence("/orders/")
        await process.until(lambda: process.lines[-1].get("request_id") == last)
        records = process.records
        at = {record["request_id"]: number for number, record in enumerate(records)}
        left = {due.case: records[at[due.start] + 1 : at[due.end]] for due in self._due}
        expected_records = {
            case: [(one["status"], one["error"], one["attempts"]) for one in some] for case, some in left.items()
        }
        assert {due.case: expected_records[due.case] for due in self._due if not due.is_met_by(left[due.case])} == {}

    # Beside the case ----------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _caller(self) -> AsyncIterator[Wire]:
        host, _, port = self._process.listen.rpartition(":")
        transport, wire = await asyncio.get_running_loop().create_connection(Wire, host, int(port))
        try:
            yield wire
        finally:
            transport.abort()

    async def _own(self, path: str, *fields: str, wire: Wire | None = None) -> str:
        """Send a valid request, on this connection or on a new one, and check that its own response and no other byte
        comes back. Return the target that arrived.
        """
        if wire is None:
            async with self._caller() as fresh:
                return await self._own(path, *fields, wire=fresh)
        self._count += 1
        name = f"own-{self._count}"
        wire.transport.write("\r\n".join([f"GET {path}{name} HTTP/1.1", "Host: gw", *fields, "", ""]).encode())
        reply = await wire.reply()
        assert reply is not None, "no reply to a good request"
        assert (reply.status, reply.body) == (200, echo_body("GET", f"/up/{name}"))
        assert wire.data == b""
        return f"/up/{name}"

    async def _goes_on(self, wire: Wire, path: str) -> Forwarded:
        """Check that the connection is open, has no further bytes, and serves another request."""
        assert wire.data == b"", f"unexpected bytes: {bytes(wire.data)!r}"
        return Forwarded(line=f"GET {await self._own(path, wire=wire)}")

    async def _fence(self, path: str) -> str:
        """Send a request of another caller, which ends after all earlier ones. Return its request id."""
        mark = f"fence-{self._count}"
        await self._own(path, f"X-Request-Id: {mark}")
        return mark

    async def _check_arrived(self, seen: int, expected: list[Forwarded], *, part: bool) -> None:
        """Check that exactly these requests and the fence have arrived, and no part of another one unless `part`."""
        witness = self._witness
        assert witness.errors == []
        arrived = [request for _, request in witness.requests[seen:-1]]
        assert len(arrived) == len(expected), f"arrived: {arrived}"
        for request, wanted in zip(arrived, expected, strict=True):
            assert (f"{request.method} {request.target}", request.body) == (wanted.line, wanted.body)
            _check_fields(request.fields, wanted.fields, wanted.without)
        for connection in [one for one in witness.connections if one.data]:
            assert part, f"a part has arrived: {bytes(connection.data)!r}"
            await connection.over()


def _invited(wire: Wire) -> Wait:
    async def wait(_: bytes) -> None:
        """Consume `100 Continue`."""
        reply = await wire.reply()
        assert reply is not None
        assert reply.status == 100

    return wait


def _reached(witness: Witness) -> Wait:
    seen = len(witness.requests)

    def has_come() -> bool:
        return len(witness.requests) > seen or any(one.data for one in witness.connections)

    async def wait(_: bytes) -> None:
        await witness.change.until(has_come, "the request at the upstream")

    return wait


async def _final(wire: Wire, case: RequestCase, verdict: RequestVerdict) -> Reply | None:
    """Return the final response to a request. A 100 may come first if the caller expects it and did not wait (RFC 9110
    §10.1.1).
    """
    is_alone = len(case.verdict) == 1 and case.send[0].data.startswith(b"HEAD ")
    is_head_request = is_alone or (verdict.forwarded is not None and verdict.forwarded.line.startswith("HEAD "))
    reply = await wire.reply(is_head_request=is_head_request)
    if reply is not None and reply.status == 100:
        assert b"\r\nExpect: 100-continue\r\n" in case.send[0].data
        assert verdict.forwarded is not None
        assert len(case.send) == 1
        reply = await wire.reply(is_head_request=is_head_request)
    return reply


def _stays(case: RequestCase, reply: Reply | None) -> bool:
    """Return whether the connection must stay open, and check that the last response announces the same."""
    if reply is None:
        return False
    stays = not reply.closes if case.stays == "any" else case.stays
    assert reply.closes is not stays, f"announces the wrong end of the connection: {reply.fields}"
    return stays


async def _ends(wire: Wire) -> None:
    """Check that the connection ends without a further byte."""
    await wire.over()
    assert wire.data == b"", f"unexpected bytes: {bytes(wire.data)!r}"


def _check_answer(verdict: RequestVerdict, reply: Reply | None) -> Forwarded | None:
    """Compare a response with its verdict. Return the request that must have arrived upstream."""
    if reply is None:
        assert verdict.dropped, "the connection ended without an answer"
        return None
    assert reply.whole, f"a broken reply: {reply}"
    if reply.status == 200 and verdict.forwarded is not None:
        forwarded = verdict.forwarded
        method, target = forwarded.line.split(" ")
        own = echo_body(method, target, len(forwarded.body))
        assert reply.body == (b"" if method == "HEAD" else own)
        return forwarded
    assert reply.status in [*verdict.refused, *[400] * verdict.dropped], f"{reply.status}: {reply.body!r}"
    _check_problem(reply)
    return None


def _check_problem(reply: Reply) -> None:
    code = CODES[reply.status]
    assert reply.framing == "none" or json.loads(reply.body)["code"] == code
    assert values(reply.fields, "x-gateway-error") == [code.encode()]
    assert values(reply.fields, "content-type") == [b"application/problem+json"]


def _check_verdict(verdict: ReplyVerdict, reply: Reply) -> tuple[set[str | None], bool]:
    """Compare the response at the caller with the verdict. Return the errors that the record may have, and whether the
    upstream connection is used again.
    """
    if values(reply.fields, "x-gateway-error"):
        assert reply.status == verdict.broken, f"{reply.status}: {reply.body!r}"
        _check_problem(reply)
        return {CODES[reply.status]}, False
    if reply.whole:
        assert verdict.delivered is not None, f"delivered: {reply}"
        _check_delivered(verdict.delivered, reply)
        return {None}, verdict.delivered.reused
    assert verdict.cut is not None, f"cut: {reply}"
    assert (reply.status, reply.body) == (verdict.cut.status, verdict.cut.body)
    return {"upstream-broken", "upstream-timeout"}, False


def _check_delivered(wanted: Delivered, reply: Reply) -> None:
    assert (reply.status, reply.body, reply.framing) == (wanted.status, wanted.body, wanted.framing)
    _check_fields(reply.fields, wanted.fields, wanted.without)


def _check_fields(got: Fields, wanted: dict[str, bytes], without: list[str]) -> None:
    assert {name: b"|".join(values(got, name)) for name in wanted} == wanted
    assert not {name for name, _ in got} & set(without)
