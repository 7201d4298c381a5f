"""Listeners with TLS, against the real process and real clients: curl, openssl."""

import asyncio
import hashlib
import json
import shutil
import signal
import socket
import ssl
from pathlib import Path
from random import Random
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.sandbox import Sandbox
from tests.fakes.balancer import nginx
from tests.fakes.certificates import DAY, PrivateKey, self_signed, server_pem, sign, write
from tests.fakes.gate import Caller
from tests.fakes.load import Load
from tests.fakes.process import Process, gateway, request, run, run_command
from tests.system.scene import SECRETS, before, settings, written


def listener(folder: Path, **tls: Any) -> list[dict[str, Any]]:
    """One TLS listener, with the certificate of `server.pem`."""
    return [{"address": "127.0.0.1:0", "tls": {"cert": str(folder / "server.pem"), **tls}}]


async def curl(gate: Process, folder: Path, *arguments: str | Path, target: str = "/orders/") -> tuple[int, str, str]:
    status, out, err = await run_command(
        *("curl", "-q", "-sS", "--cacert", folder / "server.pem", *arguments, f"https://{gate.listen}{target}"), env={}
    )
    return status, out.decode(), err.decode()


async def s_client(address: str, *arguments: str, stdin: bytes = b"") -> str:
    _, out, err = await run_command("openssl", "s_client", "-connect", address, *arguments, env={}, stdin=stdin)
    return (out + err).decode(errors="replace")


async def tls_caller(gate: Process, folder: Path) -> Caller:
    context = ssl.create_default_context(cafile=str(folder / "server.pem"))
    host, _, port = gate.listen.rpartition(":")
    return Caller(*await asyncio.open_connection(host, int(port), ssl=context, server_hostname="localhost"))


@pytest.mark.parametrize("workers", [1, 2])
async def test_curl_calls_over_tls(tmp_path: Path, sandbox: Sandbox, workers: int) -> None:
    server_pem(tmp_path)
    async with before(tmp_path, sandbox, listen=listener(tmp_path), workers=workers) as gate:
        status, out, err = await curl(gate, tmp_path, "-i", "--http2")
        assert status == 0, err
        assert out.startswith("HTTP/1.1 200 OK\r\n")
        assert "hydraulic pump" in out
        assert "\r\nStrict-Transport-Security: max-age=15768000; includeSubDomains\r\n" in out
        [record] = await gate.wait_for_records()
        assert record["client"] == "127.0.0.1"
        [shown] = (await gate.ask("/status"))[1]["listeners"]
        assert (shown["address"], shown["tls"], shown["certificate"]["problem"]) == (gate.listen, True, None)
        _, _, metrics = await gate.get("/metrics", address=gate.admin)
        expected = (
            f'certificate_expiry_timestamp_seconds{{listener="{gate.listen}"}} {shown["certificate"]["expires_at"]}'
        )
        assert expected.encode() in metrics


async def test_links_have_the_scheme_of_the_listener(tmp_path: Path, sandbox: Sandbox) -> None:
    server_pem(tmp_path)
    async with before(tmp_path, sandbox, listen=listener(tmp_path)) as gate:
        _, out, _ = await curl(gate, tmp_path, target="/hello/?wsdl")
        assert f'location="https://{gate.listen}/hello/' in out


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
async def test_old_versions_are_refused(tmp_path: Path, sandbox: Sandbox, version: str) -> None:
    server_pem(tmp_path)
    async with before(tmp_path, sandbox, listen=listener(tmp_path)) as gate:
        output = await s_client(gate.listen, version, "-cipher", "DEFAULT:@SECLEVEL=0")
        assert "alert protocol version" in output
        [line] = await gate.wait_for_events("handshake-failed")
        assert "the caller offers no version from TLS 1.2 on" in line["message"]
        assert (line["listener"], line["client"]) == (gate.listen, "127.0.0.1")
        _, _, metrics = await gate.get("/metrics", address=gate.admin)
        assert b'connections_failed_total{listener="%b",reason="handshake"} 1' % gate.listen.encode() in metrics


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
async def test_the_protocol_is_http_1_1(tmp_path: Path, sandbox: Sandbox, version: str) -> None:
    server_pem(tmp_path)
    async with before(tmp_path, sandbox, listen=listener(tmp_path)) as gate:
        assert "ALPN protocol: http/1.1" in await s_client(gate.listen, version, "-alpn", "h2,http/1.1")


