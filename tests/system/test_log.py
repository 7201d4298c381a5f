"""What comes out of stdout: one JSON line per request on every path, never a query or a secret, never a stall."""

import asyncio
import base64
import json
import os
import pty
import re
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from gateway.observe.record import FIELDS, MAX_ID, MAX_METHOD, MAX_PATH
from gateway.sandbox import RegisteredClient, Sandbox
from tests.fakes.identity import Identity, answer, refusal, token
from tests.fakes.process import Process, gateway, request
from tests.fakes.upstream import OK, ScriptedConnection, Upstream, reply
from tests.fakes.waiting import TIME_LIMIT
from tests.system.scene import SECRETS, before, between, settings, simple, written

CHUNKED = "Transfer-Encoding: chunked"


async def leave(gate: Process, sandbox: Sandbox) -> None:
    """A caller that hangs up while OIC still works."""
    sandbox.switches.slow_gate = asyncio.Event()
    caller = await gate.caller()
    await caller.send(request("/slow/1"))
    await sandbox.calls.reached(sandbox.calls.total + 1)
    caller.reset()


async def test_exactly_one_record_on_every_exit_path(tmp_path: Path, sandbox: Sandbox) -> None:
    document = settings(sandbox, limits={"body": "1KiB", "uri": "1KiB", "field": "2KiB"})
    document["routes"][0]["methods"] = ["GET"]
    document["routes"].append(
        {"name": "closed", "path": "/closed/", "upstream": "http://127.0.0.1:1/", "credential": "app"}
    )
    calls: list[tuple[bytes, int, str | None]] = [
        (request("/orders/?q=secret"), 200, None),
        (request("/orders/", method="HEAD"), 200, None),
        (request("/status/204"), 204, None),
        (request("/status/500"), 500, None),
        (request("/async/"), 202, None),
        (request("/drop/close"), 200, None),
        (request("/none/"), 404, "no-route"),
        (request("/orders/", method="PUT"), 405, "method-not-allowed"),
        (request("/orders/", "Origin: https://evil.example"), 403, "forbidden"),
        (request("/orders/", "Expect: tea"), 417, "expectation-failed"),
        (request("/orders/../x"), 400, "bad-request"),
        (b"GET /orders/ HTTP/1.1\r\nHost: evil.example.com\r\n\r\n", 403, "forbidden"),
        (b"GET /orders/ HTTP/1.1\r\n\r\n", 400, "bad-request"),
        (b"NONSENSE\r\n\r\n", 400, "bad-request"),
        (request("/orders/" + "a" * 2000), 414, "uri-too-long"),
        (request("/orders/", "X-Long: " + "a" * 3000), 431, "headers-too-large"),
        (request("/upload/", "Content-Length: 2000", method="POST"), 413, "body-too-large"),
        (
            request("/upload/", CHUNKED, method="POST") + b"800\r\n" + b"a" * 2048 + b"\r\n0\r\n\r\n",
            413,
            "body-too-large",
        ),
        (request("/upload/", CHUNKED, method="POST") + b"zz\r\n", 400, "bad-request"),
        (request("/closed/"), 502, "upstream-unreachable"),
        (request("/drop/before"), 502, "upstream-broken"),
        (request("/drop/reset"), 502, "upstream-broken"),
    ]
    async with gateway(written(tmp_path, document), **SECRETS) as gate:
        for number, (request_bytes, status, error) in enumerate(calls, 1):
            caller = await gate.caller()
            await caller.send(request_bytes)
            head = await caller.head()
            record = (await gate.wait_for_records(number))[-1]
            assert head.startswith(b"HTTP/1.1 %d " % status), request_bytes
            assert (record["status"], record["error"]) == (status, error), request_bytes
            caller.close()
        for target in ("/drop/mid", "/drop/chunked"):
            caller = await gate.caller()
            await caller.send(request(target))
            await caller.read_to_end()
        await leave(gate, sandbox)
        records = await gate.wait_for_records(len(calls) + 3)
        assert [(record["status"], record["error"]) for record in records[-3:]] == [
            (200, "upstream-broken"),
            (200, "upstream-broken"),
            (499, "caller-gone"),
        ]
        for record in records:
            assert tuple(record)[: len(FIELDS)] == FIELDS
            assert set(record) <= {*FIELDS, "reason"}
            assert record["request_id"]
            assert "?" not in (record["path"] or "")
    assert len(gate.records) == len(calls) + 3
    assert "q=secret" not in gate.output_text()
    assert not gate.err


