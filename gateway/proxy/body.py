"""The caller's body on its way to the upstream: streamed, counted, and kept while it is small enough to send twice."""

import asyncio
from collections.abc import Callable

from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestPayloadError

from gateway.errors import BadRequest, BodyTooLarge, CallerGone
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

    def at_once(self) -> list[bytes] | None:
        """Gives the framed body when all of it is here already, so that head and body leave together; else None."""
        if self._ended:
            return self._framed(self._kept)
        if not self._content.is_eof():
            return None
        earlier, piece = self._kept[:], self._content.read_nowait()
        self._ended = True
        self._take(piece)
        return self._framed([*earlier, piece])

    async def pump(self, connection: Connection, *, idle: float, response: float) -> None:
        """Sends what is kept, then the rest as it comes; at the end the reply is due within `response` seconds.

        A failure on either side ends the exchange, unless the reply has begun: that one is let finish (RFC 9112 §9.5).
        Raises BadRequest, BodyTooLarge and CallerGone for the caller's.
        """
        try:
            self._forward(connection, self._kept)
            self._invite()
            while not self._ended and connection.is_open:
                self._forward(connection, [await self._next(idle)])
                await connection.drain(idle)
            connection.expect(response)
        except BaseException:
            if connection.known_head is None:
                connection.abort()
            raise

    def _forward(self, connection: Connection, pieces: list[bytes]) -> None:
        if parts := self._framed(pieces):
            connection.writelines(parts)

    async def _next(self, idle: float) -> bytes:
        """The next piece, or b"" at the end."""
        try:
            async with asyncio.timeout(idle):
                piece = await self._content.readany()
        except TimeoutError:
            raise CallerGone(reason="the caller's body stopped coming") from None
        except (RequestPayloadError, HttpProcessingError) as error:
            raise BadRequest("The body's framing is broken.", reason=type(error).__name__) from error
        except (OSError, RuntimeError) as error:  # aiohttp's words for a lost connection
            raise CallerGone from error
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

    def _framed(self, pieces: list[bytes]) -> list[bytes]:
        """The pieces as one chunk where the body goes in chunks; with the last chunk once the body has ended."""
        size = sum(map(len, pieces))
        if not self._chunked:
            return pieces if size else []
        chunk = [b"%x\r\n" % size, *pieces, b"\r\n"] if size else []
        return [*chunk, b"0\r\n\r\n"] if self._ended else chunk
