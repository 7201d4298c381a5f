"""Requests from the supervisor to one worker, and the answers in any order; notices in both directions, in order.

Each message is a pickle with a length prefix. This is safe only here: the channel is a socketpair that no other process
can open, and both ends are forked from one process.
"""

import asyncio
import contextlib
import itertools
import logging
import pickle
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self

from gateway.system.background_tasks import BackgroundTasks

log = logging.getLogger("gateway.server.workers")

_LENGTH = 4  # bytes

Handlers = Mapping[str, Callable[[Any], Awaitable[Any]]]
"""By verb: a function of the argument that returns the answer, or raises OSError to refuse."""
OnNotices = Callable[[list[Any]], None]
"""Receives notices of the other end, in their order; must not block."""


class Parts(list[Any]):
    """An answer sent as several messages: one large message would delay the worker's callers."""


class NoticeQueue:
    """Sends notices; those of one step of the loop share a message."""

    def __init__(self, send: Callable[[list[Any]], None]) -> None:
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._queue: list[Any] = []

    def put(self, notice: Any) -> None:
        """Send a notice soon."""
        if not self._queue:
            self._loop.call_soon(self._flush)
        self._queue.append(notice)

    def _flush(self) -> None:
        notices, self._queue = self._queue, []
        self._send(notices)


def ignore_notices(_notices: list[Any]) -> None:
    """Ignore notices, at an end that has nothing to coordinate."""


class ChannelError(Exception):
    """The worker does not answer in time, or has ended."""


class Channel:
    """The supervisor's end. Requests may overlap. `closed` is done when the worker has closed its end."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, on_notices: OnNotices = ignore_notices
    ) -> None:
        self._writer = writer
        self._on_notices = on_notices
        self._numbers = itertools.count()
        self._pending: dict[int, asyncio.Future[tuple[bool, Any]]] = {}
        self._parts: dict[int, Parts] = {}
        self.closed = asyncio.create_task(self._listen(reader))

    @classmethod
    async def open(cls, end: socket.socket, on_notices: OnNotices = ignore_notices) -> Self:
        """Return a channel on one end of a socketpair, and own the socket. `on_notices` receives the notices of the
        worker.
        """
        reader, writer = await asyncio.open_unix_connection(sock=end)
        return cls(reader, writer, on_notices)

    def notify(self, notices: list[Any]) -> None:
        """Send notices to the worker; do nothing if it has ended."""
        send_notices(self._writer, notices)

    async def request(self, verb: str, argument: Any = None, *, within: float | None = None) -> Any:
        """Return the worker's answer. Raise OSError with its message if it refuses, ChannelError after `within` seconds
        or when it ends.
        """
        if self.closed.done():
            raise ChannelError("it has ended")
        number = next(self._numbers)
        answer = self._pending[number] = asyncio.get_running_loop().create_future()
        _send(self._writer, (number, verb, argument))
        try:
            async with asyncio.timeout(within):
                is_ok, value = await answer
        except TimeoutError:
            raise ChannelError(f"it does not answer within {within:g} s") from None
        finally:
            del self._pending[number]
            parts = self._parts.pop(number, None)
        if not is_ok:
            raise OSError(value)
        return value if parts is None else parts

    def close(self) -> None:
        """Close the channel, which makes the worker drain and end."""
        self._writer.close()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while (message := await _receive(reader)) is not None:
            number, is_ok, value = message
            if number is None:
                _deliver_notices(self._on_notices, value)
                continue
            if number not in self._pending or self._pending[number].done():
                continue
            if is_ok is None:
                self._parts.setdefault(number, Parts()).append(value)
            else:
                self._pending[number].set_result((is_ok, value))
        self._writer.close()
        for answer in self._pending.values():
            if not answer.done():
                answer.set_exception(ChannelError("it has ended"))


async def serve_requests(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    handlers: Handlers,
    on_notices: OnNotices = ignore_notices,
) -> None:
    """Serve the worker's end until the supervisor closes it; each request runs in its own task."""
    tasks = BackgroundTasks()
    while (message := await _receive(reader)) is not None:
        number, verb, argument = message
        if number is None:
            _deliver_notices(on_notices, argument)
            continue
        tasks.start(_answer(writer, number, handlers[verb](argument)))


def send_notices(writer: asyncio.StreamWriter, notices: list[Any]) -> None:
    """Send notices to the other end; do nothing if it has closed."""
    _send(writer, (None, None, notices))


def _deliver_notices(on_notices: OnNotices, notices: list[Any]) -> None:
    try:
        on_notices(notices)
    except Exception:  # the channel must stay open: without it the worker counts as stuck
        log.exception("cannot act on a notice of the other process", extra={"event": "defect"})


async def _answer(writer: asyncio.StreamWriter, number: int, work: Awaitable[Any]) -> None:
    try:
        answer = await work
    except OSError as error:
        _send(writer, (number, False, error.strerror or str(error)))
        return
    except Exception as error:  # without an answer this worker would count as stuck, and be killed
        log.exception("cannot answer the supervisor", extra={"event": "defect"})
        _send(writer, (number, False, f"a defect: {type(error).__name__}"))
        return
    if isinstance(answer, Parts):
        for part in answer:
            _send(writer, (number, None, part))
            await asyncio.sleep(0)
        answer = Parts()
    _send(writer, (number, True, answer))


def _send(writer: asyncio.StreamWriter, message: object) -> None:
    data = pickle.dumps(message)
    if writer.is_closing():  # a worker ends while it answers
        return
    with contextlib.suppress(ConnectionError):  # the reading side notices a closed peer
        writer.write(len(data).to_bytes(_LENGTH, "big") + data)


async def _receive(reader: asyncio.StreamReader) -> Any:
    """Return the next message, a tuple; None when the other end has closed."""
    try:
        size = int.from_bytes(await reader.readexactly(_LENGTH), "big")
        return pickle.loads(await reader.readexactly(size))  # noqa: S301 - see the module
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