async def test_openssl_proves_a_caller_by_its_certificate(tmp_path: Path, sandbox: Sandbox) -> None:
    server_pem(tmp_path)
    ca, key = authority(tmp_path)
    good, bad = client_pem(tmp_path, key), client_pem(tmp_path, ec.generate_private_key(ec.SECP256R1()), "bad")
    listen = listener(tmp_path, client_ca=str(ca), client_certificate="required")
    document = settings(sandbox, listen=listen, callers={"plant": {"certificate": {"dns": "plant.corp"}}})
    document["routes"][0]["callers"] = ["plant"]
    verified = ("-CAfile", str(tmp_path / "server.pem"), "-verify_return_error", "-ign_eof")
    call = request("/orders/", "Connection: close")
    async with gateway(written(tmp_path, document), **SECRETS) as gate:
        output = await s_client(gate.listen, *verified, "-cert", str(good), stdin=call)
        assert "Verify return code: 0 (ok)" in output
        assert "HTTP/1.1 200 OK" in output
        assert (await gate.wait_for_records())[0]["caller"] == "plant"
        for arguments, alert in (((), "certificate required"), (("-cert", str(bad)), "decrypt error")):
            assert f"alert {alert}" in await s_client(gate.listen, *verified, *arguments, stdin=call)


async def test_nginx_calls_over_tls_with_a_certificate(tmp_path: Path, sandbox: Sandbox) -> None:
    """As a reverse proxy in front of the gateway: by default with HTTP/1.0, with `keepalive` with HTTP/1.1."""
    server_pem(tmp_path)
    ca, key = authority(tmp_path)
    certificate = client_pem(tmp_path, key)
    listen = listener(tmp_path, client_ca=str(ca), client_certificate="required")
    document = settings(sandbox, listen=listen, callers={"plant": {"certificate": {"dns": "plant.corp"}}})
    document["routes"][0]["callers"] = ["plant"]
    proxy = "proxy_ssl_{0} {1}; proxy_ssl_{0}_key {1}; proxy_ssl_trusted_certificate {2}; proxy_ssl_verify on;"
    async with gateway(written(tmp_path, document), **SECRETS) as gate:
        directives = f"{proxy.format('certificate', certificate, tmp_path / 'server.pem')} proxy_ssl_name localhost;"
        keepalive_lines = "proxy_http_version 1.1; proxy_set_header Connection '';"
        target = f"proxy_pass https://{gate.listen}/orders/;"
        locations = f"location /new/ {{ {target} }}\nlocation /kept/ {{ {keepalive_lines} {target} }}"
        async with nginx(tmp_path, "http", f"{directives}\n{locations}") as port:
            for path in ("/new/", "/kept/", "/kept/"):
                command = ("curl", "-q", "-sS", "-d", "{}", "-H", "Content-Type: application/json")
                status, out, err = await run_command(*command, f"http://127.0.0.1:{port}{path}", env={})
                assert status == 0, err
                assert b'"id"' in out, out
        records = await gate.wait_for_records(3)
        assert [(record["status"], record["caller"]) for record in records] == [(201, "plant")] * 3


async def test_plain_http_on_a_tls_port_is_answered(tmp_path: Path, sandbox: Sandbox) -> None:
    server_pem(tmp_path)
    async with before(tmp_path, sandbox, listen=listener(tmp_path)) as gate:
        status, head, body = await gate.get("/orders/")
        assert status == 400
        assert b"\r\nX-Gateway-Error: bad-request\r\n" in head
        assert "use https://" in json.loads(body)["detail"]
        [record] = await gate.wait_for_records()
        assert (record["status"], record["reason"]) == (400, "plain HTTP on a TLS listener")


async def test_a_tls_hello_on_a_plain_port_is_answered(tmp_path: Path, sandbox: Sandbox) -> None:
    async with before(tmp_path, sandbox) as gate:
        output = await s_client(gate.listen)
        assert "wrong version number" in output or "packet length too long" in output
        [record] = await gate.wait_for_records()
        assert (record["status"], record["error"]) == (400, "bad-request")
        assert "the caller sent a TLS handshake" in record["reason"]


def file_of_text(folder: Path) -> Path:
    """A file that holds no certificate."""
    file = folder / "text"
    file.write_text("nothing", encoding="utf-8")
    return file


async def test_keys_that_do_not_fit_are_reported_by_check(tmp_path: Path, sandbox: Sandbox) -> None:
    server_pem(tmp_path)
    other = self_signed(tmp_path / "other.pem", "localhost")
    other.chmod(0o644)
    listen = listener(tmp_path, key=str(other), client_ca=str(file_of_text(tmp_path)))
    file = written(tmp_path, settings(sandbox, listen=listen))
    ended = await run("check", file, **SECRETS)
    assert ended.status == 78
    assert f"listen[0].tls.key: warning: the secret file `{other}` can be read by every user" in ended.out + ended.err
    assert "listen[0].tls.client_ca: the file" in ended.out + ended.err
    assert "listen[0].tls.cert: certificate and key are not PEM, do not belong together" in ended.out + ended.err


