"""A scripted token endpoint on a real socket: it sends exactly the bytes that a test wrote, or nothing."""

import asyncio
import json
import ssl
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs

from tests.fakes.waiting import BACKLOG, TIME_LIMIT

_DISCOVERY = "GET /.well-known/"
"""So a gateway asks, at a time of its own, whether the endpoint can be reached: this takes no response of a script."""
_TURNS = 20
"""Turns of the loop in which a client in the same loop reads a piece."""


@dataclass(frozen=True, slots=True)
class ReceivedTokenRequest:
    """A request as it arrived."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, list[str]]:
        return parse_qs(self.body.decode(), keep_blank_values=True)


@dataclass(frozen=True, slots=True)
class Answer:
    """Bytes to send, after `gate` is set if there is one; without bytes the connection closes. `later` are further
    pieces, each in a segment of its own.
    """

    raw: bytes = b""
    gate: asyncio.Event | None = field(default=None, compare=False)
    later: tuple[bytes, ...] = ()

    def behind(self, gate: asyncio.Event) -> "Answer":
        return Answer(self.raw, gate)

    async def play(self, writer: asyncio.StreamWriter) -> None:
        """Send it. The loop turns between the pieces, so that a client in the same loop reads each on its own."""
        if self.gate is not None:
            await self.gate.wait()
        for piece in (self.raw, *self.later):
            writer.write(piece)
            await writer.drain()
            for _ in range(_TURNS if self.later else 0):
                await asyncio.sleep(0)


CLOSE = Answer()


def in_pieces(body: bytes, *sizes: int, chunked: bool = False, length: int | None = None, status: int = 200) -> Answer:
    """Return a response whose body arrives in pieces of these sizes, and the rest. `length` is its Content-Length if
    that is wrong; in a chunked body a wrong one leaves out the last chunk.
    """
    pieces, start = [], 0
    for size in (*sizes, len(body)):
        pieces.append(body[start : start + size])
        start += size
    framing = "transfer-encoding: chunked" if chunked else f"content-length: {len(body) if length is None else length}"
    head = f"HTTP/1.1 {status} Scripted\r\nconnection: close\r\n{framing}\r\n\r\n".encode()
    if chunked:
        pieces = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece]
        pieces += [] if length is not None else [b"0\r\n\r\n"]
    return Answer(head, later=tuple(pieces))


def answer(status: int = 200, body: bytes | dict[str, object] = b"", **headers: str) -> Answer:
    """Return an HTTP response; a dict becomes JSON, `retry_after` a field `retry-after`."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"content-length": str(len(content)), "connection": "close"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return Answer(f"HTTP/1.1 {status} Scripted\r\n{head}\r\n".encode() + content)


def token(value: str, expires_in: object = 3600, **further: object) -> Answer:
    """Return a response with the token `value`; `expires_in` None leaves the field out."""
    document: dict[str, object] = {"access_token": value, "token_type": "Bearer", **further}
    return answer(200, document if expires_in is None else document | {"expires_in": expires_in})


def refusal(code: str, status: int = 400, text: str = "") -> Answer:
    """Return an error response of RFC 6749 §5.2."""
    return answer(status, {"error": code, "error_description": text})


class Identity:
    """The endpoint: plays the responses of `script`, then issues `token-1`, `token-2` … with a lifetime of an hour."""

    def __init__(self, *script: Answer, tls: ssl.SSLContext | None = None) -> None:
        self.script = list(script)
        self.requests: list[ReceivedTokenRequest] = []
        self.url = ""
        self._tls = tls
        self._arrival = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self._count = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls, backlog=BACKLOG)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{port}/oauth2/v1/token"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def wait_for_requests(self, count: int) -> None:
        """Wait until `count` requests have arrived in total."""
        async with asyncio.timeout(TIME_LIMIT), self._arrival:
            await self._arrival.wait_for(lambda: len(self.requests) >= count)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve_request(reader, writer)
            writer.close()
            await writer.wait_closed()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            self._tasks.discard(task)

    async def _serve_request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, *fields = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (item.partition(":") for item in fields)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        answer_ = answer(404) if line.startswith(_DISCOVERY) else self._next()
        async with self._arrival:
            self.requests.append(ReceivedTokenRequest(line, headers, body))
            self._arrival.notify_all()
        await answer_.play(writer)

    def _next(self) -> Answer:
        if self.script:
            return self.script.pop(0)
        self._count += 1
        return token(f"token-{self._count}")
