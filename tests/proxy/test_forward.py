"""The pipeline of an ordinary request, seen on both wires."""

import asyncio

from tests.fakes.gate import Gate, config, scene, until
from tests.fakes.identity import Identity
from tests.fakes.upstream import OK, ScriptedConnection, Upstream, reply


async def test_a_request_goes_out_byte_for_byte_with_the_bearer_last() -> None:
    async with scene() as (gate, upstream, _):
        status, _, body = await gate.get(
            "/orders/a%7C1//b;c=%C3%BC?x=%2F&x=1&&y", "X-Twice: 1", "Accept: a/b", "x-TWICE: 2"
        )
        assert (status, body) == (200, b"ok")
        [request] = upstream.requests
        record = gate.records[0]
        assert request.head.decode() == (
            "GET /ic/x/a%7C1//b;c=%C3%BC?x=%2F&x=1&&y HTTP/1.1\r\n"
            f"Host: 127.0.0.1:{upstream.port}\r\n"
            "X-Twice: 1\r\nAccept: a/b\r\nx-TWICE: 2\r\n"
            "Via: 1.1 oic-gateway\r\n"
            f"X-Request-Id: {record.request_id}\r\n"
            "Authorization: Bearer token-1\r\n\r\n"
        )


async def test_raw_bytes_in_fields_pass_unchanged() -> None:
    async with scene(reply(200, b"", "X-Back: \xe9 \xff")) as (gate, upstream, _):
        _, head, _ = await gate.get("/orders/1", "X-Name: caf\xe9 \xff")
        assert b"\r\nX-Name: caf\xe9 \xff\r\n" in upstream.requests[0].head
        assert b"\r\nX-Back: \xe9 \xff\r\n" in head


async def test_a_reply_comes_back_field_for_field() -> None:
    response = reply(
        207,
        b"\x00\xff",
        "X-A: 1",
        "Date: Mon, 01 Jan 2024 00:00:00 GMT",
        "x-a: 2",
        "Server: theirs",
        "Set-Cookie: a=b",
        "Strict-Transport-Security: max-age=1",
        "X-Hop: gone",
        "Connection: X-Hop",
        "opc-request-id: A/B/C",
        "X-ORACLE-ICS-INSTANCE-ID: 42",
    )
    async with scene(response) as (gate, _, _):
        status, head, body = await gate.get("/orders/1", "X-Request-Id: mine-7")
        assert (status, body) == (207, b"\x00\xff")
        assert head.decode() == (
            "HTTP/1.1 207 Scripted\r\n"
            "X-A: 1\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\nx-a: 2\r\nServer: theirs\r\n"
            "opc-request-id: A/B/C\r\nX-ORACLE-ICS-INSTANCE-ID: 42\r\n"
            "X-Request-Id: mine-7\r\nContent-Length: 2\r\n\r\n"
        )


async def test_a_reply_without_a_date_gets_one() -> None:
    async with scene(reply(200)) as (gate, _, _):
        _, head, _ = await gate.get()
        assert head.count(b"\r\nDate: ") == 1


async def test_a_valid_request_id_passes_and_another_is_replaced() -> None:
    async with scene() as (gate, upstream, _):
        for request_id in ("mine-1", "two words", "x" * 129):
            _, head, _ = await gate.get("/orders/1", f"X-Request-Id: {request_id}")
            sent_id = head.split(b"X-Request-Id: ")[1].split(b"\r\n")[0].decode()
            assert upstream.requests[-1].field("X-Request-Id") == sent_id == gate.records[-1].request_id
            assert (sent_id == request_id) is (request_id == "mine-1")


async def test_locations_come_back_in_the_gateways_names() -> None:
    async with scene() as (gate, upstream, _):
        upstream.script += [
            reply(201, b"", f"Location: {upstream.url}/ic/x/9?a=1", "Link: </ic/x/10>; rel=next"),
            reply(307, b"", "Location: https://design.example.com/else"),
        ]
        _, head, _ = await gate.call(b"GET /orders/1 HTTP/1.1\r\nHost: gw:8080\r\n\r\n")
        assert b"\r\nLocation: http://gw:8080/orders/9?a=1\r\n" in head
        assert b"\r\nLink: </orders/10>; rel=next\r\n" in head
        status, head, _ = await gate.get()
        assert status == 307
        assert b"\r\nLocation: https://design.example.com/else\r\n" in head


async def test_one_connection_serves_one_caller_after_the_other() -> None:
    async with scene() as (gate, upstream, identity):
        caller = await gate.caller()
        for _ in range(5):
            await caller.send(b"GET /orders/1 HTTP/1.1\r\nHost: gw\r\n\r\n")
            assert (await caller.reply())[2] == b"ok"
        await gate.get()
        assert [request.connection for request in upstream.requests] == [0] * 6
        assert len(identity.requests) == 1
        assert gate.pool.count_by_state() == {"busy": 0, "idle": 1, "dialing": 0, "waiting": 0}
        [connection] = gate.pool._idle
        assert connection._deadline is None


