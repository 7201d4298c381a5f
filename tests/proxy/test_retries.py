"""When a request is sent again, and when never: the rules of design.md at the wire."""

import asyncio
import socket

import pytest

from tests.fakes.gate import Scene, scene, until
from tests.fakes.identity import answer, token
from tests.fakes.upstream import CLOSE, OK, ScriptedConnection, reply

RAN = "x-oracle-ics-instance-id: 42"
UNAUTHORIZED = reply(401, b"who?", "WWW-Authenticate: Bearer")
MUTE = answer(503, b"")


def bearers(at: Scene) -> list[str | None]:
    return [request.field("Authorization") for request in at.upstream.requests]


# 401 -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS", "PATCH", "POST", "PUT"])
async def test_a_401_gets_one_new_token_and_one_retry_for_any_method(method: str) -> None:
    async with scene(UNAUTHORIZED) as at:
        caller = await at.gate.caller()
        await caller.send(f"{method} /orders/1 HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\n\r\nhi".encode())
        assert (await caller.head()).startswith(b"HTTP/1.1 200 ")
        assert bearers(at) == ["Bearer token-1", "Bearer token-2"]
        assert [request.body for request in at.upstream.requests] == [b"hi", b"hi"]
        [record] = at.gate.records
        assert (record.attempts, record.status, record.upstream_status, record.bytes_in) == (2, 200, 200, 2)
        assert at.gate.route.meter.replays == {"401": 1}


async def test_a_401_twice_is_delivered() -> None:
    async with scene(UNAUTHORIZED, UNAUTHORIZED) as at:
        status, head, body = await at.gate.get()
        assert (status, body) == (401, b"who?")
        assert b"\r\nWWW-Authenticate: Bearer\r\n" in head
        assert b"X-Gateway-Error" not in head
        assert len(at.upstream.requests) == 2
        assert (at.gate.records[0].attempts, at.gate.records[0].error) == (2, None)


async def test_a_run_is_never_repeated() -> None:
    for status in (401, 429, 503, 502, 504):
        async with scene(reply(status, b"", RAN, "Retry-After: 0")) as at:
            assert (await at.gate.get())[0] == status
            assert len(at.upstream.requests) == 1
            assert at.gate.records[0].instance_id == "42"


async def test_a_storm_of_401_costs_one_renewal() -> None:
    async with scene(*[UNAUTHORIZED] * 40) as at:
        for _ in range(5):
            assert (await at.gate.get())[0] == 401
        together = await asyncio.gather(*(at.gate.get() for _ in range(10)))
        assert {status for status, _, _ in together} == {401}
        assert len(at.identity.requests) == 2
        assert len(at.upstream.requests) == 1 + 1 + 14


async def test_all_who_wait_for_a_renewal_share_it() -> None:
    minted = asyncio.Event()
    async with scene(*[UNAUTHORIZED] * 5, tokens=(token("old"), token("new").behind(minted))) as at:
        calls = [asyncio.create_task(at.gate.get()) for _ in range(5)]
        await at.upstream.until(lambda: len(at.upstream.requests) == 5)
        await at.identity.wait_for_requests(2)
        minted.set()
        assert {(await call)[0] for call in calls} == {200}
        assert len(at.identity.requests) == 2
        assert bearers(at) == ["Bearer old"] * 5 + ["Bearer new"] * 5


async def test_a_late_401_for_an_older_token_uses_the_newer_one() -> None:
    late = asyncio.Event()

    async def slow(peer: ScriptedConnection) -> None:
        await at.upstream.record_request(await peer.request())
        await late.wait()
        await peer.send(UNAUTHORIZED)
        await at.upstream.record_request(await peer.request())
        await peer.send(OK)

    async with scene(slow, UNAUTHORIZED) as at:
        slow_call = asyncio.create_task(at.gate.get("/orders/slow"))
        await at.upstream.until(lambda: len(at.upstream.requests) == 1)
        assert (await at.gate.get())[0] == 200
        late.set()
        assert (await slow_call)[0] == 200
        assert bearers(at) == ["Bearer token-1", "Bearer token-1", "Bearer token-2", "Bearer token-2"]
        assert len(at.identity.requests) == 2


async def test_a_failed_renewal_delivers_the_401_and_keeps_the_token() -> None:
    async with scene(UNAUTHORIZED, tokens=(token("only"), MUTE)) as at:
        status, _, body = await at.gate.get()
        assert (status, body) == (401, b"who?")
        assert (await at.gate.get())[0] == 200
        assert bearers(at) == ["Bearer only", "Bearer only"]
        assert at.gate.records[0].attempts == 1


