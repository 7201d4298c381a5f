"""Callers that have the gateway as their HTTP proxy, against the real process: on every kind of listen address only
what names the listener itself, or the upstream of a route, is served.
"""

from pathlib import Path
from typing import Any

import pytest

from tests.fakes.identity import Identity
from tests.fakes.process import Process, gateway, run_command
from tests.fakes.upstream import Upstream
from tests.system.scene import SECRETS, between, simple, written

FOREIGN = [
    "erp",
    "erp:8000",
    "10.9.8.7:1234",
    "files.internal",
    "localhost",
    "localhost:3000",
    "[::1]",
    "gw.example.com:1",
]


async def status_by_curl(gate: Process, proxy: str, url: str, *arguments: str) -> str:
    command = ("curl", "-q", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-x", proxy)
    _, out, _ = await run_command(*command, *arguments, url, env={})
    return out.decode()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("listen", "reached"),
    [("127.0.0.1:0", "127.0.0.1"), ("0.0.0.0:0", "127.0.0.1"), ("[::]:0", "127.0.0.1"), ("[::1]:0", "[::1]")],
)
async def test_curl_gets_only_the_listener_itself(tmp_path: Path, listen: str, reached: str, workers: int) -> None:
    more: dict[str, Any] = {"listen": listen, "allow": ["10.0.0.0/8"], "hosts": ["gw.example.com"], "workers": workers}
    async with Identity() as identity, Upstream() as upstream, between(tmp_path, identity, upstream, **more) as gate:
        port = gate.listen.rpartition(":")[2]
        proxy = f"http://{reached}:{port}"
        own = [f"{reached}:{port}", f"LocalHost:{port}", f"gw.example.com:{port}", "gw.example.com"]
        for authority in own:
            assert await status_by_curl(gate, proxy, f"http://{authority}/orders/") == "200", authority
        assert len(upstream.requests) == len(own)
        for authority in FOREIGN:
            assert await status_by_curl(gate, proxy, f"http://{authority}/orders/", "-d", "{}") == "404", authority
        assert len(upstream.requests) == len(own)
        records = await gate.wait_for_records(len(own) + len(FOREIGN))
        errors = [record["error"] for record in records if record["status"] == 404]
        assert errors == ["no-route"] * len(FOREIGN)


async def test_a_unix_socket_is_named_by_hosts_and_public_url_only(tmp_path: Path) -> None:
    path = tmp_path / "gw.sock"
    async with Identity() as identity, Upstream() as upstream:
        settings = simple(identity.url, upstream.url, listen=f"unix:{path}", hosts=["gw"], public_url="https://public")
        async with gateway(written(tmp_path, settings), **SECRETS) as gate:
            for authority, expected in [("gw", 200), ("public", 200), *((other, 404) for other in FOREIGN)]:
                call = f"POST http://{authority}/orders/ HTTP/1.1\r\nHost: {authority}\r\nContent-Length: 0\r\n\r\n"
                assert (await gate.call(call.encode()))[0] == expected, authority
            assert len(upstream.requests) == 2
