"""Defects seen in comparable gateways that show only at the wire of the real process; the others are in `tests/oauth`,
`test_outage` and `test_tokens`, each with its number.
"""

import asyncio
from pathlib import Path

from gateway.sandbox import Sandbox
from tests.fakes.identity import Identity, answer
from tests.fakes.process import Process, gateway, request, run_command
from tests.fakes.upstream import ScriptedConnection, Upstream, reply
from tests.fakes.waiting import TIME_LIMIT
from tests.system.scene import SECRETS, between, settings, simple, written


async def test_the_token_follows_no_redirect_of_the_upstream(tmp_path: Path) -> None:
    async with Identity() as identity, Upstream() as elsewhere:
        location = f"http://localhost:{elsewhere.port}/stolen"
        async with (
            Upstream(*[reply(status, b"", f"Location: {location}") for status in (301, 302, 303, 307, 308)]) as oic,
            between(tmp_path, identity, oic) as gate,
        ):
            for status in (301, 302, 303, 307, 308):
                received, head, _ = await gate.post("/orders/1", b"body")
                assert received == status
                assert f"\r\nLocation: {location}\r\n".encode() in head
        assert elsewhere.connections == 0


async def test_the_secret_follows_no_redirect_of_the_token_endpoint(tmp_path: Path) -> None:
    async with Identity() as elsewhere, Upstream() as upstream:
        async with (
            Identity(answer(307, location=elsewhere.url), answer(302, location=elsewhere.url)) as identity,
            between(tmp_path, identity, upstream) as gate,
        ):
            assert (await gate.get("/orders/1"))[0] == 503
            _, ready = await gate.ask("/readyz")
            assert ready["credentials"]["app"]["code"] == "redirect"
        assert not elsewhere.requests
        assert not upstream.requests


async def test_repeated_query_keys_and_fields_keep_their_order(tmp_path: Path) -> None:
    async with Identity() as identity, Upstream() as upstream, between(tmp_path, identity, upstream) as gate:
        assert (await gate.get("/orders/1?a=2&b=&a=1&a=2&c", "X-A: 2", "X-B: x", "X-A: 1"))[0] == 200
    [upstream_request] = upstream.requests
    assert upstream_request.target == "/1?a=2&b=&a=1&a=2&c"
    assert [row for row in upstream_request.fields if row[0] in {"X-A", "X-B"}] == [
        ("X-A", "2"),
        ("X-B", "x"),
        ("X-A", "1"),
    ]


async def test_bodies_are_streamed_both_ways(tmp_path: Path) -> None:
    got = asyncio.Queue[bytes]()

    async def converse(conversation: ScriptedConnection) -> None:
        await conversation.head()
        await got.put(await conversation.reader.readexactly(5))
        await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        await got.put(await conversation.reader.readexactly(5))
        await conversation.send(b"after")

    streaming = {"replay_limit": "0B"}  # else the body waits here until it is whole
    async with (
        Identity() as identity,
        Upstream(converse) as upstream,
        between(tmp_path, identity, upstream, defaults=streaming) as gate,
    ):
        caller = await gate.caller()
        async with asyncio.timeout(TIME_LIMIT):
            await caller.send(request("/orders/1", "Content-Length: 10", method="POST") + b"begin")
            assert await got.get() == b"begin"
            await caller.head()
            assert await caller.reader.readexactly(5) == b"first"
            await caller.send(b"ended")
            assert await got.get() == b"ended"
            assert await caller.reader.readexactly(5) == b"after"


async def test_no_text_of_a_cause_reaches_a_caller(tmp_path: Path) -> None:
    async with Identity() as identity, Upstream(b"SSH-2.0-OpenSSH_9\r\n") as upstream:
        document = simple(identity.url, upstream.url)
        nowhere = {"name": "nowhere", "path": "/nowhere/", "credential": "app", "upstream": "https://oic.invalid:81/"}
        document["routes"].append(nowhere)
        async with gateway(written(tmp_path, document), **SECRETS) as gate:
            for target in ("/orders/1", "/nowhere/"):
                status, head, body = await gate.get(target)
                assert status == 502
                for unwanted in (b"Errno", b"invalid", b"SSH", b"Traceback", b"aiohttp", b"File ", b":81"):
                    assert unwanted not in head + body
            broken, unknown = await gate.wait_for_records(2)
            assert broken["reason"]
            assert "oic.invalid:81: name:" in unknown["reason"]