async def test_a_body_over_the_replay_limit_is_not_sent_again() -> None:
    async with scene(UNAUTHORIZED, OK, UNAUTHORIZED, route={"replay_limit": "1KiB"}) as at:
        assert (await at.gate.post(b"x" * 1025))[0] == 401
        assert len(at.upstream.requests) == 1
        assert (await at.gate.post(b"x" * 1025))[0] == 200
        assert (await at.gate.post(b"x" * 1024))[0] == 200
        assert [len(request.body) for request in at.upstream.requests] == [1025, 1025, 1024, 1024]


@pytest.mark.parametrize(
    ("route", "method", "size"),
    [
        ({"replay_limit": "1KiB"}, "POST", 1025),
        ({"replay": "never"}, "POST", 10),
        ({"replay": "never"}, "GET", 0),
        ({"replay": "safe"}, "POST", 10),
        ({"replay": "safe"}, "PATCH", 10),
    ],
)
async def test_a_refused_token_is_renewed_for_the_next_call(route: dict[str, str], method: str, size: int) -> None:
    head = f"{method} /orders/1 HTTP/1.1\r\nHost: gw\r\nContent-Length: {size}\r\n\r\n".encode()
    gate = asyncio.Event()
    async with scene(UNAUTHORIZED, tokens=(token("old"), token("new").behind(gate)), route=route) as at:
        statuses = []
        for number in range(5):
            caller = await at.gate.caller()
            await caller.send(head + b"x" * size)
            if number == 1:  # it waits for the renewal
                await at.identity.wait_for_requests(2)
                gate.set()
            statuses.append((await caller.reply())[0])
        assert statuses == [401, 200, 200, 200, 200]
        assert bearers(at) == ["Bearer old"] + ["Bearer new"] * 4
        assert len(at.identity.requests) == 2


async def test_other_routes_use_the_token_while_it_is_renewed() -> None:
    gate = asyncio.Event()
    tokens = (token("old"), token("new").behind(gate))
    async with scene(UNAUTHORIZED, tokens=tokens, route={"replay": "never"}) as at:
        assert (await at.gate.get())[0] == 401
        await at.identity.wait_for_requests(2)
        assert await at.gate.route.token_source.get_token("another") == "old"
        gate.set()


async def test_uploads_that_are_always_refused_cost_one_renewal() -> None:
    async with scene(*[UNAUTHORIZED] * 20, route={"replay": "never"}) as at:
        for _ in range(20):
            assert (await at.gate.post(b"x"))[0] == 401
        assert len(at.identity.requests) == 2


@pytest.mark.parametrize("replay", ["any", "never"])
async def test_each_revocation_is_renewed_at_once(replay: str) -> None:
    async with scene(route={"replay": replay}) as at:
        assert (await at.gate.get())[0] == 200
        for number in range(2, 8):
            at.upstream.script = [UNAUTHORIZED]
            assert (await at.gate.get())[0] == (200 if replay == "any" else 401)
            assert (await at.gate.get())[0] == 200
            assert bearers(at)[-1] == f"Bearer token-{number}"
        assert len(at.identity.requests) == 7


async def test_a_cold_start_waits_for_the_next_try() -> None:
    async with scene(tokens=(answer(503, b"<html>"), answer(503, {"error": "server_error"}))) as at:
        assert (await at.gate.get())[0] == 200
        assert (len(at.identity.requests), len(at.upstream.requests)) == (3, 1)


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_body_in_two_parts_is_sent_again_from_its_start(*, chunked: bool) -> None:
    async def refuse_early(peer: ScriptedConnection) -> None:
        await peer.head()
        await peer.reader.readuntil(b"abc")
        await peer.send(UNAUTHORIZED)
        await peer.reader.read()

    async with scene(refuse_early) as at:
        caller = await at.gate.caller()
        framing = "Transfer-Encoding: chunked" if chunked else "Content-Length: 6"
        await caller.send(f"POST /orders/1 HTTP/1.1\r\nHost: gw\r\n{framing}\r\n\r\n".encode())
        await caller.send(b"3\r\nabc\r\n" if chunked else b"abc")
        [connection] = at.gate.server.connections
        await until(lambda: connection._body is not None and connection._body.bytes_read == 3)
        assert at.upstream.connections == 0
        await caller.send(b"3\r\ndef\r\n0\r\n\r\n" if chunked else b"def")
        assert (await caller.reply())[0] == 200
        [again] = at.upstream.requests
        assert (again.body, again.field("Authorization")) == (b"abcdef", "Bearer token-2")
        assert at.gate.records[0].bytes_in == 6