async def test_a_record_describes_the_whole_call(tmp_path: Path, sandbox: Sandbox) -> None:
    async with before(tmp_path, sandbox) as gate:
        status, head, body = await gate.post("/echo/x?a=1", b"hello", "X-Request-Id: from-the-caller")
        [record] = await gate.wait_for_records()
    [call] = sandbox.calls
    assert status == record["status"] == record["upstream_status"] == 200
    assert b"X-Request-Id: from-the-caller\r\n" in head
    assert record["request_id"] == call.header("X-Request-Id") == "from-the-caller"
    assert record["instance_id"] == call.instance_id
    assert f"x-oracle-ics-instance-id: {call.instance_id}".encode() in head
    assert record["opc_request_id"].count("/") == 2
    assert (record["route"], record["credential"], record["client"]) == ("echo", "app", "127.0.0.1")
    assert (record["method"], record["path"], record["attempts"]) == ("POST", "/echo/x", 1)
    assert (record["bytes_in"], record["bytes_out"]) == (5, len(body))
    assert record["duration_ms"] >= record["upstream_ms"] > 0
    assert record["token_wait_ms"] > 0
    assert (record["level"], record["event"], record["error"]) == ("info", "request", None)


@pytest.mark.parametrize("form", ["auto", "json"])
async def test_a_terminal_gets_readable_rows_by_default(tmp_path: Path, sandbox: Sandbox, form: str) -> None:
    master, slave = pty.openpty()
    try:
        file = written(tmp_path, settings(sandbox, log={"format": form}))
        async with Process("serve", "-c", file, NO_COLOR="1", **SECRETS).to(slave) as gate:
            screen = Screen(master)
            listening = await screen.until("listening on 127.0.0.1:")
            [gate.listen, *_] = re.findall(r"127\.0\.0\.1:\d+", listening)
            assert (await gate.get("/orders/?q=secret"))[0] == 200
            row = await screen.until("/orders/")
            assert (json.loads(row)["status"] == 200) if form == "json" else (" 200 GET " in row)
            assert "q=secret" not in screen.text
            assert ("instance=" in row) == (form == "auto")
    finally:
        os.close(master)
        os.close(slave)


class Screen:
    """What was written to a pseudo-terminal."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.text = ""

    async def until(self, sign: str) -> str:
        """Waits for a whole row that holds the sign; gives it."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(TIME_LIMIT):
            while True:
                rows = [row for row in self.text.split("\r\n")[:-1] if sign in row]
                if rows:
                    return rows[0]
                ready = asyncio.Event()
                loop.add_reader(self._descriptor, ready.set)
                try:
                    await ready.wait()
                finally:
                    loop.remove_reader(self._descriptor)
                self.text += os.read(self._descriptor, 65536).decode()


AWKWARD = "s3cr3t/with+odd %chars&=:ü"


def shapes(client_id: str, secret: str) -> list[str]:
    """Every spelling of a secret that could slip out."""
    pairs = (f"{client_id}:{quote(secret, safe='')}", f"{client_id}:{quote_plus(secret)}", f"{client_id}:{secret}")
    encoded = [base64.b64encode(text.encode()).decode() for text in (secret, *pairs)]
    escaped = json.dumps(secret)[1:-1]
    return [secret, quote(secret, safe=""), quote_plus(secret), quote(secret), escaped, *encoded]


async def test_no_secret_and_no_token_in_any_byte_at_level_debug(tmp_path: Path) -> None:
    client = RegisteredClient(secret=AWKWARD)
    issued: list[str] = []
    async with Sandbox(clients={"odd-app": client, "wrong-app": client}) as sandbox:
        document = settings(sandbox, log={"level": "debug"})
        document["credentials"]["app"] |= {"client_id": "odd-app"}
        for name, auth in (("refused", "basic"), ("posted", "post")):
            document["credentials"][name] = document["credentials"]["app"] | {
                "client_id": "wrong-app",
                "client_auth": auth,
                "client_secret": {"env": "OTHER_SECRET"},
            }
            path = {"name": name, "path": f"/{name}/", "upstream": sandbox.upstream("ECHO"), "credential": name}
            document["routes"].append(path)
        variables = {"APP_SECRET": AWKWARD, "OTHER_SECRET": f"{AWKWARD}-no-more"}
        async with gateway(written(tmp_path, document), **variables) as gate:
            assert (await gate.get("/orders/?token=query-secret", "Authorization: Basic Y2FsbGVyOnB3"))[0] == 200
            sandbox.revoke_all()
            assert (await gate.get("/orders/"))[0] == 200
            issued += [call.header("Authorization") or "" for call in sandbox.calls]
            for target, status in (("/refused/", 502), ("/posted/", 502), ("/drop/before", 502), ("/none", 404)):
                assert (await gate.get(target))[0] == status
            for target in ("/readyz", "/status", "/metrics"):
                gate.out += (await gate.get(target, address=gate.admin))[2]
            for target in ("/drop/mid", "/drop/chunked"):
                caller = await gate.caller()
                await caller.send(request(target, "Cookie: id=caller-cookie"))
                await caller.read_to_end()
            await gate.wait_for_records(8)
            assert len(await gate.wait_for_events("token-renewed", 2)) == 2
            assert len(await gate.wait_for_events("token-failed", 2)) == 2
    output = gate.output_text()
    tokens = {value.removeprefix("Bearer ") for value in issued}
    assert len(tokens) == 2
    unwanted = [part for value in tokens for part in (value, value.split(".")[0], value.split(".")[2])]
    unwanted += shapes("odd-app", AWKWARD) + shapes("wrong-app", f"{AWKWARD}-no-more")
    unwanted += ["query-secret", "Y2FsbGVyOnB3", "caller-cookie", "Bearer eyJ"]
    for text in unwanted:
        assert text not in output


