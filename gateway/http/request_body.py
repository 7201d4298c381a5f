"""The body of a request: streamed to the upstream, counted, and kept for a replay while it is small enough.

The caller's connection feeds received bytes to it. The request pipeline sends it in one piece if it is complete, else
it streams the body: while the upstream has room, bytes are sent in the callback that received them, without a task
switch. Reading from the caller pauses when more than `BODY_READ_AHEAD` bytes are buffered, until the pipeline waits for
more.
"""

import asyncio
import math
from collections.abc import Callable
from typing import cast

from gateway.content.pieces import coalesce
from gateway.errors import BadRequest, BodyTooLarge, RequestTimeout
from gateway.http.body_peers import BodyInspector, ReadControl, UpstreamTransport
from gateway.http.body_reader import MIN_UNCOPIED
from gateway.http.chunked import ChunkedDecoder
from gateway.http.fields import MalformedMessage

BODY_READ_AHEAD = 128 * 1024
INSPECTION_STEP = 64 * 1024
"""Bytes that are inspected before other tasks can run."""
GRACE_PERIOD = 60.0
"""Seconds of waiting that every body is allowed, however slowly it arrives."""


class RequestBody:
    """The body of one request.

    `is_complete`: the caller has sent all of it. `error`: why its framing is malformed. `is_replayable`: all of it is
    kept, so that it can be sent again. `bytes_read` counts the bytes that the pipeline has read, `bytes_removed` those
    that an inspector has removed.
    """

    __slots__ = (
        *("_is_all_read", "_chunked_decoder", "_remaining", "_limit", "_pieces", "_min_rate", "_read_control"),
        *("_is_paused", "_replay_limit", "_replay_pieces"),
        *("_quiet_since", "_send_continue", "_sink", "_unread_size", "_waited_seconds", "_waiter"),
        *("bytes_read", "bytes_removed", "chunked", "error", "is_complete", "is_replayable"),
    )

    def __init__(
        self, length: int, *, decoder: ChunkedDecoder | None = None, read_control: ReadControl | None = None
    ) -> None:
        """`length` is in bytes; `decoder` is set for a chunked body. `read_control` pauses reading from the caller."""
        self._remaining = length
        self._chunked_decoder = decoder
        self._read_control = read_control
        self._send_continue: Callable[[], None] | None = None
        self._sink: UpstreamTransport | None = None
        self._quiet_since = 0.0
        self._replay_limit = 0
        self._limit: int | None = None
        self._min_rate = 0
        self._waited_seconds = 0.0
        self._replay_pieces: list[bytes] = []
        self._pieces: list[bytes] = []
        self._unread_size = 0
        self._waiter: asyncio.Future[None] | None = None
        self.chunked = decoder is not None
        self.is_complete = decoder is None and not length
        self._is_all_read = self.is_complete
        self._is_paused = False
        self.error: BadRequest | None = None
        self.is_replayable = True
        self.bytes_read = self.bytes_removed = 0

    @classmethod
    def from_whole(cls, pieces: list[bytes], *, chunked: bool) -> "RequestBody":
        """Return a body of which all has come already. `chunked`: it goes on in chunks."""
        body = cls(0)
        body._pieces = coalesce([], pieces, size=0)
        body._unread_size = sum(map(len, pieces))
        body._is_all_read = False
        body.chunked = chunked
        return body

    # The caller's side ----------------------------------------------------------------------------------------------

    @property
    def missing_size(self) -> int:
        """The number of bytes that have not been received, of a body whose length is known."""
        return self._remaining

    def feed(self, data: bytes) -> bytes:
        """Buffer received bytes, or pass them on at once if they are streamed and the upstream has room. Return the
        bytes after the end of the body.
        """
        if self._chunked_decoder is None:
            rest = data[self._remaining :]
            pieces = [data[: self._remaining] if rest else data]
            self._remaining -= len(pieces[0])
            self.is_complete = not self._remaining
        else:
            try:
                pieces, rest = self._chunked_decoder.feed(data)
            except MalformedMessage as error:
                self.error = BadRequest(f"The framing of the body is broken: {error}.", reason=str(error))
                self._wake()
                return b""
            self.is_complete = self._chunked_decoder.has_ended
        self._unread_size += sum(map(len, pieces))
        self._add_pieces(pieces)
        return rest

    def feed_view(self, view: memoryview) -> bool:
        """Buffer a copy of received bytes, at most `missing_size`, or pass them on at once without a copy. Return
        whether their memory may be used again: not while the upstream's transport sends from it.
        """
        self._remaining -= len(view)
        self.is_complete = not self._remaining
        self._unread_size += len(view)
        sink = self._sink
        is_kept = self.is_replayable or self._pieces or len(view) < MIN_UNCOPIED
        if is_kept or sink is None or not self._can_pass_on(sink):
            self._add_pieces([bytes(view)])
            return True
        self._add_pieces([cast(bytes, view)])
        return not sink.has_unsent_bytes

    def _add_pieces(self, pieces: list[bytes]) -> None:
        """Buffer pieces, which are counted already, or pass them on."""
        self._pieces = coalesce(self._pieces, pieces, size=self._unread_size)
        if self._sink is not None and self._can_pass_on(self._sink):
            self._quiet_since = asyncio.get_running_loop().time()
            self._send_pieces(self._sink, self._take_pieces())
            return
        if self._unread_size > BODY_READ_AHEAD and not self.is_complete and self._read_control is not None:
            self._is_paused = True
            self._read_control.pause_reading()
        self._wake()

    def _resume_reading(self) -> None:
        if self._is_paused and self._read_control is not None:
            self._is_paused = False
            self._read_control.resume_reading()

    # The upstream's side --------------------------------------------------------------------------------------------

    def configure(
        self, *, replay_limit: int, limit: int | None, send_continue: Callable[[], None] | None, min_rate: int = 0
    ) -> None:
        """Set the maximum bytes that are kept for a replay (`replay_limit`) and that are allowed (`limit`).
        `send_continue` sends 100 Continue. `min_rate` is the minimum number of bytes a second; 0: no minimum.
        """
        self._replay_limit = replay_limit
        self._min_rate = min_rate
        self._limit = limit
        self._send_continue = send_continue

    def check_limit(self) -> None:
        """Raise BodyTooLarge if more bytes than are allowed have come already."""
        if self._limit is not None and self._unread_size > self._limit:
            self._take_pieces()  # counts them, and raises

    def peek(self) -> bytes | None:
        """Return the whole body, which stays, if it has come and none of it has been taken; else None."""
        is_untaken = self.is_complete and not self.bytes_read and self.error is None
        return b"".join(self._pieces) if is_untaken else None

    async def inspect(self, inspector: BodyInspector, *, idle_timeout: float) -> None:
        """Inspect the beginning of the body as it arrives, and replace it by the output of the inspector.

        Call this before any byte is taken. Raise the BadRequest of the inspector, and BadRequest, BodyTooLarge or
        RequestTimeout for the caller's failures.
        """
        self._send_100_continue()
        rest = None
        while rest is None:
            await self._wait_for_pieces(idle_timeout)
            self.check_limit()
            pieces, self._pieces = self._pieces, []
            try:
                rest = await _inspect_parts(inspector, b"".join(pieces), last=self.is_complete)
            except BadRequest:
                self._take_pieces()  # counts the bytes
                raise
        # `_unread_size` is not changed: limits and counts apply to the bytes that the caller sent.
        self._pieces = [*inspector.output, *filter(None, (rest,)), *self._pieces]
        self.bytes_removed = inspector.removed

    async def collect(self, *, idle_timeout: float) -> None:
        """Wait until the body is complete or exceeds the replay limit, so that a slow caller occupies no connection to
        the upstream. Do not wait without a replay limit. Raise BadRequest, BodyTooLarge or RequestTimeout.
        """
        if not self._replay_limit:
            return
        self._send_100_continue()
        while not self.is_complete:
            received = self.bytes_read + self._unread_size
            if received > self._replay_limit and (self._limit is None or received <= self._limit):
                return
            if self._unread_size:
                self._take_pieces()
            else:
                await self._wait_for_pieces(idle_timeout)

    def buffered(self) -> list[bytes] | None:
        """Return the framed body if it is complete, so that it can be sent with the head; else None."""
        self._assert_replayable()
        if self._is_all_read:
            return self._frame_pieces(self._replay_pieces)
        if not self.is_complete:
            return None
        earlier, pieces = self._replay_pieces[:], self._take_pieces()
        return self._frame_pieces([*earlier, *pieces])

    async def stream(self, connection: UpstreamTransport, *, idle_timeout: float, response_timeout: float) -> None:
        """Send the kept bytes, then the rest as it arrives. The response must begin within `response_timeout` seconds
        after the end.

        A failure of either side aborts the exchange, unless the response has begun (RFC 9112 §9.5). Raise BadRequest,
        BodyTooLarge or RequestTimeout for the caller's failures.
        """
        self._assert_replayable()
        try:
            self._send_pieces(connection, self._replay_pieces)
            self._send_100_continue()
            while not self._is_all_read and connection.is_open:
                self._send_pieces(connection, await self._read_pieces(idle_timeout, connection))
                await connection.drain(idle_timeout)
            connection.start_response_timer(response_timeout)
        except BaseException:
            if connection.response_head is None:
                connection.abort()
            raise

    def _send_100_continue(self) -> None:
        """Send 100 Continue, once, unless the caller has sent a part of the body."""
        if self._send_continue is not None and not self._unread_size and not self.bytes_read:
            self._send_continue()
        self._send_continue = None

    def _assert_replayable(self) -> None:
        """Check that a second attempt never sends a body without its beginning."""
        assert self.is_replayable, "the beginning of the body is no longer available"

    def _send_pieces(self, connection: UpstreamTransport, pieces: list[bytes]) -> None:
        if parts := self._frame_pieces(pieces):
            connection.write(parts)

    async def _read_pieces(self, idle_timeout: float, sink: UpstreamTransport | None = None) -> list[bytes]:
        """Wait for at least one piece. Return all buffered pieces; none at the end of the body. Pieces before the last
        one, and before the `sink` has no more room, are not returned but sent to it as they arrive.
        """
        self._sink = sink
        try:
            await self._wait_for_pieces(idle_timeout)
        finally:
            self._sink = None
        return self._take_pieces()

    def _can_pass_on(self, sink: UpstreamTransport) -> bool:
        if self.is_complete or not sink.is_open or sink.write_paused:
            return False
        return self._limit is None or self.bytes_read + self._unread_size <= self._limit

    async def _wait_for_pieces(self, idle_timeout: float) -> None:
        """Wait until pieces are buffered or the body is complete."""
        loop = asyncio.get_running_loop()
        if self._read_control is not None and not (self._pieces or self.is_complete or self.error):
            await self._read_control.become_task()
        self._quiet_since = loop.time()
        while not (self._pieces or self.is_complete or self.error):
            began, left = loop.time(), self._time_left()
            timeout = min(self._quiet_since + idle_timeout - began, left)
            if timeout <= 0:
                problem = "stopped arriving" if left else "arrives more slowly than `limits.body_rate`"
                raise RequestTimeout(f"The body {problem} {self._describe_progress()}.")
            self._resume_reading()
            self._waiter = loop.create_future()
            try:
                async with asyncio.timeout(timeout):
                    await self._waiter
            except TimeoutError:
                pass  # bytes may have been passed on meanwhile
            finally:
                self._waiter = None
                self._waited_seconds += loop.time() - began
        if self.error is not None:
            raise self.error

    def _describe_progress(self) -> str:
        """Return how much of the body has arrived, for a message."""
        count = self.bytes_read + self._unread_size
        return f"after {count} bytes" if self.chunked else f"after {count} of {count + self._remaining} bytes"

    def _time_left(self) -> float:
        """Return how many more seconds may be spent waiting for this body.

        Only waiting counts: while the upstream is the slower side, the gateway does not read from the caller.
        """
        if not self._min_rate:
            return math.inf
        return max(0.0, GRACE_PERIOD + (self.bytes_read + self._unread_size) / self._min_rate - self._waited_seconds)

    def _take_pieces(self) -> list[bytes]:
        """Return all buffered pieces, and keep them for a replay up to the limit. Raise BodyTooLarge."""
        pieces, self._pieces = self._pieces, []
        self.bytes_read += self._unread_size
        self._unread_size = 0
        self._is_all_read = self.is_complete
        is_too_large = self._limit is not None and self.bytes_read > self._limit
        if is_too_large or self.bytes_read > self._replay_limit:
            self.is_replayable = False
            self._replay_pieces.clear()
        elif self.is_replayable:
            self._replay_pieces = coalesce(self._replay_pieces, pieces, size=self.bytes_read)
        if is_too_large:
            raise BodyTooLarge
        return pieces

    def _frame_pieces(self, pieces: list[bytes]) -> list[bytes]:
        """Return the pieces, as one chunk if the body is chunked; add the last chunk once the whole body is taken."""
        if not self.chunked:
            return pieces
        size = sum(map(len, pieces))
        chunk = [b"%x\r\n" % size, *pieces, b"\r\n"] if size else []
        return [*chunk, b"0\r\n\r\n"] if self._is_all_read else chunk

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


async def _inspect_parts(inspector: BodyInspector, data: bytes, *, last: bool) -> bytes | None:
    """Inspect the data in parts, between which other tasks can run. Return the bytes that need no inspection; None if
    the inspector needs more bytes.
    """
    for begin in range(0, len(data) or 1, INSPECTION_STEP):
        if begin:
            await asyncio.sleep(0)
        end = begin + INSPECTION_STEP
        if inspector.feed(data[begin:end], last=last and end >= len(data)):
            return data[end:]
    return None


NO_BODY = RequestBody(0)
"""The body of all requests that have none; it is never fed."""
