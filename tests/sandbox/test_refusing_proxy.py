import asyncio

import pytest

from gateway.sandbox import Sandbox, Switches
from gateway.sandbox.switches import EgressProxy


@pytest.mark.parametrize(("kind", "status"), [("407", b"407"), ("refuses", b"403")])
async def test_it_opens_no_tunnel(kind: EgressProxy, status: bytes) -> None:
    async with Sandbox(switches=Switches(egress_proxy=kind)) as sandbox:
        response = await send_request(sandbox, b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n")
        assert response.startswith(b"HTTP/1.1 " + status + b" ")
        assert (b'Proxy-Authenticate: Basic realm="sandbox"\r\n' in response) == (
            kind == "407"
        )  # RFC 9110 section 11.7.1


async def test_an_early_disconnect_leaves_no_error() -> None:
    async with Sandbox(switches=Switches(egress_proxy="407")) as sandbox:
        assert await send_request(sandbox, b"CONNECT 127") == b""
        assert (await send_request(sandbox, b"GET / HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 407 ")


async def test_it_ends_with_the_sandbox() -> None:
    async with Sandbox(switches=Switches(egress_proxy="407")) as sandbox:
        url = sandbox.egress_url
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))


async def send_request(sandbox: Sandbox, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(sandbox.egress_url.rpartition(":")[2]))
    writer.write(request)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer
