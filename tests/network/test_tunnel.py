"""A proxy's answer to CONNECT: what opens the tunnel, what does not, and where the origin's bytes begin."""

import asyncio
import contextlib

import pytest

from gateway.network.tunnel import LIMIT, MAX_INTERIM, Tunnel, TunnelRefused, connect_request, read_answer

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


@pytest.mark.parametrize("answer", OPEN)
def test_a_tunnel_opens_with_any_line_ends_and_interim_responses(answer: bytes) -> None:
    assert read_answer(answer) == len(answer)
    assert read_answer(answer + REST) == len(answer)
    for end in range(len(answer)):
        assert read_answer(answer[:end]) is None


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 407 No\n", "the proxy answered 407: set `proxy.username`"),
        (b"HTTP/1.1 403 Forbidden\r\n", "the proxy answered 403"),
        (b"HTTP/1.1 101 Switching Protocols\r\n", "the proxy answered 101"),
        (b"HTTP/1.1 302 Found\r\n", "the proxy answered 302"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 502 Bad Gateway\r\n", "the proxy answered 502"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "the proxy answered no HTTP"),
        (b"S", "the proxy answered no HTTP"),
        (b"HTTP/1.1 2000 OK\r\n", "the proxy answered no HTTP"),
        (b"\r\n", "the proxy answered no HTTP"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "it speaks TLS: write `https://` in its URL"),
    ],
)
def test_a_refusal_is_known_at_its_first_line(answer: bytes, told: str) -> None:
    with pytest.raises(TunnelRefused, match=told):
        read_answer(answer)


def test_interim_answers_without_end_open_no_tunnel() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    answer = interim * MAX_INTERIM + b"HTTP/1.1 200 OK\r\n\r\n"
    assert read_answer(answer) == len(answer)
    with pytest.raises(TunnelRefused, match="more than 16 interim responses"):
        read_answer(interim + answer)


async def test_an_endless_answer_in_short_lines_is_refused() -> None:
    sent = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\n")
        with contextlib.suppress(OSError):
            while sent < 100 * LIMIT:
                for piece in (b"a", b"\n"):
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
                sent += 2
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    loop = asyncio.get_running_loop()
    transport, tunnel = await loop.create_connection(
        lambda: Tunnel(connect_request("oic:443", "")), *server.sockets[0].getsockname()
    )
    with pytest.raises(TunnelRefused, match="longer than 16 KiB"):
        await tunnel.opened
    transport.close()
    server.close()