async def test_pipelined_requests_are_answered_in_order() -> None:
    async def slow_first(peer: ScriptedConnection) -> None:
        for number in range(3):
            await peer.request()
            await peer.send(reply(200, b"%d" % number))

    async with scene(slow_first) as (gate, _, _):
        caller = await gate.caller()
        await caller.send(
            b"GET /orders/1 HTTP/1.1\r\nHost: gw\r\n\r\n"
            b"POST /orders/2 HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\n\r\nhi"
            b"GET /orders/3 HTTP/1.1\r\nHost: gw\r\n\r\n"
        )
        assert [(await caller.reply())[2] for _ in range(3)] == [b"0", b"1", b"2"]
        assert [record.path for record in await gate.wait_for_records(3)] == ["/orders/1", "/orders/2", "/orders/3"]


async def test_a_body_goes_with_its_head_or_after_it() -> None:
    async with scene(route={"replay_limit": "0B"}) as (gate, upstream, _):
        caller = await gate.caller()
        await caller.send(b"POST /orders/1 HTTP/1.1\r\nHost: gw\r\nContent-Length: 4\r\n\r\nab")
        await upstream.until(lambda: upstream.connections == 1)
        await caller.send(b"cd")
        assert (await caller.reply())[0] == 200
        await gate.post(b"whole")
        assert [request.body for request in upstream.requests] == [b"abcd", b"whole"]
        assert [request.field("Content-Length") for request in upstream.requests] == ["4", "5"]
        assert [record.bytes_in for record in gate.records] == [4, 5]


async def test_a_new_table_counts_for_the_next_request() -> None:
    async with Upstream(reply(200, b"second")) as second, scene() as (gate, first, identity):
        await gate.get()
        before = gate.runtime
        gate.reload(config(identity.url, second.url + "/other"))
        for upstream in before.pools:
            upstream.close()
        assert (await gate.get("/orders/7"))[2] == b"second"
        assert second.requests[0].target == "/other/7"
        await first.until(lambda: first.open == 0)
        assert len(identity.requests) == 1


async def test_an_accepted_host_does_not_speak_for_other_requests() -> None:
    async with scene(hosts=["gw.example.com"]) as (gate, upstream, identity):
        caller = await gate.caller()
        for fields, expected in (
            (b"Host: gw.example.com\r\n", 200),
            (b"Host: gw.example.com\r\n", 200),
            (b"Host: evil.example.com\r\n", 403),
            (b"Host: gw.example.com\r\n", 200),
        ):
            await caller.send(b"GET /orders/1 HTTP/1.1\r\n%b\r\n" % fields)
            assert (await caller.reply())[0] == expected
        gate.reload(config(identity.url, upstream.url + "/ic/x"))
        await caller.send(b"GET /orders/1 HTTP/1.1\r\nHost: gw.example.com\r\n\r\n")
        assert (await caller.reply())[0] == 403
        assert len(upstream.requests) == 3


async def test_a_missing_host_is_missing_after_one_that_was_not_needed() -> None:
    async with scene() as (gate, _, _):
        caller = await gate.caller()
        await caller.send(b"GET /orders/1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert (await caller.reply())[0] == 200
        await caller.send(b"GET /orders/1 HTTP/1.1\r\n\r\n")
        assert (await caller.reply())[0] == 400


async def test_requests_under_way_end_with_close_while_draining() -> None:
    gone_on = asyncio.Event()

    async def slow(peer: ScriptedConnection) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n")
        await gone_on.wait()
        await peer.send(b"Content-Length: 0\r\n\r\n")

    async with scene(slow) as (gate, upstream, _):
        caller = await gate.caller()
        await caller.send(b"GET /orders/1 HTTP/1.1\r\nHost: gw\r\n\r\n")
        await upstream.until(lambda: upstream.connections == 1)
        gate.forward.is_refusing_requests = True
        assert gate.forward.in_flight == 1
        gone_on.set()
        status, head, _ = await caller.reply()
        assert status == 200
        assert b"\r\nConnection: close\r\n" in head
        assert await caller.read_to_end() == b""
        await until(lambda: gate.forward.in_flight == 0)


async def test_idle_callers_are_closed_at_a_drain() -> None:
    async with scene() as (gate, _, _):
        caller = await gate.caller()
        await caller.send(b"GET /orders/1 HTTP/1.1\r\nHost: gw\r\n\r\n")
        await caller.reply()
        await gate.wait_for_records()
        gate.server.close_idle()
        assert await caller.read_to_end() == b""


async def test_an_idle_gateway_has_only_the_task_of_its_listener() -> None:
    async with Identity() as identity, Upstream() as upstream:
        before = asyncio.all_tasks()
        async with Gate(config(identity.url, upstream.url)) as gate:
            assert asyncio.all_tasks() == before
            assert gate.pool.count_by_state()["idle"] == 0


async def test_the_answer_ok_is_what_the_other_tests_think() -> None:
    async with scene(OK) as (gate, _, _):
        _, head, _ = await gate.get()
        assert b"\r\nx-oracle-ics-instance-id: lJrSjUUVEfGXW0tyvl-GZA\r\n" in head
