"""The response of a proxy to CONNECT: whether it opens the tunnel, and where the bytes of the origin begin."""

import asyncio
import contextlib

import pytest

from gateway.network.tunnel import (
    MAX_INTERIM,
    MAX_RESPONSE_SIZE,
    Tunnel,
    TunnelRefused,
    connect_request,
    find_tunnel_start,
)

REST = b"the origin's"


def test_the_request_names_the_authority_twice() -> None:
    assert connect_request("[::1]:443", "") == b"CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n\r\n"
    assert b"\r\nProxy-Authorization: Basic eA==\r\n\r\n" in connect_request("oic:443", "Basic eA==")


OPEN = [
    b"HTTP/1.1 200 Connection established\r\n\r\n",
    b"HTTP/1.0 200\r\n\r\n",
    b"HTTP/1.1 204 \r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.1 200 OK\nVia: x\n\n",
    b"HTTP/1.1 200 OK\r\nVia: x\n\r\n",
    b"HTTP/1.1 200 OK\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 102 Processing\n\nHTTP/1.1 200 OK\r\nX: 1\r\n\r\n",
]


@pytest.mark.parametrize("response", OPEN)
def test_a_tunnel_opens_with_any_line_ends_and_interim_responses(response: bytes) -> None:
    assert find_tunnel_start(response) == len(response)
    assert find_tunnel_start(response + REST) == len(response)
    for end in range(len(response)):
        assert find_tunnel_start(response[:end]) is None


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (b"HTTP/1.1 407 No\n", "the proxy answered 407: set `proxy.username`"),
        (b"HTTP/1.1 403 Forbidden\r\n", "the proxy answered 403"),
        (b"HTTP/1.1 101 Switching Protocols\r\n", "the proxy answered 101"),
        (b"HTTP/1.1 302 Found\r\n", "the proxy answered 302"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 502 Bad Gateway\r\n", "the proxy answered 502"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "the response of the proxy is not HTTP"),
        (b"S", "the response of the proxy is not HTTP"),
        (b"HTTP/1.1 2000 OK\r\n", "the response of the proxy is not HTTP"),
        (b"\r\n", "the response of the proxy is not HTTP"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "it uses TLS: write `https://` in its URL"),
    ],
)
def test_a_refusal_is_detected_at_its_first_line(response: bytes, message: str) -> None:
    with pytest.raises(TunnelRefused, match=message):
        find_tunnel_start(response)


def test_too_many_interim_responses_are_rejected() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    response = interim * MAX_INTERIM + b"HTTP/1.1 200 OK\r\n\r\n"
    assert find_tunnel_start(response) == len(response)
    with pytest.raises(TunnelRefused, match="more than 16 interim responses"):
        find_tunnel_start(interim + response)


async def test_an_endless_response_in_short_lines_is_rejected() -> None:
    sent = 0

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\n")
        with contextlib.suppress(OSError):
            while sent < 100 * MAX_RESPONSE_SIZE:
                for piece in (b"a", b"\n"):
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
                sent += 2
        writer.close()

    server = await asyncio.start_server(respond, "127.0.0.1", 0)
    loop = asyncio.get_running_loop()
    transport, tunnel = await loop.create_connection(
        lambda: Tunnel(connect_request("oic:443", "")), *server.sockets[0].getsockname()
    )
    with pytest.raises(TunnelRefused, match="longer than 16 KiB"):
        await tunnel.opened
    transport.close()
    server.close()
