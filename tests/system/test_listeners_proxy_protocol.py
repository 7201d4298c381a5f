"""Listeners behind a real balancer: HAProxy speaks the PROXY protocol, with TLS passed through and without."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.sandbox import Sandbox
from tests.fakes.certificates import server_pem
from tests.fakes.process import kill_group, run_command
from tests.fakes.waiting import TIME_LIMIT
from tests.system.scene import before


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@asynccontextmanager
async def haproxy(folder: Path, address: str, send: str) -> AsyncIterator[int]:
    """HAProxy in front of an address, in TCP mode; `send` is its option for the header. Gives its port."""
    port = free_port()
    file = folder / "haproxy.cfg"
    file.write_text(
        "defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n"
        f"listen front\n bind 127.0.0.1:{port}\n server gateway {address} {send}\n",
        encoding="ascii",
    )
    process = await asyncio.create_subprocess_exec("haproxy", "-db", "-q", "-f", file, start_new_session=True)
    try:
        async with asyncio.timeout(TIME_LIMIT):
            while not await is_open(port):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.01)
        yield port
    finally:
        kill_group(process.pid)
        await process.wait()


async def is_open(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return False
    writer.close()
    return True


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("send", ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options unique-id"])
async def test_haproxy_names_the_caller(tmp_path: Path, sandbox: Sandbox, send: str, workers: int) -> None:
    listen = [{"address": "127.0.0.1:0", "proxy_protocol": ["127.0.0.0/24"]}]
    async with (
        before(tmp_path, sandbox, listen=listen, workers=workers) as gate,
        haproxy(tmp_path, gate.listen, send) as port,
    ):
        command = ("curl", "-q", "-sS", "--interface", "127.9.9.9", f"http://127.0.0.1:{port}/orders/")
        status, out, err = await run_command(*command, env={})
        assert status == 0, err
        assert b"hydraulic pump" in out
        [record] = await gate.recorded()
        assert (record["status"], record["client"]) == (200, "127.9.9.9")
        status, _, body = await gate.get("/orders/")
        assert status == 400
        assert "must begin a connection with a PROXY protocol header" in json.loads(body)["detail"]
        [line] = await gate.said("proxy-header-refused")
        assert (line["listener"], line["client"]) == (gate.listen, "127.0.0.1")
        _, _, metrics = await gate.get("/metrics", address=gate.admin)
        assert b'connections_failed_total{listener="%b",reason="proxy-header"} 1' % gate.listen.encode() in metrics


async def test_the_header_of_haproxy_comes_before_tls(tmp_path: Path, sandbox: Sandbox) -> None:
    server = server_pem(tmp_path)
    listen: list[dict[str, Any]] = [
        {"address": "127.0.0.1:0", "tls": {"cert": str(server)}, "proxy_protocol": ["127.0.0.1/32"]}
    ]
    async with (
        before(tmp_path, sandbox, listen=listen) as gate,
        haproxy(tmp_path, gate.listen, "send-proxy-v2") as port,
    ):
        command = ("curl", "-q", "-sS", "--cacert", server, "--interface", "127.9.9.9")
        status, out, err = await run_command(*command, f"https://127.0.0.1:{port}/hello/?wsdl", env={})
        assert status == 0, err
        assert f'location="https://127.0.0.1:{port}/hello/'.encode() in out
        [record] = await gate.recorded()
        assert record["client"] == "127.9.9.9"
        # An absolute target names the address that the caller connected to: that of HAProxy.
        for authority, expected in ((f"127.0.0.1:{port}", b"200"), (gate.listen, b"404")):
            target = ("-o", "/dev/null", "-w", "%{http_code}", "--request-target", f"https://{authority}/orders/")
            _, out, _ = await run_command(*command, *target, f"https://127.0.0.1:{port}/", env={})
            assert out == expected