@pytest.mark.parametrize(
    ("chunked", "limit"), [(True, None), (False, None), (True, "2KiB")], ids=["chunked", "counted", "over the limit"]
)
async def test_an_upload_that_exceeds_the_replay_limit_is_not_retried(*, chunked: bool, limit: str | None) -> None:
    async def refuse_early(peer: ScriptedConnection) -> None:
        await peer.head()
        await peer.send(UNAUTHORIZED)
        while await peer.reader.read(65536):
            pass

    minted = asyncio.Event()
    tokens = (token("old"), token("new").behind(minted))
    async with scene(
        refuse_early, tokens=tokens, route={"replay_limit": "0B"}, limits={"body": limit} if limit else {}
    ) as at:
        caller = await at.gate.caller()
        framing = "Transfer-Encoding: chunked" if chunked else "Content-Length: 4099"
        await caller.send(f"POST /orders/1 HTTP/1.1\r\nHost: gw\r\n{framing}\r\n\r\n".encode())
        await at.identity.wait_for_requests(2)
        [connection] = at.gate.server.connections
        body = connection._body
        assert body is not None
        await caller.send(b"1000\r\n%b\r\n" % (b"b" * 4096) if chunked else b"b" * 4096)
        await until(lambda: body.bytes_read == 4096)
        await caller.send(b"3\r\nccc\r\n0\r\n\r\n" if chunked else b"ccc")
        minted.set()
        assert (await caller.reply())[::2] == (401, b"who?")
        assert (at.upstream.connections, at.upstream.requests) == (1, [])
        [record] = await at.gate.wait_for_records()
        assert (record.status, record.attempts, record.error) == (401, 1, None)


async def test_a_401_of_the_token_endpoint_is_no_401_of_the_upstream() -> None:
    async with scene(tokens=(answer(401, {"error": "invalid_client"}),)) as at:
        assert (await at.gate.get())[0] == 502
        assert (len(at.identity.requests), at.upstream.connections) == (1, 0)


# replay --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("replay", "method", "tries"),
    [("never", "GET", 1), ("safe", "GET", 2), ("safe", "POST", 1), ("any", "POST", 2), ("never", "POST", 1)],
)
async def test_a_route_narrows_what_is_sent_again(replay: str, method: str, tries: int) -> None:
    async with scene(UNAUTHORIZED, route={"replay": replay}) as at:
        assert (await at.gate.get(method=method))[0] == (200 if tries == 2 else 401)
        assert len(at.upstream.requests) == tries
        assert len(at.identity.requests) == tries


# A kept connection that the upstream has closed ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "route", "status"),
    [("GET", {}, 200), ("POST", {}, 502), ("POST", {"idempotent": True}, 502), ("GET", {"replay": "never"}, 502)],
)
async def test_a_stale_connection_costs_safe_methods_nothing(
    method: str, route: dict[str, object], status: int
) -> None:
    async with scene(OK, CLOSE, route=route) as at:
        await at.gate.get()
        assert (await at.gate.get(method=method))[0] == status
        assert [request.connection for request in at.upstream.requests] == ([0, 0, 1] if status == 200 else [0, 0])
        assert at.gate.records[1].error == (None if status == 200 else "upstream-broken")
        assert at.gate.route.meter.replays == ({"stale": 1} if status == 200 else {})


async def test_a_new_connection_that_closes_is_not_stale() -> None:
    async with scene(CLOSE) as at:
        assert (await at.gate.get())[0] == 502
        assert len(at.upstream.requests) == 1


async def test_a_reply_that_began_is_not_stale() -> None:
    async def cut_short(peer: ScriptedConnection) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        await peer.send(b"HTTP/1.1 200")

    async with scene(cut_short) as at:
        await at.gate.get()
        assert (await at.gate.get())[0] == 502
        assert at.upstream.connections == 1


async def test_a_closed_connection_is_seen_before_it_is_used() -> None:
    async def once(peer: ScriptedConnection) -> None:
        await peer.request()
        await peer.send(OK)

    async with scene(once) as at:
        await at.gate.get()
        await at.upstream.until(lambda: at.upstream.open == 0)
        assert (await at.gate.post(b"money"))[0] == 200
        assert [request.body for request in at.upstream.requests] == [b"money"]
        assert at.gate.records[1].attempts == 1


