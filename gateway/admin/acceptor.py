"""Accepts connections even when the process has no free file descriptor, one at a time.

libuv closes a connection that it has no descriptor for, so a probe could not distinguish a process without free
descriptors from a dead one. This module reserves one descriptor for that case.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable

from gateway.observe.episodes import EventDeduplicator
from gateway.observe.log import log_event
from gateway.system.background_tasks import BackgroundTasks
from gateway.system.descriptor_budget import SHORTAGE_ERRORS

log = logging.getLogger(__name__)

ACCEPT_BATCH = 32  # connections accepted in one step of the loop
PAUSE = 0.1  # seconds before the next try after a failure


class Acceptor:
    """Connects accepted sockets of `listener`, which it owns, to protocols of `factory`, until `close`. `make_room`
    closes an unused connection.
    """

    def __init__(
        self, listener: socket.socket, factory: Callable[[], asyncio.BaseProtocol], *, make_room: Callable[[], None]
    ) -> None:
        self._listener = listener
        self._factory = factory
        self._make_room = make_room
        self._loop = asyncio.get_running_loop()
        self._episodes = EventDeduplicator(self._loop.time)
        self._tasks = BackgroundTasks()
        self._timer: asyncio.TimerHandle | None = None
        self._spare: int | None = None
        self._keep_spare()
        listener.setblocking(False)  # noqa: FBT003 - the API of the standard library
        self._loop.add_reader(listener.fileno(), self._accept)

    def close(self) -> None:
        """Stop accepting. It can be called twice."""
        if self._listener.fileno() < 0:
            return
        self._loop.remove_reader(self._listener.fileno())
        if self._timer is not None:
            self._timer.cancel()
        self._listener.close()
        self._free_spare()

    def _accept(self) -> None:
        for _ in range(ACCEPT_BATCH):
            try:
                accepted, _ = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in SHORTAGE_ERRORS:
                    raise
                if not self._free_spare():
                    self._wait(error)
                    return
                continue
            self._tasks.start(self._serve(accepted))

    async def _serve(self, accepted: socket.socket) -> None:
        try:
            accepted.setblocking(False)  # noqa: FBT003 - as above
            await self._loop.connect_accepted_socket(self._factory, accepted)
        except OSError:  # already closed
            accepted.close()
        if self._spare is None:
            self._keep_spare()

    def _wait(self, error: OSError) -> None:
        """Try again soon, with the descriptor of an unused connection."""
        if self._episodes.starts_episode("files"):
            message = f"the admin port accepts only one connection at a time: {error.strerror}"
            log_event(
                log, logging.ERROR, "admin-files-exhausted", f"{message}. Raise the limit of open files (ulimit -n)"
            )
        self._make_room()
        self._loop.remove_reader(self._listener.fileno())
        self._timer = self._loop.call_later(PAUSE, self._resume)

    def _resume(self) -> None:
        self._keep_spare()
        self._loop.add_reader(self._listener.fileno(), self._accept)

    def _keep_spare(self) -> None:
        if self._spare is None:
            with contextlib.suppress(OSError):
                self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def _free_spare(self) -> bool:
        spare, self._spare = self._spare, None
        if spare is None:
            return False
        os.close(spare)
        return True