async def test_forwarded_fields_and_user_agents_change_nothing(tmp_path: Path, sandbox: Sandbox) -> None:
    document = settings(sandbox)
    document["routes"][1]["methods"] = ["GET"]
    trusted = (
        "X-Forwarded-For: 127.0.0.1",
        "X-Forwarded-Host: localhost",
        "X-Original-URL: /echo/",
        "Forwarded: for=x",
    )
    async with gateway(written(tmp_path, document), **SECRETS) as gate:
        assert (await gate.get("/none/", *trusted, "User-Agent: kube-probe/1.30"))[0] == 404
        assert (await gate.get("/echo/", *trusted, "X-HTTP-Method-Override: GET", method="POST"))[0] == 405
        head = b"GET /echo/ HTTP/1.1\r\nHost: evil.example.com\r\nX-Forwarded-Host: localhost\r\n\r\n"
        assert (await gate.call(head))[0] == 403
        status, _, body = await gate.get("/echo/", *trusted)
        assert status == 200
        assert b"Forwarded" not in body


async def test_bytes_on_an_idle_connection_are_no_response(tmp_path: Path) -> None:
    """Seen on a naive proxy: what an upstream says unasked is served to the next caller."""
    responded = asyncio.Event()

    async def speak_twice(conversation: ScriptedConnection) -> None:
        await upstream.record_request(await conversation.request())
        await conversation.send(reply(200, b"mine"))
        await conversation.send(reply(200, b"unasked"))
        responded.set()
        await conversation.reader.read()

    async with Identity() as identity, Upstream() as upstream:
        upstream.script = [speak_twice]
        async with between(tmp_path, identity, upstream) as gate:
            assert (await gate.get("/orders/1"))[2] == b"mine"
            await responded.wait()
            assert (await gate.get("/orders/2"))[2] == b"ok"
        assert upstream.connections == 2


async def test_cookies_are_not_shared_between_callers(tmp_path: Path) -> None:
    async with (
        Identity() as identity,
        Upstream(reply(200, b"", "Set-Cookie: id=of-the-first")) as upstream,
        between(tmp_path, identity, upstream) as gate,
    ):
        _, head, _ = await gate.get("/orders/1", "Cookie: mine=1")
        assert b"Set-Cookie" not in head
        await gate.get("/orders/2")
    assert [one.field("Cookie") for one in upstream.requests] == [None, None]


async def test_the_cookie_jars_of_curl_keep_sessions_apart(tmp_path: Path) -> None:
    """Two routes whose paths nest lead to two instances of OIC; two callers share their token."""

    async def curl(gate: Process, jar: str, target: str) -> None:
        cookies = str(tmp_path / jar)
        status, _, err = await run_command(
            *("curl", "-q", "-sS", "-b", cookies, "-c", cookies, f"http://{gate.listen}{target}"), env={}
        )
        assert status == 0, err

    sessions = [reply(200, b"", f"Set-Cookie: __Host-SID={number}; Secure; Path=/; HttpOnly") for number in (1, 2)]
    async with (
        Identity() as identity,
        Upstream(*sessions) as outer,
        Upstream(*sessions) as inner,
        gateway(
            written(
                tmp_path,
                simple(
                    identity.url,
                    inner.url,
                    defaults={"keep_cookies": True},
                    routes=[
                        {"name": "all", "path": "/", "upstream": outer.url, "credential": "app"},
                        {"name": "orders", "path": "/orders/", "upstream": f"{inner.url}/ic", "credential": "app"},
                    ],
                ),
            ),
            **SECRETS,
        ) as gate,
    ):
        for _ in range(2):
            await curl(gate, "first", "/else/1")
            await curl(gate, "second", "/else/1")
            await curl(gate, "first", "/orders/1")
            await curl(gate, "second", "/orders/1")
        names = (tmp_path / "first").read_text(encoding="utf-8")
        assert "all~__Host-SID\t1" in names
        assert "orders~__Host-SID\t1" in names
    for upstream in (outer, inner):
        assert [request.field("Cookie") for request in upstream.requests] == [
            *(None, None, "__Host-SID=1", "__Host-SID=2"),
        ]
