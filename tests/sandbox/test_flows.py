import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from urllib.parse import urlsplit

import aiohttp
import pytest

from gateway.sandbox import Sandbox, pattern, pattern_sha256

Send = Callable[..., Awaitable[tuple[int, Mapping[str, str], bytes]]]
ID = "x-oracle-ics-instance-id"


async def raw(sandbox: Sandbox, path: str, *, method: str = "GET", version: str = "1.1") -> bytes:
    """The bytes of one exchange on a connection of its own."""
    address = urlsplit(sandbox.origin)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    head = f"{method} {urlsplit(sandbox.upstream(path)).path} HTTP/{version}\r\nHost: {address.netloc}\r\n"
    writer.write(f"{head}Authorization: Bearer {sandbox.mint()}\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_the_head_of_an_asynchronous_reply_is_exact(sandbox: Sandbox) -> None:
    head, _, body = (await raw(sandbox, "ASYNC", method="POST")).partition(b"\r\n\r\n")
    entry = sandbox.calls[0]
    lines = head.decode().split("\r\n")
    trace = lines.pop(6)
    assert lines == [
        "HTTP/1.1 202 Accepted",
        "Date: Sun, 20 Jul 2025 08:26:40 GMT",
        "Transfer-Encoding: chunked",
        f"x-oracle-ics-instance-id: {entry.instance_id}",
        "oic-virtualservice: true",
        "Strict-Transport-Security: max-age=15768000; includeSubDomains",
        "Connection: close",
    ]
    assert trace.startswith("opc-request-id: ")
    assert body == b"0\r\n\r\n"


async def test_a_client_of_http_1_0_gets_no_chunks(sandbox: Sandbox) -> None:
    head, _, body = (await raw(sandbox, "ASYNC", version="1.0")).partition(b"\r\n\r\n")
    assert b"Transfer-Encoding" not in head
    assert body == b""


async def test_echo_returns_what_arrived(sandbox: Sandbox, call: Send) -> None:
    _, _, body = await call("PATCH", sandbox.upstream("ECHO") + "a%7Cb?c=%20d", data=b"xyz", headers={"X-A": "1"})
    document = json.loads(body)
    assert document["method"] == "PATCH"
    assert document["target"].endswith("/ECHO/1.0/a%7Cb?c=%20d")
    assert document["body"] == {"length": 3, "sha256": hashlib.sha256(b"xyz").hexdigest()}
    assert ["X-A", "1"] in document["headers"]
    assert ["Authorization", "(redacted)"] in document["headers"]


async def test_echo_streams_the_body_back(sandbox: Sandbox, call: Send) -> None:
    content = pattern(300_000)
    url = sandbox.upstream("ECHO") + "body"
    headers = {"Content-Type": "image/x", "Content-Encoding": "gzip"}
    _, sized, body = await call("PUT", url, data=content, headers=headers)
    assert body == content
    assert (sized["Content-Type"], sized["Content-Length"]) == ("image/x", "300000")

    async def pieces() -> AsyncIterator[bytes]:
        yield content[:1000]
        yield content[1000:]

    _, chunked, body = await call("PUT", url, data=pieces())
    assert body == content
    assert "Content-Length" not in chunked
    assert (await call("GET", url))[1]["Content-Length"] == "0"


@pytest.mark.parametrize("length", [0, 1, 65521, 65522, 1_000_000])
async def test_bytes_are_the_pattern(length: int, sandbox: Sandbox, call: Send) -> None:
    _, sized, body = await call("GET", f"{sandbox.upstream('BYTES')}{length}")
    _, chunked, again = await call("GET", f"{sandbox.upstream('BYTES')}{length}?chunked=1")
    assert body == again == pattern(length)
    assert (sized["Content-Length"], chunked["Transfer-Encoding"]) == (str(length), "chunked")
    assert pattern_sha256(length) == hashlib.sha256(pattern(length)).hexdigest()
    assert len(pattern(length)) == length


async def test_a_head_request_gets_the_head_alone(sandbox: Sandbox, call: Send) -> None:
    status, headers, body = await call("HEAD", sandbox.upstream("BYTES") + "70000")
    assert (status, headers["Content-Length"], body) == (200, "70000", b"")


async def test_an_upload_of_any_size_is_taken(sandbox: Sandbox, call: Send) -> None:
    length = 20_000_000

    async def pieces() -> AsyncIterator[bytes]:
        block = pattern(65521)
        for _ in range(length // 65521):
            yield block
        yield block[: length % 65521]

    _, _, body = await call("POST", sandbox.upstream("UPLOAD"), data=pieces())
    assert json.loads(body) == {"length": length, "sha256": pattern_sha256(length)}


@pytest.mark.parametrize("status", [200, 204, 302, 304, 401, 404, 429, 500, 599, 999])
async def test_any_status_is_a_business_answer(status: int, sandbox: Sandbox, call: Send) -> None:
    answered, headers, _ = await call("POST", f"{sandbox.upstream('STATUS')}{status}", data=b"x")
    assert answered == status
    assert ID in headers
    assert sandbox.calls[0].body_length == 1


async def test_a_status_varies_by_query(sandbox: Sandbox, call: Send) -> None:
    url = f"{sandbox.upstream('STATUS')}503?id=0&retry_after=9&location=http%3A%2F%2Fx%2F"
    status, headers, _ = await call("GET", url)
    assert (status, headers["Retry-After"], headers["Location"], ID in headers) == (503, "9", "http://x/", False)


@pytest.mark.parametrize("path", ["STATUS/1.0/100", "STATUS/1.0/x", "BYTES/1.0/-1", "SLOW/1.0/x"])
async def test_a_wish_that_cannot_be_read_is_a_fault(path: str, sandbox: Sandbox, call: Send) -> None:
    assert (await call("GET", f"{sandbox.origin}/ic/api/integration/v1/flows/rest/{path}"))[0] == 400


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ("before", aiohttp.ServerDisconnectedError),
        ("reset", aiohttp.ClientOSError),
        ("mid", aiohttp.ClientPayloadError),
        ("chunked", aiohttp.ClientPayloadError),
    ],
)
async def test_dropped_connections(how: str, error: type[Exception], sandbox: Sandbox, call: Send) -> None:
    with pytest.raises(error):
        await call("POST", sandbox.upstream("DROP") + how, data=b"x")
    assert sandbox.calls[0].body_complete


async def test_a_body_may_end_with_the_connection(sandbox: Sandbox, call: Send) -> None:
    _, headers, body = await call("GET", sandbox.upstream("DROP") + "close")
    assert body == pattern(100_000)
    assert not {"Content-Length", "Transfer-Encoding"} & set(headers)


async def test_the_next_requests_can_be_dropped(sandbox: Sandbox, call: Send) -> None:
    sandbox.switches.drops = 1
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await call("POST", sandbox.upstream("ECHO"))
    assert (await call("POST", sandbox.upstream("ECHO")))[0] == 200
