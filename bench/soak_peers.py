"""Both ends of the soak: callers that do everything a caller may do, and an upstream that knows what each one sent.

Every request has a nonce, its X-Request-Id. The upstream answers with the nonce, the digest of the received body, and a
body of repeated nonces: one of the ends detects what is lost, mixed up or sent twice.
"""

import asyncio
import hashlib
import random
import re
import uuid
from collections import Counter
from dataclasses import dataclass, field

PIECE = 16 * 1024
TOKEN = b'{"access_token":"soak","token_type":"Bearer","expires_in":3600}'


def body_of(nonce: str, size: int) -> bytes:
    """Return this many bytes, each of which identifies its owner."""
    line = f"{nonce}\n".encode()
    return (line * (size // len(line) + 1))[:size]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@dataclass(slots=True)
class Message:
    """One HTTP/1.1 message: its first line, its fields by lower-case name, its body."""

    line: str
    fields: dict[str, str]
    body: bytes = b""


async def head(reader: asyncio.StreamReader) -> Message:
    first, *rows = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
    return Message(first, {name.lower(): value.strip() for name, _, value in (row.partition(":") for row in rows)})


async def read_body(reader: asyncio.StreamReader, message: Message, pause: float = 0.0) -> None:
    """Read the body by its framing; `pause` seconds between pieces make a slow reader."""
    pieces = []
    if message.fields.get("transfer-encoding") == "chunked":
        while size := int(await reader.readline() or b"-", 16):
            pieces.append((await reader.readexactly(size + 2))[:-2])
            await asyncio.sleep(pause)
        await reader.readline()
    else:
        rest = int(message.fields.get("content-length", 0))
        while rest:
            pieces.append(await reader.readexactly(min(rest, PIECE)))
            rest -= len(pieces[-1])
            await asyncio.sleep(pause)
    message.body = b"".join(pieces)


class Upstream:
    """Identity domain and OIC in one: `/token`, and `/SIZE`, chunked for an odd size."""

    def __init__(self) -> None:
        self.runs: Counter[str] = Counter()

    async def start(self) -> int:
        """Listen. Return the port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = await head(reader)
                await self._answer(reader, writer, request)
        except (asyncio.IncompleteReadError, ConnectionError, ValueError):
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Message) -> None:
        target = request.line.split(" ")[1]
        nonce = request.fields.get("x-request-id", "")
        if target != "/token":
            self.runs[nonce] += 1
        await read_body(reader, request)
        if target == "/token":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(TOKEN), TOKEN))
            return
        size = int(target.strip("/"))
        body, digest = body_of(nonce, size), hashlib.sha256(request.body).hexdigest()
        frame = "Transfer-Encoding: chunked" if size % 2 else f"Content-Length: {size}"
        writer.write(f"HTTP/1.1 200 OK\r\nX-Nonce: {nonce}\r\nX-Digest: {digest}\r\n{frame}\r\n\r\n".encode())
        for at in range(0, size, PIECE):
            piece = body[at : at + PIECE]
            writer.write(chunk(piece) if size % 2 else piece)
            await writer.drain()
        if size % 2:
            writer.write(b"0\r\n\r\n")
        await writer.drain()


@dataclass(slots=True)
class Tally:
    """What the callers saw. `answered` is when each complete response was requested and received, by nonce; `broken`
    is the interval in which a worker must have been killed, for a call whose connection broke.
    """

    requests: int = 0
    left: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    answered: dict[str, tuple[float, float]] = field(default_factory=dict)
    broken: list[tuple[float, float]] = field(default_factory=list)


class Caller:
    """One caller: one request at a time, on a connection that it reuses for a while."""

    def __init__(self, port: int, tally: Tally, rng: random.Random) -> None:
        self._port = port
        self._tally = tally
        self._random = rng
        self._connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._began = 0.0

    async def run(self, until: float) -> None:
        """Send requests until the given time of the loop's clock."""
        loop = asyncio.get_running_loop()
        while loop.time() < until:
            kind = self._random.choice((self._get, self._get, self._get, self._post, self._up, self._slow, self._leave))
            self._tally.requests += 1
            before, self._began = self._began, loop.time()
            # Of a worker that has been killed, a reply may still be read to its end: only the next call breaks.
            since = before if self._connection else self._began
            try:
                self._connection = self._connection or await asyncio.open_connection("127.0.0.1", self._port)
                async with asyncio.timeout(30):
                    await kind(*self._connection, uuid.UUID(int=self._random.getrandbits(128)).hex)
            except TimeoutError:
                self._tally.faults["hung for 30 s"] += 1
                self._hang_up()
            except (asyncio.IncompleteReadError, ConnectionError, ValueError):
                self._tally.broken.append((since, loop.time()))
                self._hang_up()
            if self._random.random() < 0.1:
                self._hang_up()
        self._hang_up()

    async def _get(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, nonce: str) -> None:
        size = self._random.choice((0, 1, 1024, 1025, 300_000, 300_001))
        writer.write(_head("GET", nonce, size))
        await self._judge(reader, nonce, size)

    async def _post(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, nonce: str) -> None:
        sent = body_of(nonce, self._random.choice((0, 1, 10_240, 200_000)))
        writer.write(_head("POST", nonce, 99, f"Content-Length: {len(sent)}") + sent)
        await self._judge(reader, nonce, 99, sent)

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, nonce: str) -> None:
        sent = body_of(nonce, self._random.randrange(500_000))
        writer.write(_head("POST", nonce, 100, "Transfer-Encoding: chunked"))
        for at in range(0, len(sent), PIECE):
            writer.write(chunk(sent[at : at + PIECE]))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await self._judge(reader, nonce, 100, sent)

    async def _slow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, nonce: str) -> None:
        writer.write(_head("GET", nonce, 1_000_001))
        await self._judge(reader, nonce, 1_000_001, pause=0.005)

    async def _leave(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, nonce: str) -> None:
        """Disconnect within the request or within the response."""
        if self._random.random() < 0.5:
            writer.write(_head("POST", nonce, 100, "Content-Length: 100000") + body_of(nonce, 50_000))
            await writer.drain()
        else:
            writer.write(_head("GET", nonce, 2_000_000))
            await reader.readexactly(50_000)
        self._tally.left += 1
        self._hang_up()

    async def _judge(
        self, reader: asyncio.StreamReader, nonce: str, size: int, sent: bytes = b"", pause: float = 0.0
    ) -> None:
        """Read the response; any error in a complete one is a fault."""
        reply = await head(reader)
        await read_body(reader, reply, pause)
        faults, expected = self._tally.faults, body_of(nonce, size)
        status = reply.line.split(" ")[1]
        if status != "200":
            faults[f"status {status} {reply.fields.get('x-gateway-error', '')}".strip()] += 1
            return
        self._tally.answered[nonce] = (self._began, asyncio.get_running_loop().time())
        faults["wrong bodies at the upstream"] += reply.fields.get("x-digest") != hashlib.sha256(sent).hexdigest()
        if reply.body != expected:
            faults["silent short bodies" if expected.startswith(reply.body) else "wrong bodies"] += 1
        named = {reply.fields.get("x-nonce", "").encode(), *re.findall(rb"[0-9a-f]{32}", reply.body)}
        faults["foreign bytes"] += named != {nonce.encode()}

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection[1].transport.abort()
            self._connection = None


def _head(method: str, nonce: str, size: int, *fields: str) -> bytes:
    lines = (f"{method} /soak/{size} HTTP/1.1", "Host: localhost", f"X-Request-Id: {nonce}", *fields, "", "")
    return "\r\n".join(lines).encode()