def authority(folder: Path) -> tuple[Path, PrivateKey]:
    """An authority of callers, as `callers-ca.pem`."""
    key = ec.generate_private_key(ec.SECP256R1())
    return write(folder / "callers-ca.pem", key, sign("callers", key, is_ca=True)), key


def client_pem(folder: Path, issuer: PrivateKey, name: str = "client") -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    return write(folder / f"{name}.pem", key, sign("plant", key, ("plant.corp",), issuer=("callers", issuer)))


async def test_a_client_certificate_is_optional_or_required(tmp_path: Path, sandbox: Sandbox) -> None:
    server_pem(tmp_path)
    ca, key = authority(tmp_path)
    good = client_pem(tmp_path, key)
    bad = client_pem(tmp_path, ec.generate_private_key(ec.SECP256R1()), "bad")
    for requirement, expected in (("optional", 0), ("required", 56)):
        listen = listener(tmp_path, client_ca=str(ca), client_certificate=requirement)
        async with before(tmp_path, sandbox, listen=listen) as gate:
            status, out, err = await curl(gate, tmp_path, "--cert", good)
            assert "hydraulic pump" in out, err
            status, _, err = await curl(gate, tmp_path, "--cert", bad)
            assert status != 0
            [line] = await gate.wait_for_events("handshake-failed")
            assert "the caller's certificate is not trusted" in line["message"]
            status, out, err = await curl(gate, tmp_path)
            assert status == expected, err


@pytest.mark.parametrize("workers", [1, 2])
async def test_certificates_are_replaced_under_calls(tmp_path: Path, sandbox: Sandbox, workers: int) -> None:
    server = server_pem(tmp_path)
    listen = listener(tmp_path)
    authorities = tmp_path / "both.pem"
    authorities.write_bytes(server.read_bytes())
    renewed = self_signed(tmp_path / "renewed.pem", "127.0.0.1", "localhost", ends=30 * DAY, is_ca=True)
    authorities.write_bytes(server.read_bytes() + renewed.read_bytes())
    context = ssl.create_default_context(cafile=str(authorities))
    async with before(tmp_path, sandbox, listen=listen, workers=workers) as gate:
        first = (await gate.ask("/status"))[1]["listeners"][0]["certificate"]["expires_at"]
        load = Load(gate.listen, request("/orders/"), count=8, tls=context)
        await load.wait_for_answers(200)
        renewed.rename(server)
        gate.signal(signal.SIGHUP)
        await gate.wait_for_events("certificate-loaded", workers)
        await load.wait_for_answers(load.answers.total() + 800)
        load.stop()
        assert load.lost == []
        assert list(load.answers) == [200]
        shown = (await gate.ask("/status"))[1]["listeners"][0]["certificate"]
        assert shown["expires_at"] > first
        _, out, _ = await curl(gate, tmp_path)
        assert "hydraulic pump" in out
        assert not gate.events("certificate-refused")


async def test_a_pair_that_does_not_fit_keeps_the_old_one(tmp_path: Path, sandbox: Sandbox) -> None:
    server = server_pem(tmp_path)
    shutil.copy(server, tmp_path / "ca.pem")
    other = self_signed(tmp_path / "other.pem", "localhost")
    async with before(tmp_path, sandbox, listen=listener(tmp_path)) as gate:
        key_of_other, certificate = other.read_text(), server.read_text()
        broken = tmp_path / "broken.pem"
        end = "-----END PRIVATE KEY-----\n"
        broken.write_text(key_of_other.partition(end)[0] + end + certificate.partition(end)[2], encoding="utf-8")
        broken.rename(server)
        [line] = await gate.wait_for_events("certificate-refused")
        assert "do not belong together" in line["message"]
        _, out, err = await curl(gate, tmp_path, "--cacert", tmp_path / "ca.pem")
        assert "hydraulic pump" in out, err
        document = await gate.until_answer("/status", lambda status: status["listeners"][0]["certificate"]["problem"])
        assert "do not belong together" in document["listeners"][0]["certificate"]["problem"]
        gate.signal(signal.SIGHUP)
        [line] = await gate.wait_for_events("reload-refused")
        assert "listen[0].tls.cert: certificate and key are not PEM, do not belong together" in line["message"]
        shutil.copy(tmp_path / "ca.pem", tmp_path / "fitting.pem")
        (tmp_path / "fitting.pem").rename(server)
        await gate.wait_for_events("certificate-loaded")
        await gate.until_answer("/status", lambda status: not status["listeners"][0]["certificate"]["problem"])