# 429, 502, 503, 504 --------------------------------------------------------------------------------------------------

SOON = "Retry-After: 0"


@pytest.mark.parametrize(
    ("response", "method", "route", "tries"),
    [
        (reply(503, b"", SOON), "GET", {}, 2),
        (reply(429, b"", SOON), "GET", {}, 2),
        (reply(429, b"", "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT"), "HEAD", {}, 2),
        (reply(502), "GET", {}, 2),
        (reply(504), "OPTIONS", {}, 2),
        (reply(503), "GET", {}, 1),
        (reply(429), "GET", {}, 1),
        (reply(429, b"", "Retry-After: soon"), "GET", {}, 1),
        (reply(503, b"", "Retry-After: 3600"), "GET", {}, 1),
        (reply(500), "GET", {}, 1),
        (reply(503, b"", SOON), "POST", {}, 1),
        (reply(502), "POST", {}, 1),
        (reply(503, b"", SOON), "DELETE", {}, 1),
        (reply(503, b"", SOON), "POST", {"idempotent": True}, 2),
        (reply(502), "PUT", {"idempotent": True}, 2),
        (reply(502), "PUT", {"idempotent": True, "replay": "never"}, 1),
    ],
)
async def test_a_temporary_failure_is_retried_for_safe_methods(
    response: bytes, method: str, route: dict[str, object], tries: int
) -> None:
    async with scene(response, route=route) as at:
        caller = await at.gate.caller()
        await caller.send(f"{method} /orders/1 HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\n\r\nhi".encode())
        head = await caller.head()
        assert head.startswith(b"HTTP/1.1 200 ") is (tries == 2)
        assert [request.body for request in at.upstream.requests] == [b"hi"] * tries
        assert b"X-Gateway-Error" not in head


async def test_trouble_that_stays_is_delivered() -> None:
    async with scene(reply(503, b"1", SOON), reply(503, b"2", SOON), reply(503, b"3", SOON)) as at:
        assert (await at.gate.get())[::2] == (503, b"2")
        assert len(at.upstream.requests) == 2


async def test_no_request_goes_out_more_than_three_times() -> None:
    async with scene(OK, CLOSE, reply(503, b"", SOON), UNAUTHORIZED, OK) as at:
        await at.gate.get()
        assert (await at.gate.get())[0] == 401
        assert at.gate.records[1].attempts == 3
        assert len(at.upstream.requests) == 4


async def test_the_first_reply_of_two_leaves_nothing_behind() -> None:
    long = reply(503, b"x" * 300_000, SOON)
    async with scene(long) as at:
        assert (await at.gate.get())[::2] == (200, b"ok")
        [record] = at.gate.records
        assert (record.bytes_out, record.upstream_status) == (2, 200)


# A connection that cannot be made ------------------------------------------------------------------------------------


async def test_a_failed_connection_is_dialed_again_even_for_post() -> None:
    refused = asyncio.Event()
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # bound and not listening: a connection is refused

        def start_listening() -> float:
            reserved.listen()
            refused.set()
            return 0.0

        elsewhere = {"upstream": f"http://127.0.0.1:{reserved.getsockname()[1]}/x"}
        async with scene(random_fraction=start_listening, route=elsewhere) as at:
            call = asyncio.create_task(at.gate.post(b"money"))
            await refused.wait()
            async with await asyncio.start_server(at.upstream._serve, sock=reserved):
                assert (await call)[0] == 200
            assert [request.body for request in at.upstream.requests] == [b"money"]
            assert at.gate.records[0].attempts == 2
            assert at.gate.route.meter.replays == {"unreachable": 1}


async def test_a_way_that_is_silent_is_not_tried_again() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.socket() as first, socket.socket() as second:
        for filler in (first, second):  # the accept queue of a server that accepts nothing is full
            filler.settimeout(0)
            filler.connect_ex(full.getsockname())
        elsewhere = {"upstream": f"http://127.0.0.1:{full.getsockname()[1]}/x", "timeout": {"connect": "50ms"}}
        async with scene(route=elsewhere) as at:
            assert (await at.gate.get())[0] == 502
            [record] = at.gate.records
            assert (record.error, record.attempts) == ("upstream-unreachable", 1)
            assert record.reason is not None
            assert str(record.reason).endswith("no connection within 0.05 s")
