"""The caller's body on its way to the upstream: streamed, counted, and kept while it is small enough to send twice."""

import asyncio
from collections.abc import Callable

from aiohttp.streams import StreamReader

from gateway.errors import BadRequest, BodyTooLarge, CallerGone, GatewayError
from gateway.proxy.connection import Connection


class CallerBody:
    """One request's body. `taken` counts the bytes read from the caller; `is_whole` says that all of them are kept."""

    def __init__(
        self,
        content: StreamReader,
        *,
        has_body: bool,
        chunked: bool,
        keep: int,
        limit: int | None,
        invite: Callable[[], None],
    ) -> None:
        """`keep` and `limit` in bytes; `invite` tells a waiting caller to begin (100 Continue)."""
        self._content = content
        self._chunked = chunked
        self._keep = keep
        self._limit = limit
        self._invite = invite
        self._kept: list[bytes] = []
        self._ended = not has_body
        self.is_whole = True
        self.taken = 0
        self.error: GatewayError | None = None

    def at_once(self) -> list[bytes] | None:
        """Gives the framed body when all of it is here already, so that head and body leave together; else None."""
        earlier = self._framed_kept()
        if self._ended:
            return earlier
        if not self._content.is_eof():
            return None
        piece = self._content.read_nowait()
        self._ended = True
        self._take(piece)
        return earlier + self._framed(piece)

    async def pump(self, connection: Connection, *, idle: float, response: float) -> None:
        """Sends what is kept, then the rest as it comes; at the end the reply is due within `response` seconds.

        A failure on the caller's side ends the exchange and stays in `error` for the walk to raise.
        """
        try:
            connection.writelines(self._framed_kept())
            self._invite()
            while not self._ended and connection.is_open:
                piece = await self._next(idle)
                connection.writelines(self._framed(piece))
                await connection.drain(idle)
            connection.expect(response)
        except (BadRequest, BodyTooLarge, CallerGone) as error:
            self.error = error
            connection.abort()
        except GatewayError:
            return  # the upstream failed: the walk, which waits for its reply, is told by the connection

    async def _next(self, idle: float) -> bytes:
        """The next piece, or b"" at the end."""
        try:
            async with asyncio.timeout(idle):
                piece = await self._content.readany()
        except TimeoutError:
            raise CallerGone(reason="the caller's body stopped coming") from None
        except Exception as error:
            # aiohttp hands over here whatever it found wrong with the body's framing, as several kinds of exception.
            raise BadRequest("The body's framing is broken.", reason=type(error).__name__) from error
        self._ended = self._content.at_eof()
        self._take(piece)
        return piece

    def _take(self, piece: bytes) -> None:
        self.taken += len(piece)
        if self._limit is not None and self.taken > self._limit:
            raise BodyTooLarge
        if self.taken > self._keep:
            self.is_whole = False
            self._kept.clear()
        elif piece and self.is_whole:
            self._kept.append(piece)

    def _framed_kept(self) -> list[bytes]:
        """What is kept, framed; with the last chunk when the body is complete."""
        parts = [part for piece in self._kept for part in self._framed_piece(piece)]
        return [*parts, b"0\r\n\r\n"] if self._chunked and self._ended else parts

    def _framed(self, piece: bytes) -> list[bytes]:
        parts = self._framed_piece(piece) if piece else []
        return [*parts, b"0\r\n\r\n"] if self._chunked and self._ended else parts

    def _framed_piece(self, piece: bytes) -> list[bytes]:
        return [b"%x\r\n" % len(piece), piece, b"\r\n"] if self._chunked else [piece]