async def test_a_reload_takes_other_files(tmp_path: Path, sandbox: Sandbox) -> None:
    server_pem(tmp_path)
    file = written(tmp_path, settings(sandbox, listen=listener(tmp_path)))
    async with gateway(file, **SECRETS) as gate:
        renewed = self_signed(tmp_path / "renewed.pem", "127.0.0.1", ends=3 * DAY, is_ca=True)
        ca, _ = authority(tmp_path)
        listen = [
            {
                **listener(tmp_path)[0],
                "tls": {"cert": str(renewed), "client_ca": str(ca), "client_certificate": "required"},
            }
        ]
        written(tmp_path, settings(sandbox, listen=listen))
        gate.signal(signal.SIGHUP)
        await gate.wait_for_events("certificate-loaded")
        assert not gate.events("restart-needed")
        status, _, err = await curl(gate, tmp_path, "--cacert", renewed)
        assert status == 56, err
        [*_, line] = await gate.wait_for_events("certificate-expires", 2)
        assert line["listener"] == gate.listen
        written(tmp_path, settings(sandbox))
        gate.signal(signal.SIGHUP)
        await gate.wait_for_events("restart-needed")


async def test_a_truncated_upload_is_an_error(tmp_path: Path, sandbox: Sandbox) -> None:
    server_pem(tmp_path)
    async with before(tmp_path, sandbox, listen=listener(tmp_path)) as gate:
        caller = await tls_caller(gate, tmp_path)
        await caller.send(request("/echo/", "Content-Length: 1000", method="POST") + b"x" * 999)
        raw = caller.writer.get_extra_info("socket")
        await asyncio.sleep(0)
        raw.shutdown(socket.SHUT_WR)
        [record] = await gate.wait_for_records()
        assert (record["status"], record["error"]) == (499, "caller-gone")


async def test_large_bodies_pass_over_tls(tmp_path: Path, sandbox: Sandbox) -> None:
    server_pem(tmp_path)
    upload = tmp_path / "upload"
    upload.write_bytes(bytes(range(256)) * 20_000)
    async with before(tmp_path, sandbox, listen=listener(tmp_path)) as gate:
        status, _, err = await curl(gate, tmp_path, "--output", tmp_path / "got", target="/bytes/5000000")
        assert status == 0, err
        assert (tmp_path / "got").stat().st_size == 5_000_000
        status, out, err = await curl(gate, tmp_path, "--data-binary", f"@{upload}", target="/upload/")
        assert status == 0, err
        assert "5120000" in out


async def test_a_request_in_the_record_of_a_large_body_is_served(tmp_path: Path, sandbox: Sandbox) -> None:
    server_pem(tmp_path)
    async with before(tmp_path, sandbox, listen=listener(tmp_path)) as gate:
        caller = await tls_caller(gate, tmp_path)
        body = Random(3).randbytes(3_000_001)
        upload = request("/upload/", f"Content-Length: {len(body)}", method="POST") + body
        await caller.send(upload + request("/orders/") + upload)
        replies = [await caller.reply() for _ in range(3)]
        assert [status for status, _, _ in replies] == [200, 200, 200]
        digest = hashlib.sha256(body).hexdigest().encode()
        assert [digest in reply for _, _, reply in replies] == [True, False, True]
        caller.close()


async def test_tls_connections_drain(tmp_path: Path, sandbox: Sandbox) -> None:
    server_pem(tmp_path)
    async with before(tmp_path, sandbox, listen=listener(tmp_path)) as gate:
        caller = await tls_caller(gate, tmp_path)
        host, _, port = gate.listen.rpartition(":")
        with socket.create_connection((host, int(port))) as silent:
            silent.sendall(b"\x16\x03\x01")
            gate.signal(signal.SIGTERM)
            await gate.wait_for_events("draining")
            await caller.send(request("/orders/"))
            status, head, _ = await caller.reply()
            assert status == 200
            assert b"\r\nConnection: close\r\n" in head
            assert await caller.read_to_end() == b""
            assert await gate.ended() == 0


async def test_a_certificate_proves_the_caller(tmp_path: Path, sandbox: Sandbox) -> None:
    server_pem(tmp_path)
    ca, key = authority(tmp_path)
    listen = listener(tmp_path, client_ca=str(ca), client_certificate="optional")
    document = settings(sandbox, listen=listen, callers={"plant": {"certificate": {"dns": "plant.corp"}}})
    document["routes"][0]["callers"] = ["plant"]
    async with gateway(written(tmp_path, document), **SECRETS) as gate:
        for arguments, status in ((("--cert", client_pem(tmp_path, key)), "200"), ((), "401")):
            _, out, err = await curl(gate, tmp_path, *arguments, "-o", "/dev/null", "-w", "%{http_code}")
            assert out == status, err
        assert [record["caller"] for record in await gate.wait_for_records(2)] == ["plant", None]
