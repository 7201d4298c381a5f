"""Callers that keep a gateway busy until it refuses connections, and count the calls without a response."""

import asyncio
import socket
import ssl
from collections import Counter
from contextlib import suppress

from tests.fakes.gate import Caller


class Load:
    """`count` callers, each with one call after the other, on a kept connection; every fourth on a new one per call.

    `answers` counts statuses; `lost` has the error of each call that was sent and got no response.
    """

    def __init__(self, address: str, request: bytes, *, count: int, tls: ssl.SSLContext | None = None) -> None:
        self._address = address
        self._tls = tls
        self._request = request
        self._tasks = [asyncio.create_task(self._call_on(is_keeping=bool(number % 4))) for number in range(count)]
        self._change = asyncio.Condition()
        self.answers: Counter[int] = Counter()
        self.lost: list[str] = []

    async def wait_for_answers(self, count: int) -> None:
        """Wait for this number of responses."""
        async with self._change:
            await self._change.wait_for(lambda: self.answers.total() + len(self.lost) >= count)

    def stop(self) -> None:
        """Let no caller call again."""
        for task in self._tasks:
            task.cancel()

    async def wait_until_refused(self) -> None:
        """Wait until each caller was refused a connection."""
        await asyncio.gather(*self._tasks)

    async def _call_on(self, *, is_keeping: bool) -> None:
        caller = None
        while True:
            if caller is None:
                try:
                    caller = await self._connect()
                except (ConnectionRefusedError, FileNotFoundError):
                    return
                except ConnectionResetError as error:
                    self.lost.append(repr(error))
                    continue
            stays = await self._call(caller)
            if not stays or not is_keeping:
                caller.close()
                caller = None

    async def _connect(self) -> Caller:
        if self._address.startswith("unix:"):
            return Caller(*await asyncio.open_unix_connection(self._address.removeprefix("unix:")))
        host, _, port = self._address.rpartition(":")
        return Caller(*await asyncio.open_connection(host, int(port), ssl=self._tls))

    async def _call(self, caller: Caller) -> bool:
        """Make one call. Return whether its connection stays open."""
        try:
            await caller.send(self._request)
            status, head, _ = await caller.reply()
        except (ConnectionError, EOFError) as error:
            self.lost.append(repr(error))
            return False
        self.answers[status] += 1
        async with self._change:
            self._change.notify_all()
        return b"\r\nConnection: close\r\n" not in head


def fill_backlog(address: str, request: bytes, count: int) -> list[socket.socket]:
    """Open connections and send a request on each; the gateway need not have accepted any of them."""
    callers = []
    for _ in range(count):
        host, _, port = address.rpartition(":")
        caller = socket.create_connection((host, int(port)))
        caller.sendall(request)
        callers.append(caller)
    return callers


def read_status(caller: socket.socket) -> bytes:
    """Return the status line of the response, empty if the connection ended without one."""
    with caller, suppress(ConnectionError):
        return caller.makefile("rb").readline()
    return b""
