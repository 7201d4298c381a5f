"""The caller's body on its way to the upstream: streamed, counted, and kept while it is small enough to send twice.

The caller's connection feeds it as bytes arrive; the walk takes what is there at once, or pumps. Who is ahead of the
other waits: reading pauses while more than `AHEAD` bytes lie here.
"""

import asyncio
import math
from collections.abc import Callable
from typing import Protocol

from gateway.errors import BadRequest, BodyTooLarge, RequestTimeout
from gateway.pieces import coalesce
from gateway.proxy.chunks import ChunkReader
from gateway.proxy.connection import Connection
from gateway.proxy.fields import Malformed

AHEAD = 512 * 1024
SHOWN = 64 * 1024  # bytes that are looked at in one go
GRACE = 60.0
"""Seconds that may be spent waiting for any body, however slowly it comes."""


class Screening(Protocol):
    """Looks at the beginning of a body before any of it goes out; wants no more of it than `AHEAD` bytes."""

    output: list[bytes]
    """Stands for what was fed, once that is settled."""
    removed: int
    """Bytes that it is shorter."""

    def feed(self, data: bytes, *, last: bool) -> bool:
        """Takes more; true once it is settled, with the `last` at the latest. Raises BadRequest for what must stay."""


class CallerBody:
    """One request's body. `taken` counts the bytes that the walk took; `is_whole` says that all of them are kept;
    `arrived` that the caller has sent it all, `broken` that no end of it can be found any more. `removed` counts the
    bytes that do not go out.
    """

    __slots__ = (
        *("_ended", "_flow", "_framing", "_invite", "_keep", "_kept", "_left", "_limit", "_pieces", "_rate", "_unread"),
        *("_waited", "_waiter", "arrived", "broken", "chunked", "is_whole", "removed", "taken"),
    )

    def __init__(
        self, length: int, *, chunks: ChunkReader | None = None, flow: Callable[[bool], None] = lambda _: None
    ) -> None:
        """`length` in bytes, or `chunks` to read it by; `flow(False)` asks the caller's connection to pause."""
        self._left = length
        self._framing = chunks
        self._flow = flow
        self._invite: Callable[[], None] | None = None
        self._keep = 0
        self._limit: int | None = None
        self._rate = 0
        self._waited = 0.0
        self._kept: list[bytes] = []
        self._pieces: list[bytes] = []
        self._unread = 0
        self._waiter: asyncio.Future[None] | None = None
        self.chunked = chunks is not None
        self.arrived = chunks is None and not length
        self._ended = self.arrived
        self.broken: BadRequest | None = None
        self.is_whole = True
        self.taken = self.removed = 0

    # The caller's side ----------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> bytes:
        """Takes what arrived, and gives back what lies behind the body's end."""
        if self._framing is None:
            rest = data[self._left :]
            pieces = [data[: self._left] if rest else data]
            self._left -= len(pieces[0])
            self.arrived = not self._left
        else:
            try:
                pieces, rest = self._framing.feed(data)
            except Malformed as error:
                self.broken = BadRequest(f"The framing of the body is broken: {error}.", reason=str(error))
                self._wake()
                return b""
            self.arrived = self._framing.ended
        self._unread += sum(map(len, pieces))
        self._pieces = coalesce(self._pieces, pieces, size=self._unread)
        if self._unread > AHEAD and not self.arrived:
            self._flow(False)  # noqa: FBT003 - go or stop, in one word
        self._wake()
        return rest

    # The walk's side ------------------------------------------------------------------------------------------------

    def admit(self, *, keep: int, limit: int | None, invite: Callable[[], None] | None, rate: int = 0) -> None:
        """Settles how many bytes are kept and allowed; `invite` tells a waiting caller to begin (100 Continue); `rate`
        is the least number of bytes a second, 0 for none.
        """
        self._keep = keep
        self._rate = rate
        self._limit = limit
        self._invite = invite

    async def screen(self, screening: Screening, *, idle: float) -> None:
        """Has the beginning looked at, as it comes, and puts back what is to go out in its place; before the first byte
        of the body is taken. Raises what the screening does, and as `pump` for the caller's failures.
        """
        self._invite_caller()
        rest = None
        while rest is None:
            await self._more(idle)
            if self._limit is not None and self._unread > self._limit:
                self._take()  # too large: says so
            pieces, self._pieces = self._pieces, []
            try:
                rest = await _shown(screening, b"".join(pieces), last=self.arrived)
            except BadRequest:
                self._take()  # counts it
                raise
        # `_unread` stays: limits and counts are of what the caller sent.
        self._pieces = [*screening.output, *filter(None, (rest,)), *self._pieces]
        self.removed = screening.removed

    async def collect(self, *, idle: float) -> None:
        """Waits until the body is complete, or larger than what is kept, so that a slow caller holds no connection to
        the upstream meanwhile; not at all where nothing is kept. Raises as `pump` does for the caller's failures.
        """
        if not self._keep:
            return
        self._invite_caller()
        while not self.arrived:
            so_far = self.taken + self._unread
            if so_far > self._keep and (self._limit is None or so_far <= self._limit):
                return
            if self._unread:
                self._take()
            else:
                await self._more(idle)

    def at_once(self) -> list[bytes] | None:
        """Gives the framed body when all of it is here already, so that head and body leave together; else None."""
        self._check_whole()
        if self._ended:
            return self._framed(self._kept)
        if not self.arrived:
            return None
        earlier, pieces = self._kept[:], self._take()
        return self._framed([*earlier, *pieces])

    async def pump(self, connection: Connection, *, idle: float, response: float) -> None:
        """Sends what is kept, then the rest as it comes; at the end the reply is due within `response` seconds.

        A failure on either side ends the exchange, unless the reply has begun: that one is let finish (RFC 9112 §9.5).
        Raises BadRequest, BodyTooLarge and RequestTimeout for the caller's.
        """
        self._check_whole()
        try:
            self._forward(connection, self._kept)
            self._invite_caller()
            while not self._ended and connection.is_open:
                self._forward(connection, await self._next(idle))
                await connection.drain(idle)
            connection.expect(response)
        except BaseException:
            if connection.known_head is None:
                connection.abort()
            raise

    def _invite_caller(self) -> None:
        """Once, unless the caller has begun already."""
        if self._invite is not None and not self._unread and not self.taken:
            self._invite()
        self._invite = None

    def _check_whole(self) -> None:
        """What was let go cannot be sent again: better no request than a short one."""
        assert self.is_whole, "a body that is not whole would go out a second time"

    def _forward(self, connection: Connection, pieces: list[bytes]) -> None:
        if parts := self._framed(pieces):
            connection.write(parts)

    async def _next(self, idle: float) -> list[bytes]:
        """The pieces that have come, at least one, or none at the end."""
        await self._more(idle)
        return self._take()

    async def _more(self, idle: float) -> None:
        """Waits until there are pieces, or no more to come."""
        loop = asyncio.get_running_loop()
        while not (self._pieces or self.arrived or self.broken):
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
        if self.broken is not None:
            raise self.broken

    def _progress(self) -> str:
        """How much of the body has come."""
        count = self.taken + self._unread
        return f"after {count} bytes" if self.chunked else f"after {count} of {count + self._left} bytes"

    def _time_left(self) -> float:
        """Seconds that may still be spent waiting for this body. Only waiting counts: while the upstream is the slower
        side, nothing is read from the caller.
        """
        if not self._rate:
            return math.inf
        return max(0.0, GRACE + (self.taken + self._unread) / self._rate - self._waited)

    def _take(self) -> list[bytes]:
        """Takes all that is here."""
        pieces, self._pieces = self._pieces, []
        if self._unread > AHEAD:
            self._flow(True)  # noqa: FBT003 - as above
        self.taken += self._unread
        self._unread = 0
        self._ended = self.arrived
        is_too_large = self._limit is not None and self.taken > self._limit
        if is_too_large or self.taken > self._keep:
            self.is_whole = False
            self._kept.clear()
        elif self.is_whole:
            self._kept = coalesce(self._kept, pieces, size=self.taken)
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


async def _shown(screening: Screening, data: bytes, *, last: bool) -> bytes | None:
    """Shows it in parts: whatever one costs, others have their turn behind it. Gives what need not be looked at any
    more; None while that is not settled.
    """
    for begin in range(0, len(data) or 1, SHOWN):
        if begin:
            await asyncio.sleep(0)
        end = begin + SHOWN
        if screening.feed(data[begin:end], last=last and end >= len(data)):
            return data[end:]
    return None


NO_BODY = CallerBody(0)
"""The body of every request that has none; nothing is ever fed to it."""
