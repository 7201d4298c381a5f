"""Clients as they are in the field: curl in all its ways, Python's http.client and urllib, bare sockets."""

import asyncio
import hashlib
import http.client
import json
import socket
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.sandbox import Sandbox, pattern, pattern_sha256
from tests.fakes.identity import Identity
from tests.fakes.process import Process, gateway, request, run_command
from tests.fakes.upstream import Upstream
from tests.fakes.waiting import TIME_LIMIT
from tests.system.scene import SECRETS, before, simple, written

TWO_MIB = pattern(2 * 1024 * 1024)


@pytest.fixture
async def gate(tmp_path: Path, sandbox: Sandbox) -> AsyncIterator[Process]:
    async with before(tmp_path, sandbox) as running:
        yield running


async def curl(*arguments: str, stdin: bytes | None = None) -> tuple[bytes, str]:
    """Runs curl without its configuration file; gives what it printed and what it told (`-v`)."""
    status, out, err = await run_command("curl", "-q", "-sS", *arguments, stdin=stdin or b"", env={})
    assert status == 0, err.decode()
    return out, err.decode(errors="replace")


def url(gate: Process, path: str) -> str:
    return f"http://{gate.listen}{path}"


async def test_curl_speaks_http_1_1(gate: Process) -> None:
    out, log = await curl("-v", url(gate, "/bytes/100000"))
    assert out == pattern(100_000)
    assert "< HTTP/1.1 200 OK" in log


@pytest.mark.parametrize("target", ["/bytes/100000", "/bytes/100000?chunked=1", "/drop/close"])
async def test_curl_speaks_http_1_0(gate: Process, target: str) -> None:
    out, log = await curl("-v", "-0", url(gate, target))
    assert out == pattern(100_000)
    assert "< HTTP/1.1 200 " in log
    assert "Transfer-Encoding" not in log


async def test_curl_keeps_an_http_1_0_connection_when_it_asks(gate: Process) -> None:
    one = url(gate, "/bytes/10")
    out, log = await curl("-v", "-0", "-H", "Connection: keep-alive", one, one)
    assert out == pattern(10) * 2
    assert log.count("Connected to") == 1
    assert log.count("< Connection: keep-alive") == 2


async def test_curl_uses_a_connection_twice(gate: Process) -> None:
    out, log = await curl("-v", url(gate, "/bytes/10"), url(gate, "/bytes/20?chunked=1"), url(gate, "/status/404"))
    assert out.startswith(pattern(10) + pattern(20))
    assert log.count("Connected to") == 1
    assert log.count("Re-using existing connection") == 2
    assert [record["status"] for record in await gate.wait_for_records(3)] == [200, 200, 404]


async def test_curl_asks_with_head(gate: Process, sandbox: Sandbox) -> None:
    out, _ = await curl("-I", url(gate, "/bytes/12345"))
    assert out.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Length: 12345\r\n" in out
    assert out.endswith(b"\r\n\r\n")
    assert sandbox.calls[0].method == "HEAD"


async def test_curl_uploads_in_chunks_from_a_pipe(gate: Process, sandbox: Sandbox) -> None:
    out, _ = await curl("-T", "-", url(gate, "/upload/"), stdin=TWO_MIB)
    assert json.loads(out) == {"length": len(TWO_MIB), "sha256": pattern_sha256(len(TWO_MIB))}
    assert sandbox.calls[0].header("Transfer-Encoding") == "chunked"


async def test_curl_waits_for_100_continue_with_a_large_body(gate: Process, tmp_path: Path, sandbox: Sandbox) -> None:
    file = tmp_path / "body"
    file.write_bytes(TWO_MIB)
    arguments = ("-v", "--expect100-timeout", "14", "-H", "Expect: 100-continue", "--data-binary", f"@{file}")
    out, log = await curl(*arguments, url(gate, "/upload/"))
    assert json.loads(out)["sha256"] == pattern_sha256(len(TWO_MIB))
    assert "< HTTP/1.1 100 Continue" in log
    assert sandbox.calls[0].header("Expect") is None


