"""The identity domain is down, slow, or talks nonsense: the gateway stays up, says so, and recovers by itself."""

from pathlib import Path

from gateway.sandbox import Sandbox, Switches
from tests.fakes.identity import CLOSE, Identity, answer, refusal, token
from tests.fakes.process import Process, gateway
from tests.fakes.upstream import Upstream
from tests.system.scene import SECRETS, Settings, between, settings, simple, written


def hasty(document: Settings) -> Settings:
    """The configuration with callers that wait for no next try."""
    document["credentials"]["app"]["token_wait"] = "100ms"
    return document


def field(head: bytes, name: bytes) -> bytes:
    """The value of a field of a reply's head."""
    [value] = [row.partition(b": ")[2] for row in head.split(b"\r\n") if row.lower().startswith(name.lower() + b":")]
    return value


async def test_down_at_the_start_up_later(tmp_path: Path) -> None:
    async with (
        Sandbox(switches=Switches(token_fault="outage")) as sandbox,
        gateway(written(tmp_path, hasty(settings(sandbox))), **SECRETS) as gate,
    ):
        status, ready = await gate.ask("/readyz")
        assert (status, ready["state"]) == (503, "unready")
        assert ready["credentials"]["app"]["state"] == "no-token"
        assert ready["credentials"]["app"]["code"] == "broken"
        assert ready["credentials"]["app"]["error"].startswith("broken: the connection closed")
        assert (await gate.ask("/livez"))[0] == 200

        status, head, body = await gate.get("/orders/")
        assert status == 503
        assert field(head, b"X-Gateway-Error") == b"token-unavailable"
        assert int(field(head, b"Retry-After")) >= 1
        assert b"connection closed" not in body
        [record] = await gate.wait_for_records()
        assert (record["error"], record["attempts"]) == ("token-unavailable", 0)
        assert record["reason"].startswith("broken: ")
        assert not sandbox.calls

        sandbox.switches.token_fault = ""
        await until_ready(gate)
        assert (await gate.get("/orders/"))[0] == 200
        assert (await gate.ask("/livez"))[0] == 200


async def until_ready(gate: Process) -> None:
    """Asks until the gateway is ready: its asking is what has the token tried again."""
    await gate.until_answer("/readyz", lambda ready: ready["state"] == "ready")


async def test_a_refused_connection_to_the_token_endpoint_at_start(tmp_path: Path, sandbox: Sandbox) -> None:
    document = hasty(settings(sandbox))
    await sandbox.stop()
    async with gateway(written(tmp_path, document), **SECRETS) as gate:
        assert (await gate.get("/orders/"))[0] == 503
        _, ready = await gate.ask("/readyz")
        assert ready["credentials"]["app"]["code"] == "connect"
        [failed, *_] = await gate.wait_for_events("token-failed")
        assert failed["remedy"]


async def test_a_rejected_client_gets_502_token_refused(tmp_path: Path, sandbox: Sandbox) -> None:
    async with gateway(written(tmp_path, settings(sandbox)), APP_SECRET="wrong-secret") as gate:
        for _ in range(5):
            status, head, _ = await gate.get("/orders/")
            assert (status, field(head, b"X-Gateway-Error")) == (502, b"token-refused")
        assert len(sandbox.token_requests) == 1
        assert not sandbox.calls
        _, ready = await gate.ask("/readyz")
        assert ready["credentials"]["app"]["code"] == "invalid_client"
        assert "General Information" in ready["credentials"]["app"]["remedy"]
        assert "wrong-secret" not in gate.output_text()


async def test_a_corrected_secret_file_needs_no_restart(tmp_path: Path, sandbox: Sandbox) -> None:
    file = tmp_path / "secret"
    file.write_text("old-secret", encoding="utf-8")
    sandbox.rotate_secret("old-secret")
    document = settings(sandbox)
    document["credentials"]["app"]["client_secret"] = {"file": "secret"}
    async with gateway(written(tmp_path, document)) as gate:
        assert (await gate.get("/orders/"))[0] == 200
        sandbox.rotate_secret("new-secret")
        sandbox.revoke_all()
        file.write_text("new-secret", encoding="utf-8")
        assert (await gate.get("/orders/"))[0] == 200
        [_, renewed] = await gate.wait_for_records(2)
        assert renewed["attempts"] == 2


async def test_invalid_token_responses_do_not_end_renewal(tmp_path: Path) -> None:
    nonsense = (answer(200), CLOSE)
    async with Identity(*nonsense) as identity, Upstream() as upstream, between(tmp_path, identity, upstream) as gate:
        await until_ready(gate)
        assert (await gate.get("/orders/1"))[0] == 200
        assert len(await gate.wait_for_events("token-failed", len(nonsense))) == len(nonsense)


async def test_a_live_token_serves_while_the_identity_domain_is_down(tmp_path: Path) -> None:
    async with (
        Identity(token("first", 3600), refusal("server_error", 503)) as identity,
        Upstream() as upstream,
        between(tmp_path, identity, upstream) as gate,
    ):
        assert (await gate.get("/orders/1"))[0] == 200
        upstream.script = [b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"]
        assert (await gate.get("/orders/1"))[0] == 401  # the renewal failed: delivered as it is
        assert (await gate.get("/orders/1"))[0] == 200
        assert [one.field("Authorization") for one in upstream.requests] == ["Bearer first"] * 3
        assert (await gate.ask("/readyz"))[0] == 200


async def test_a_dead_token_is_never_sent(tmp_path: Path) -> None:
    async with (
        Identity(token("short", 3)) as identity,
        Upstream() as upstream,
        gateway(written(tmp_path, hasty(simple(identity.url, upstream.url))), **SECRETS) as gate,
    ):
        assert (await gate.get("/orders/1"))[0] == 200
        identity.script = [refusal("server_error", 503)] * 50
        await gate.until_status("/orders/1", 503)  # the short life is over
        seen = len(upstream.requests)
        assert (await gate.get("/orders/1"))[0] == 503
        assert len(upstream.requests) == seen
        assert {one.field("Authorization") for one in upstream.requests} == {"Bearer short"}


async def test_retry_after_of_the_identity_domain_reaches_the_caller(tmp_path: Path) -> None:
    limited = answer(429, {"error": "too_many_requests"}, retry_after="120")
    async with Identity(limited) as identity, Upstream() as upstream, between(tmp_path, identity, upstream) as gate:
        status, head, _ = await gate.get("/orders/1")
        assert status == 503
        assert 110 <= int(field(head, b"Retry-After")) <= 122
        assert (await gate.get("/orders/1"))[0] == 503
        assert len(identity.requests) == 1
        assert not upstream.requests
