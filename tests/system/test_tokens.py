"""The way of a token through the real process: one request for all, renewal behind their backs, never a dead one."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from gateway.sandbox import Sandbox
from tests.fakes.authlib_server import Client, serving
from tests.fakes.gate import Caller
from tests.fakes.identity import Answer, Identity, answer, refusal, token
from tests.fakes.process import Process, gateway, request
from tests.fakes.upstream import ScriptedConnection, Upstream, reply
from tests.fakes.waiting import TIME_LIMIT
from tests.system.scene import SECRETS, before, between, simple, written

REFUSED = reply(401, b"", "WWW-Authenticate: Bearer")


async def until(gate: Process, key: str, value: object) -> None:
    """Wait until `/status` has this value for the credential."""
    await gate.until_answer("/status", lambda status: status["credentials"]["app"][key] == value)


async def status_of(caller: Caller) -> int:
    async with asyncio.timeout(TIME_LIMIT):
        return (await caller.reply())[0]


@pytest.mark.parametrize("count", [100, 1000])
async def test_callers_at_a_tokens_end_make_one_token_request(tmp_path: Path, count: int) -> None:
    is_released = asyncio.Event()
    async with Identity(token("first", 3), token("second").behind(is_released)) as identity, Upstream() as upstream:
        document = simple(identity.url, upstream.url)
        document["credentials"]["app"]["token_wait"] = "30s"
        async with gateway(written(tmp_path, document), **SECRETS) as gate:
            assert (await gate.get("/orders/1"))[0] == 200
            callers = [await gate.caller() for _ in range(count)]
            await until(gate, "state", "dead")
            for caller in callers:
                await caller.send(request("/orders/1"))
            await until(gate, "waiters", count)
            assert len(upstream.requests) == 1
            assert (await gate.ask("/livez"))[0] == 200
            is_released.set()
            assert set(await asyncio.gather(*map(status_of, callers))) == {200}
            assert len(identity.requests) == 2
            assert {one.field("Authorization") for one in upstream.requests[1:]} == {"Bearer second"}
            assert len(await gate.wait_for_records(count + 1)) == count + 1


async def test_calls_do_not_wait_for_a_renewal(tmp_path: Path) -> None:
    is_released = asyncio.Event()
    async with (
        Identity(token("first", 4), token("second").behind(is_released)) as identity,
        Upstream() as upstream,
        between(tmp_path, identity, upstream) as gate,
    ):
        async with asyncio.timeout(TIME_LIMIT):
            while len(identity.requests) < 2:  # until the token is stale, and a request has begun its renewal
                assert (await gate.get("/orders/1"))[0] == 200
        for _ in range(5):
            assert (await gate.get("/orders/1"))[0] == 200
        assert {one.field("Authorization") for one in upstream.requests} == {"Bearer first"}
        is_released.set()
        await gate.wait_for_events("token-renewed", 2)
        assert (await gate.get("/orders/1"))[0] == 200
        assert upstream.requests[-1].field("Authorization") == "Bearer second"
        assert len(identity.requests) == 2


async def test_a_short_lived_token_causes_no_loop_and_is_not_sent_dead(tmp_path: Path) -> None:
    script = [token(f"t{number}", 2) for number in range(50)]
    issued_at: list[float] = []
    async with Identity(*script) as identity, Upstream() as upstream, between(tmp_path, identity, upstream) as gate:
        started_at = time.monotonic()
        while len(identity.requests) < 4:
            before, asked_at = len(identity.requests), time.monotonic()
            assert (await gate.get("/orders/1"))[0] == 200
            issued_at += [time.monotonic()] * (len(identity.requests) - before)
            used = int((upstream.requests[-1].field("Authorization") or "").removeprefix("Bearer t"))
            assert asked_at - issued_at[used] < 1
        assert time.monotonic() - started_at >= 3 * 0.45  # each was used for a while
        assert len(upstream.requests) > 50


async def test_a_token_that_oic_holds_for_expired_is_replaced_once(tmp_path: Path) -> None:
    ahead = 0.0
    async with Sandbox(now=lambda: time.time() + ahead) as sandbox:
        async with before(tmp_path, sandbox) as gate:
            assert (await gate.get("/orders/"))[0] == 200
            ahead = 3601.0
            status, _, body = await gate.post("/echo/body", b"sent twice, run once")
            assert (status, body) == (200, b"sent twice, run once")
            assert (await gate.get("/orders/"))[0] == 200
            records = await gate.wait_for_records(3)
        assert [record["attempts"] for record in records] == [1, 2, 1]
        assert [call.status for call in sandbox.calls] == [200, 401, 200, 200]
        assert len(sandbox.token_requests) == 2


async def test_a_late_401_for_the_old_token_leaves_the_new_one(tmp_path: Path) -> None:
    arrived, is_released = asyncio.Event(), asyncio.Event()

    async with Identity() as identity, Upstream() as upstream:

        async def late(conversation: ScriptedConnection) -> None:
            await upstream.record_request(await conversation.request())
            arrived.set()
            await is_released.wait()
            await conversation.send(REFUSED)

        upstream.script = [late, REFUSED]
        async with between(tmp_path, identity, upstream) as gate:
            slow = asyncio.create_task(gate.get("/orders/slow"))
            await arrived.wait()
            assert (await gate.get("/orders/quick"))[0] == 200
            is_released.set()
            assert (await slow)[0] == 200
        sent = [(one.target, one.field("Authorization")) for one in upstream.requests]
        assert sent == [
            ("/slow", "Bearer token-1"),
            ("/quick", "Bearer token-1"),
            ("/quick", "Bearer token-2"),
            ("/slow", "Bearer token-2"),
        ]
        assert len(identity.requests) == 2


async def test_many_401_responses_cause_one_token_request(tmp_path: Path, sandbox: Sandbox) -> None:
    async with before(tmp_path, sandbox) as gate:
        assert (await gate.get("/orders/"))[0] == 200
        sandbox.switches.refuse_bearers = True
        for _ in range(20):
            assert (await gate.get("/orders/"))[0] == 401
        assert len(sandbox.token_requests) == 2
        assert sandbox.calls.total == 1 + 20 + 1  # only the first 401 was worth a replay
        sandbox.switches.refuse_bearers = False
        assert (await gate.get("/orders/"))[0] == 200
        assert len(sandbox.token_requests) == 2


async def test_callers_wait_for_a_slow_identity_domain(tmp_path: Path) -> None:
    is_released = asyncio.Event()
    async with (
        Identity(token("late").behind(is_released)) as identity,
        Upstream() as upstream,
        between(tmp_path, identity, upstream) as gate,
    ):
        waiting = [asyncio.create_task(gate.get("/orders/1")) for _ in range(5)]
        await until(gate, "waiters", 5)
        is_released.set()
        assert [(await one)[0] for one in waiting] == [200] * 5
        assert len(identity.requests) == 1


async def test_a_caller_waits_no_longer_than_token_wait(tmp_path: Path) -> None:
    async with Identity(token("never").behind(asyncio.Event())) as identity, Upstream() as upstream:
        document = simple(identity.url, upstream.url)
        document["credentials"]["app"]["token_wait"] = "100ms"
        async with gateway(written(tmp_path, document), **SECRETS) as gate:
            assert (await gate.get("/orders/1"))[0] == 503
            assert not upstream.requests


@pytest.mark.parametrize("expires_in", [None, "3600", 3600.5, ""])
async def test_an_invalid_expires_in_gets_a_usable_lifetime(tmp_path: Path, expires_in: object) -> None:
    async with (
        Identity(token("odd", expires_in)) as identity,
        Upstream() as upstream,
        between(tmp_path, identity, upstream) as gate,
    ):
        for _ in range(10):
            assert (await gate.get("/orders/1"))[0] == 200
        assert len(identity.requests) == 1
        _, status = await gate.ask("/status")
        assert 100 < status["credentials"]["app"]["expires_in_s"] < 3600


async def test_scope_and_parameters_leave_each_other_alone(tmp_path: Path) -> None:
    async with Identity() as identity, Upstream() as upstream:
        document = simple(identity.url, upstream.url)
        document["credentials"]["app"] |= {"scope": ["one", "two"], "params": {"audience": "https://oic.example"}}
        async with gateway(written(tmp_path, document), **SECRETS) as gate:
            assert (await gate.get("/orders/1"))[0] == 200
        [request] = identity.requests
        assert request.form == {
            "grant_type": ["client_credentials"],
            "scope": ["one two"],
            "audience": ["https://oic.example"],
        }


async def test_routes_of_one_credential_share_its_token(tmp_path: Path, sandbox: Sandbox) -> None:
    async with before(tmp_path, sandbox) as gate:
        for name in ("orders", "echo", "bytes/1", "hello"):
            await gate.get(f"/{name}/")
    assert len(sandbox.token_requests) == 1


@pytest.mark.parametrize(("ours", "theirs"), [("basic", "client_secret_basic"), ("post", "client_secret_post")])
async def test_an_oauth_server_that_we_did_not_write(tmp_path: Path, ours: str, theirs: str) -> None:
    client = Client("app:id/ü", "s3cr3t %&+=:ü", method=theirs)
    with serving(client) as (url, server):
        async with Upstream(reply(200, b"first"), REFUSED, reply(200, b"second")) as upstream:
            document = simple(url, upstream.url)
            more = {"client_id": client.client_id, "client_auth": ours, "scope": "orders"}
            document["credentials"]["app"] |= more
            file = written(tmp_path, document)
            async with gateway(file, APP_SECRET=client.client_secret) as gate:
                assert (await gate.get("/orders/1"))[2] == b"first"
                assert (await gate.get("/orders/1"))[2] == b"second"
                assert (await gate.ask("/readyz"))[0] == 200
            async with gateway(file, APP_SECRET="another") as gate:
                assert (await gate.get("/orders/1"))[0] == 502
                assert (await gate.ask("/readyz"))[1]["credentials"]["app"]["code"] == "invalid_client"
        first, second = server.issued
        sent = [one.field("Authorization") for one in upstream.requests]
        assert sent == [f"Bearer {first}", f"Bearer {first}", f"Bearer {second}"]


@pytest.mark.parametrize("nonsense", [Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"), Answer(b"\x16\x03")])
async def test_an_incomplete_token_response_is_no_token(tmp_path: Path, nonsense: Answer) -> None:
    async with Identity(*[nonsense] * 50) as identity, Upstream() as upstream:
        document = simple(identity.url, upstream.url)
        document["credentials"]["app"]["token_wait"] = "100ms"
        async with gateway(written(tmp_path, document), **SECRETS) as gate:
            assert (await gate.get("/orders/1"))[0] == 503
            assert not upstream.requests


async def test_a_token_is_got_before_anyone_asks(tmp_path: Path) -> None:
    async with Identity() as identity, Upstream() as upstream:
        document = simple(identity.url, upstream.url)
        document["credentials"]["app"]["prefetch"] = True
        async with gateway(written(tmp_path, document), **SECRETS) as gate:
            await identity.wait_for_requests(1)
            await until(gate, "state", "fresh")
            assert (await gate.get("/orders/1"))[0] == 200
    assert len(identity.requests) == 1


@pytest.mark.parametrize(
    ("response", "status"), [(refusal("invalid_client", 401), 502), (answer(429, retry_after="250"), 503)]
)
async def test_a_changed_secret_file_is_used_without_a_restart(tmp_path: Path, response: Answer, status: int) -> None:
    secret = tmp_path / "secret"
    secret.write_text("wrong\n", encoding="utf-8")
    async with Identity(response) as identity, Upstream() as upstream:
        document = simple(identity.url, upstream.url)
        document["credentials"]["app"] |= {"client_secret": {"file": str(secret)}, "client_auth": "post"}
        async with gateway(written(tmp_path, document), **SECRETS) as gate:
            assert {(await gate.get("/orders/1"))[0] for _ in range(3)} == {status}
            level, permanent = ("error", True) if status == 502 else ("warning", False)
            [event] = await gate.wait_for_events("token-failed")
            assert event["level"] == level
            assert (await gate.ask("/status"))[1]["credentials"]["app"]["last_error"]["permanent"] is permanent
            secret.write_text("right\n", encoding="utf-8")
            await gate.until_status("/orders/1", 200)
    # Whoever looks at /status has the way to the token endpoint looked at too, without asking for a token.
    assert [request.form["client_secret"] for request in identity.requests if request.form] == [["wrong"], ["right"]]


async def test_status_and_metrics_follow_the_token(tmp_path: Path) -> None:
    is_released = asyncio.Event()
    down = answer(503, retry_after="60")
    async with Identity(down, token("first").behind(is_released)) as identity, Upstream(REFUSED) as upstream:
        document = simple(identity.url, upstream.url)
        document["credentials"]["app"]["budget"] = {"per_minute": 7}
        async with gateway(written(tmp_path, document), **SECRETS) as gate:
            assert (await gate.get("/orders/1"))[0] == 503
            text = (await gate.get("/metrics", address=gate.admin))[2].decode()
            assert 'oic_gateway_token_state{credential="app",state="none"} 1.0' in text
            assert 'oic_gateway_token_last_error_timestamp_seconds{code="unreadable",credential="app"}' in text
            status = (await gate.ask("/status"))[1]["credentials"]["app"]
            assert status["last_error"]["remedy"]
            gate.signal(signal.SIGHUP)  # forgets the failure
            await gate.wait_for_events("reloaded")
            calls = [asyncio.create_task(gate.get("/orders/1")) for _ in range(4)]
            await until(gate, "waiters", 4)
            is_released.set()
            assert {(await call)[0] for call in calls} == {200}
            credential = (await gate.ask("/status"))[1]["credentials"]["app"]
            assert (credential["state"], credential["fetches"]) == ("fresh", {"ok": 2, "refused": 0, "unavailable": 1})
            assert (
                credential["coalesced"],
                credential["replays"],
                credential["budget_left"],
                credential["last_error"],
            ) == (3, 1, 4, None)
            text = (await gate.get("/metrics", address=gate.admin))[2].decode()
            for line in (
                'oic_gateway_token_state{credential="app",state="fresh"} 1.0',
                'oic_gateway_token_requests_total{credential="app",result="ok"} 2.0',
                'oic_gateway_token_coalesced_total{credential="app"} 3.0',
                'oic_gateway_token_replays_total{credential="app"} 1.0',
                'oic_gateway_token_budget_left{credential="app"} 4.0',
                'oic_gateway_token_waiters{credential="app"} 0.0',
            ):
                assert line in text, line
            assert "oic_gateway_token_obtained_timestamp_seconds" in text
            assert "token_last_error_timestamp_seconds{" not in text


async def test_metrics_show_when_a_secret_was_written(tmp_path: Path) -> None:
    files = [tmp_path / "new", tmp_path / "old"]
    for age, file in enumerate(files):
        file.write_text("secret", encoding="utf-8")
        os.utime(file, (2_000_000 - age, 2_000_000 - age))
    async with Identity() as identity, Upstream() as upstream:
        document = simple(identity.url, upstream.url)
        document["credentials"]["app"]["client_secret"] = [
            {"file": str(file)} for file in (*files, tmp_path / "missing")
        ]
        async with gateway(written(tmp_path, document)) as gate:
            line = b'oic_gateway_secret_changed_timestamp_seconds{credential="app"} 2000000.0'
            assert line not in (await gate.get("/metrics", address=gate.admin))[2]
            assert (await gate.get("/orders/1"))[0] == 200
            assert line in (await gate.get("/metrics", address=gate.admin))[2]


async def test_metrics_distinguish_idle_and_failing_credentials(tmp_path: Path) -> None:
    refused = refusal("invalid_client", 401)
    async with (
        Identity(token("first", 3), refused) as identity,
        Upstream() as upstream,
        between(tmp_path, identity, upstream) as gate,
    ):
        assert (await gate.get("/orders/1"))[0] == 200
        await until(gate, "state", "dead")
        assert await failing(gate) == 0
        assert (await gate.get("/orders/1"))[0] == 502
        assert await failing(gate) == 1


async def failing(gate: Process) -> float:
    text = (await gate.get("/metrics", address=gate.admin))[2].decode()
    [line] = [line for line in text.splitlines() if line.startswith("oic_gateway_token_failing{")]
    return float(line.split()[1])