async def test_secrets_quoted_by_a_token_endpoint_are_not_logged(tmp_path: Path) -> None:
    secret = SECRETS["APP_SECRET"]
    quoting = [
        refusal("temporarily_unavailable", 503, f"the secret {secret} of eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln"),
        answer(500, f"secret={secret}".encode()),
        token("opaque-token-of-the-tests", 3600, access_token_copy=secret),
    ]
    async with Identity(*quoting) as identity, Upstream(reply(500, b"opaque-token-of-the-tests")) as upstream:
        file = written(tmp_path, simple(identity.url, upstream.url, log={"level": "debug"}))
        async with gateway(file, **SECRETS) as gate:
            await gate.until_answer("/readyz", lambda ready: ready["state"] == "ready")
            assert (await gate.get("/orders/1"))[0] == 500
            await gate.wait_for_records()
            status = json.dumps((await gate.ask("/status"))[1])
    for unwanted in (secret, "eyJhbGci", "opaque-token"):
        assert unwanted not in gate.output_text() + status


async def test_a_stalled_log_reader_does_not_stall_requests(tmp_path: Path, sandbox: Sandbox) -> None:
    reader, writer = os.pipe()
    try:
        file = written(tmp_path, settings(sandbox))
        async with Process("serve", "-c", file, **SECRETS).to(writer) as gate:
            started = await asyncio.to_thread(os.read, reader, 65536)
            gate.listen, gate.admin = json.loads(started)["listen"], json.loads(started)["admin"]
            caller = await gate.caller()
            # Each record repeats the path: 400 of them are far more than a pipe takes.
            for _ in range(400):
                await caller.send(request(f"/echo/{'a' * 1000}", method="HEAD"))
                assert (await caller.head()).startswith(b"HTTP/1.1 200 ")
            assert (await gate.ask("/readyz"))[0] == 200
            await asyncio.to_thread(drain, reader)
    finally:
        os.close(reader)
        os.close(writer)


def drain(descriptor: int) -> None:
    """Takes what a pipe holds, and what follows in its place, up to 400 lines."""
    lines = 0
    while lines < 401:  # 400 records and the token's event
        lines += os.read(descriptor, 65536).count(b"\n")


async def test_a_closed_log_reader_does_not_stop_requests(tmp_path: Path, sandbox: Sandbox) -> None:
    reader, writer = os.pipe()
    file = written(tmp_path, settings(sandbox))
    async with Process("serve", "-c", file, **SECRETS).to(writer) as gate:
        started = await asyncio.to_thread(os.read, reader, 65536)
        gate.listen, gate.admin = json.loads(started)["listen"], json.loads(started)["admin"]
        os.close(writer)
        os.close(reader)
        for _ in range(5):
            assert (await gate.get("/orders/"))[0] == 200
        async with asyncio.timeout(TIME_LIMIT):
            while b"log_lines_lost_total 0.0" in (await gate.get("/metrics", address=gate.admin))[2]:
                assert (await gate.get("/orders/"))[0] == 200


async def test_long_foreign_texts_break_no_line_of_another_worker(tmp_path: Path) -> None:
    long = reply(200, b"", "x-oracle-ics-instance-id: " + "i" * 50_000, "opc-request-id: " + "o" * 8000)
    async with (
        Identity(token("t", 3600)) as identity,
        Upstream(*[long] * 30) as upstream,
        between(tmp_path, identity, upstream, workers=2, limits={"head": "64KiB"}) as gate,
    ):
        odd = (("GET", "/orders/" + "p" * 4000), ("M" * 7000, "/orders/"))
        await asyncio.gather(*(gate.get(target, method=method) for method, target in odd for _ in range(30)))
        records = await gate.wait_for_records(60)
        [found] = (await gate.ask(f"/instances?limit=1&id={'i' * 2000}"))[1]["instances"]
    assert {len(record["path"]) for record in records} == {len("/orders/"), MAX_PATH}
    assert {record["method"] for record in records} == {"GET", "M" * MAX_METHOD}
    assert {record["instance_id"] for record in records} == {None, "i" * MAX_ID}
    assert found["instance_id"] == "i" * MAX_ID
    assert gate.out.count(b"\n") == len(gate.lines)


async def test_an_informational_response_is_no_second_record(tmp_path: Path) -> None:
    async def hints(conversation: ScriptedConnection) -> None:
        await conversation.request()
        await conversation.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK)

    async with Identity() as identity, Upstream(hints) as upstream, between(tmp_path, identity, upstream) as gate:
        assert (await gate.get("/orders/1"))[0] == 200
    assert len(gate.records) == 1