async def test_curl_that_is_refused_is_not_invited_to_send(gate: Process, tmp_path: Path, sandbox: Sandbox) -> None:
    file = tmp_path / "body"
    file.write_bytes(TWO_MIB)
    arguments = ("-v", "--expect100-timeout", "14", "-H", "Expect: 100-continue", "-T", str(file))
    _, log = await curl(*arguments, url(gate, "/none/"))
    assert "< HTTP/1.1 404 " in log
    assert "100 Continue" not in log
    assert not sandbox.calls


async def test_curl_form_post_gets_a_location_at_the_gateway(gate: Process) -> None:
    out, log = await curl("-v", "-d", '{"item":"valve","quantity":3}', url(gate, "/orders/"))
    order = json.loads(out)["id"]
    assert f"< Location: {url(gate, f'/orders/{order}')}" in log


async def test_curl_through_the_gateway_as_its_proxy(gate: Process, sandbox: Sandbox) -> None:
    out, _ = await curl("--proxy", f"http://{gate.listen}", f"{sandbox.upstream('BYTES')}1000")
    assert out == pattern(1000)
    [record] = await gate.wait_for_records()
    assert (record["route"], record["status"]) == ("bytes", 200)
    assert (sandbox.calls[0].header("Authorization") or "").startswith("Bearer eyJ")
    assert sandbox.calls[0].header("Proxy-Connection") is None


async def test_curl_cannot_use_it_as_a_proxy_to_elsewhere(gate: Process, sandbox: Sandbox) -> None:
    _, log = await curl("-v", "--proxy", f"http://{gate.listen}", "http://elsewhere.example.com/")
    assert "< HTTP/1.1 404 " in log
    assert not sandbox.token_requests


async def test_http_url_of_an_https_upstream_works_through_the_proxy(tmp_path: Path) -> None:
    """A caller of plain HTTP names OIC as `http://host/…`: its own URL with another scheme."""
    async with Identity() as identity:
        document = simple(identity.url, "https://oic.invalid/ic/api/integration/v1/flows/rest/ORDERS/1.0/")
        async with gateway(written(tmp_path, document), **SECRETS) as gate:
            target = "http://oic.invalid/ic/api/integration/v1/flows/rest/ORDERS/1.0/17"
            _, log = await curl("-v", "--proxy", f"http://{gate.listen}", target)
            assert "< HTTP/1.1 502 " in log
            assert "< X-Gateway-Error: upstream-unreachable" in log
            [record] = await gate.wait_for_records()
            assert record["route"] == "orders"
            assert "https://oic.invalid:443" in record["reason"]


async def test_a_soap_caller_gets_a_wsdl_and_a_fault(gate: Process, sandbox: Sandbox) -> None:
    out, _ = await curl(url(gate, "/hello/?wsdl"))
    assert b"definitions" in out
    sandbox.switches.drops = 1
    out, log = await curl(
        "-v", "-H", "SOAPAction: x", "-H", "Content-Type: text/xml", "-d", "<x/>", url(gate, "/hello/")
    )
    assert "< HTTP/1.1 500 " in log
    assert "< X-Gateway-Error: upstream-broken; status=502" in log
    assert b"<faultcode>soap:Server</faultcode>" in out


