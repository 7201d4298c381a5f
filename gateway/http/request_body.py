"""The caller's body on its way to the upstream: streamed, counted, and kept while it is small enough to send twice.

The caller's connection feeds it as bytes arrive; the walk takes what is there at once, or pumps. Who is ahead of the
other waits: reading pauses while more than `READ_AHEAD` bytes lie here.
"""

import asyncio
import math
from collections.abc import Callable
from typing import Protocol

from gateway.content.pieces import coalesce
from gateway.errors import BadRequest, BodyTooLarge, RequestTimeout
from gateway.http.chunked import ChunkedDecoder
from gateway.http.fields import MalformedMessage
from gateway.http.upstream_connection import UpstreamConnection

READ_AHEAD = 512 * 1024
INSPECTED_AT_ONCE = 64 * 1024  # bytes that are looked at in one go
GRACE = 60.0
"""Seconds that may be spent waiting for any body, however slowly it comes."""


class BodyInspector(Protocol):
    """Looks at the beginning of a body before any of it goes out; wants no more of it than `READ_AHEAD` bytes."""

    output: list[bytes]
    """Stands for what was fed, once that is settled."""
    removed: int
    """Bytes that it is shorter."""

    def feed(self, data: bytes, *, last: bool) -> bool:
        """Takes more; true once it is settled, with the `last` at the latest. Raises BadRequest for what must stay."""


class RequestBody:
    """One request's body. `taken` counts the bytes that the walk took; `is_whole` says that all of them are kept;
    `arrived` that the caller has sent it all, `broken` that no end of it can be found any more. `removed` counts the
    bytes that do not go out.
    """

    __slots__ = (
        *(
            "_ended",
            "_flow",
            "_framing",
            "_send_continue",
            "_replay_limit",
            "_replay_pieces",
            "_left",
            "_limit",
            "_pieces",
            "_rate",
            "_unread",
        ),
        *("_waited", "_waiter", "is_complete", "error", "chunked", "is_whole", "bytes_removed", "bytes_read"),
    )

    def __init__(
        self, length: int, *, chunks: ChunkedDecoder | None = None, flow: Callable[[bool], None] = lambda _: None
    ) -> None:
        """`length` in bytes, or `chunks` to read it by; `flow(False)` asks the caller's connection to pause."""
        self._left = length
        self._framing = chunks
        self._flow = flow
        self._send_continue: Callable[[], None] | None = None
        self._replay_limit = 0
        self._limit: int | None = None
        self._rate = 0
        self._waited = 0.0
        self._replay_pieces: list[bytes] = []
        self._pieces: list[bytes] = []
        self._unread = 0
        self._waiter: asyncio.Future[None] | None = None
        self.chunked = chunks is not None
        self.is_complete = chunks is None and not length
        self._ended = self.is_complete
        self.error: BadRequest | None = None
        self.is_whole = True
        self.bytes_read = self.bytes_removed = 0

    # The caller's side ----------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> bytes:
        """Takes what arrived, and gives back what lies behind the body's end."""
        if self._framing is None:
            rest = data[self._left :]
            pieces = [data[: self._left] if rest else data]
            self._left -= len(pieces[0])
            self.is_complete = not self._left
        else:
            try:
                pieces, rest = self._framing.feed(data)
            except MalformedMessage as error:
                self.error = BadRequest(f"The framing of the body is broken: {error}.", reason=str(error))
                self._wake()
                return b""
            self.is_complete = self._framing.ended
        self._unread += sum(map(len, pieces))
        self._pieces = coalesce(self._pieces, pieces, size=self._unread)
        if self._unread > READ_AHEAD and not self.is_complete:
            self._flow(False)  # noqa: FBT003 - go or stop, in one word
        self._wake()
        return rest

    # The walk's side ------------------------------------------------------------------------------------------------

    def configure(self, *, keep: int, limit: int | None, invite: Callable[[], None] | None, rate: int = 0) -> None:
        """Settles how many bytes are kept and allowed; `invite` tells a waiting caller to begin (100 Continue); `rate`
        is the least number of bytes a second, 0 for none.
        """
        self._replay_limit = keep
        self._rate = rate
        self._limit = limit
        self._send_continue = invite

    async def inspect(self, screening: BodyInspector, *, idle: float) -> None:
        """Has the beginning looked at, as it comes, and puts back what is to go out in its place; before the first byte
        of the body is taken. Raises what the screening does, and as `pump` for the caller's failures.
        """
        self._invite_caller()
        rest = None
        while rest is None:
            await self._wait_more(idle)
            if self._limit is not None and self._unread > self._limit:
                self._take()  # too large: says so
            pieces, self._pieces = self._pieces, []
            try:
                rest = await _inspect_parts(screening, b"".join(pieces), last=self.is_complete)
            except BadRequest:
                self._take()  # counts it
                raise
        # `_unread` stays: limits and counts are of what the caller sent.
        self._pieces = [*screening.output, *filter(None, (rest,)), *self._pieces]
        self.bytes_removed = screening.removed

    async def collect(self, *, idle: float) -> None:
        """Waits until the body is complete, or larger than what is kept, so that a slow caller holds no connection to
        the upstream meanwhile; not at all where nothing is kept. Raises as `pump` does for the caller's failures.
        """
        if not self._replay_limit:
            return
        self._invite_caller()
        while not self.is_complete:
            so_far = self.bytes_read + self._unread
            if so_far > self._replay_limit and (self._limit is None or so_far <= self._limit):
                return
            if self._unread:
                self._take()
            else:
                await self._wait_more(idle)

    def buffered(self) -> list[bytes] | None:
        """Gives the framed body when all of it is here already, so that head and body leave together; else None."""
        self._check_whole()
        if self._ended:
            return self._framed(self._replay_pieces)
        if not self.is_complete:
            return None
        earlier, pieces = self._replay_pieces[:], self._take()
        return self._framed([*earlier, *pieces])

    async def stream(self, connection: UpstreamConnection, *, idle: float, response: float) -> None:
        """Sends what is kept, then the rest as it comes; at the end the reply is due within `response` seconds.

        A failure on either side ends the exchange, unless the reply has begun: that one is let finish (RFC 9112 §9.5).
        Raises BadRequest, BodyTooLarge and RequestTimeout for the caller's.
        """
        self._check_whole()
        try:
            self._forward(connection, self._replay_pieces)
            self._invite_caller()
            while not self._ended and connection.is_open:
                self._forward(connection, await self._read_pieces(idle))
                await connection.drain(idle)
            connection.start_response_timer(response)
        except BaseException:
            if connection.response_head is None:
                connection.abort()
            raise

    def _invite_caller(self) -> None:
        """Once, unless the caller has begun already."""
        if self._send_continue is not None and not self._unread and not self.bytes_read:
            self._send_continue()
        self._send_continue = None

    def _check_whole(self) -> None:
        """What was let go cannot be sent again: better no request than a short one."""
        assert self.is_whole, "a body that is not whole would go out a second time"

    def _forward(self, connection: UpstreamConnection, pieces: list[bytes]) -> None:
        if parts := self._framed(pieces):
            connection.write(parts)

    async def _read_pieces(self, idle: float) -> list[bytes]:
        """The pieces that have come, at least one, or none at the end."""
        await self._wait_more(idle)
        return self._take()

    async def _wait_more(self, idle: float) -> None:
        """Waits until there are pieces, or no more to come."""
        loop = asyncio.get_running_loop()
        while not (self._pieces or self.is_complete or self.error):
            self._waiter, began = loop.create_future(), loop.time()
            left = self._time_left()
            try:
                async with asyncio.timeout(min(idle, left)):
                    await self._waiter
            except TimeoutError:
                problem = "comes more slowly than `limits.body_rate`" if left < idle else "stopped coming"
                raise RequestTimeout(f"The body {problem} {self._progress()}.") from None
            finally:
                self._waiter = None
                self._waited += loop.time() - began
        if self.error is not None:
            raise self.error

    def _progress(self) -> str:
        """How much of the body has come."""
        count = self.bytes_read + self._unread
        return f"after {count} bytes" if self.chunked else f"after {count} of {count + self._left} bytes"

    def _time_left(self) -> float:
        """Seconds that may still be spent waiting for this body. Only waiting counts: while the upstream is the slower
        side, nothing is read from the caller.
        """
        if not self._rate:
            return math.inf
        return max(0.0, GRACE + (self.bytes_read + self._unread) / self._rate - self._waited)

    def _take(self) -> list[bytes]:
        """Takes all that is here."""
        pieces, self._pieces = self._pieces, []
        if self._unread > READ_AHEAD:
            self._flow(True)  # noqa: FBT003 - as above
        self.bytes_read += self._unread
        self._unread = 0
        self._ended = self.is_complete
        is_too_large = self._limit is not None and self.bytes_read > self._limit
        if is_too_large or self.bytes_read > self._replay_limit:
            self.is_whole = False
            self._replay_pieces.clear()
        elif self.is_whole:
            self._replay_pieces = coalesce(self._replay_pieces, pieces, size=self.bytes_read)
        if is_too_large:
            raise BodyTooLarge
        return pieces

    def _framed(self, pieces: list[bytes]) -> list[bytes]:
        """The pieces as one chunk where the body goes in chunks; with the last chunk once the body has ended."""
        if not self.chunked:
            return pieces
        size = sum(map(len, pieces))
        chunk = [b"%x\r\n" % size, *pieces, b"\r\n"] if size else []
        return [*chunk, b"0\r\n\r\n"] if self._ended else chunk

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


async def _inspect_parts(screening: BodyInspector, data: bytes, *, last: bool) -> bytes | None:
    """Shows it in parts: whatever one costs, others have their turn behind it. Gives what need not be looked at any
    more; None while that is not settled.
    """
    for begin in range(0, len(data) or 1, INSPECTED_AT_ONCE):
        if begin:
            await asyncio.sleep(0)
        end = begin + INSPECTED_AT_ONCE
        if screening.feed(data[begin:end], last=last and end >= len(data)):
            return data[end:]
    return None


NO_BODY = RequestBody(0)
"""The body of every request that has none; nothing is ever fed to it."""