async def test_http_client_reuses_its_connection(gate: Process, sandbox: Sandbox) -> None:
    def exchange() -> list[bytes]:
        connection = http.client.HTTPConnection(gate.listen, timeout=TIME_LIMIT)
        connection.connect()
        first, answers = connection.sock, []
        for method, target, body in (
            ("GET", "/bytes/70000", None),
            ("POST", "/upload/", TWO_MIB),
            ("POST", "/upload/", iter([b"in ", b"chunks"])),
        ):
            connection.request(method, target, body=body, encode_chunked=True)
            answers.append(connection.getresponse().read())
            assert connection.sock is first
        connection.close()
        return answers

    plain, *uploads = await asyncio.to_thread(exchange)
    assert plain == pattern(70_000)
    assert [json.loads(one)["length"] for one in uploads] == [len(TWO_MIB), len(b"in chunks")]
    assert [call.body_sha256 for call in sandbox.calls][1] == pattern_sha256(len(TWO_MIB))


async def test_urllib_through_http_proxy(gate: Process, sandbox: Sandbox) -> None:
    handler = urllib.request.ProxyHandler({"http": f"http://{gate.listen}"})

    def read() -> bytes:
        with urllib.request.build_opener(handler).open(f"{sandbox.upstream('BYTES')}5000", timeout=TIME_LIMIT) as reply:
            return bytes(reply.read())

    assert await asyncio.to_thread(read) == pattern(5000)


async def test_a_socket_that_closes_its_writing_half_gets_its_response(gate: Process) -> None:
    def exchange() -> bytes:
        host, port = gate.listen.split(":")
        received = b""
        with socket.create_connection((host, int(port)), timeout=TIME_LIMIT) as sock:
            sock.sendall(request("/bytes/10"))
            sock.shutdown(socket.SHUT_WR)
            while data := sock.recv(65536):
                received += data
        return received

    received = await asyncio.to_thread(exchange)
    assert received.startswith(b"HTTP/1.1 200 ")
    assert received.endswith(pattern(10))
    [record] = await gate.wait_for_records()
    assert (record["status"], record["error"]) == (200, None)


async def test_half_close_after_a_response_ends_quietly(gate: Process) -> None:
    caller = await gate.caller()
    await caller.send(request("/bytes/50000"))
    assert (await caller.reply())[2] == pattern(50_000)
    caller.writer.write_eof()
    assert await caller.read_to_end() == b""
    [record] = await gate.wait_for_records()
    assert (record["status"], record["error"]) == (200, None)


async def test_requests_sent_byte_by_byte_and_all_at_once(gate: Process) -> None:
    caller = await gate.caller()
    for byte in request("/bytes/10"):
        await caller.send(bytes([byte]))
    assert (await caller.reply())[2] == pattern(10)
    await caller.send(b"".join(request(f"/bytes/{size}") for size in (1, 2, 3)))
    assert [(await caller.reply())[2] for _ in range(3)] == [pattern(size) for size in (1, 2, 3)]


async def test_targets_pass_byte_for_byte(tmp_path: Path) -> None:
    targets = [
        "/orders/a%7C1?q={timewindow:'1h'}&a=1&a=2&b",
        "/orders//x;y=1/%20?",
        "/orders/?",
        "/orders/~%C3%A9?a=%2F",
    ]
    async with Identity() as identity, Upstream() as upstream:
        document = simple(identity.url, f"{upstream.url}/base/")
        async with gateway(written(tmp_path, document), **SECRETS) as gate:
            for target in targets:
                assert (await gate.get(target))[0] == 200
    assert [one.target for one in upstream.requests] == [target.replace("/orders", "/base", 1) for target in targets]


async def test_a_body_of_every_framing_arrives_as_it_is(gate: Process, sandbox: Sandbox) -> None:
    body = pattern(300_000)
    status, _, echoed = await gate.post("/echo/body", body, "Content-Type: application/x-thing")
    assert (status, echoed) == (200, body)
    framed = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:7], body[7:150_000], body[150_000:]))
    head = request("/echo/body", "Transfer-Encoding: chunked", method="POST")
    status, _, echoed = await gate.call(head + framed + b"0\r\n\r\n")
    assert (status, echoed) == (200, body)
    assert [call.body_sha256 for call in sandbox.calls] == [hashlib.sha256(body).hexdigest()] * 2
