"""Both sides of the gateway as bytes: `Wire` is one connection, `Witness` an upstream that records everything.

A connection keeps all bytes that it received, also after a reset. A request counts as arrived only if it is complete
and strictly valid.
"""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self, cast

from tests.corpus.cases import Step
from tests.corpus.message import END, Malformed, Reply, Request, reply, request
from tests.fakes.waiting import TIME_LIMIT

Wait = Callable[[bytes], Awaitable[None]]
RESET = struct.pack("ii", 1, 0)  # struct linger: on, 0 seconds


class Change:
    """Something that tasks can wait for: a condition, checked after each `notify`."""

    def __init__(self) -> None:
        self._waiters: list[asyncio.Future[None]] = []

    def notify(self) -> None:
        """Check all conditions again."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def until(self, state: Callable[[], bool], what: str) -> None:
        """Wait until `state` is true. Raise AssertionError with `what` if the time limit passes first."""
        try:
            async with asyncio.timeout(TIME_LIMIT):
                while not state():
                    waiter = asyncio.get_running_loop().create_future()
                    self._waiters.append(waiter)
                    await waiter
        except TimeoutError:
            raise AssertionError(f"did not happen in time: {what}") from None


class Wire(asyncio.Protocol):
    """One connection. `received`: all bytes. `data`: the bytes not yet parsed. `ended`: "", "end" or "reset"."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.data = bytearray()
        self.ended = ""
        self.change = Change()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.data += data
        self.change.notify()

    def eof_received(self) -> bool:
        self._over("end")
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._over("reset" if exc else "end")

    def _over(self, how: str) -> None:
        self.ended = self.ended or how
        self.change.notify()

    async def perform(self, steps: tuple[Step, ...], *, waits: dict[str, Wait]) -> None:
        """Perform these steps. `waits` contains, by kind, the waits that this class cannot do itself."""
        for step in steps:
            if step.kind in waits:
                await waits[step.kind](step.data)
            elif not self.transport.is_closing():
                await self._do(step)

    async def _do(self, step: Step) -> None:
        if step.kind == "drip":
            for at in range(len(step.data)):
                self.transport.write(step.data[at : at + 1])
                await asyncio.sleep(0)
        elif step.kind == "say":
            self.transport.write(step.data)
            await asyncio.sleep(0)
        else:
            {"end": self.transport.write_eof, "close": self.transport.close, "reset": self.reset}[step.kind]()

    def reset(self) -> None:
        """End the connection with RST."""
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.transport.abort()

    async def reply(self, *, is_head_request: bool = False) -> Reply | None:
        """Consume one response, complete or cut off. Return None if the connection ended before a head."""
        got: Reply | None = None

        def is_there() -> bool:
            nonlocal got
            got = reply(bytes(self.data), is_head_request=is_head_request, ended=self.ended)
            return got is not None or self.ended != ""

        await self.change.until(is_there, "a reply")
        if got is not None:
            del self.data[: got.used]
        return got

    async def over(self) -> None:
        """Wait for the end of the connection."""
        await self.change.until(lambda: self.ended != "", "the end of the connection")


class Arrival(Wire):
    """A connection of the gateway to a witness. `script_task` plays the script, if this connection got it."""

    def __init__(self, witness: "Witness") -> None:
        super().__init__()
        self.change = witness.change
        self._witness = witness
        self.script_task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._witness.arrived(self)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._witness.read(self)

    def eof_received(self) -> bool:
        super().eof_received()
        return False


class Witness:
    """An upstream. It answers each complete request with its request line (`echo`), except one that the script answers.

    `begins`: the script starts after the complete `request`, or after its `head`. `spare` requests come before it.
    """

    def __init__(self, script: tuple[Step, ...] = (), *, begins: str = "request", spare: int = 0) -> None:
        self.change = Change()
        self.connections: list[Arrival] = []
        self.requests: list[tuple[Arrival, Request]] = []
        self.errors: list[str] = []
        self.caller: Wire | None = None
        self._script = script
        self._begins = begins
        self._spare = spare

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Arrival(self), "127.0.0.1", 0)
        self.authority = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for connection in self.connections:
            if connection.script_task is not None:
                connection.script_task.cancel()
                await asyncio.wait({connection.script_task})
            connection.transport.abort()
        await asyncio.sleep(0)

    def clear(self) -> bool:
        """Drop what a failed case has left. Return whether there was something."""
        left = [one for one in self.connections if one.data]
        for connection in left:
            connection.transport.abort()
        self.connections[:] = [one for one in self.connections if not one.ended and not one.data]
        self.errors.clear()
        return bool(left)

    def arrived(self, connection: Arrival) -> None:
        """Record an open connection."""
        self.connections.append(connection)
        self.change.notify()

    def read(self, connection: Arrival) -> None:
        """Consume the requests that have arrived."""
        if self._begins == "head" and END in connection.data:
            self._play(connection)
        try:
            while (found := request(bytes(connection.data))) is not None:
                del connection.data[: found[1]]
                self.requests.append((connection, found[0]))
                self._answer(connection, found[0])
        except Malformed as error:
            self.errors.append(str(error))
        self.change.notify()

    async def played(self) -> None:
        """Wait until the script has ended."""
        for connection in self.connections:
            if connection.script_task is not None:
                async with asyncio.timeout(TIME_LIMIT):
                    await connection.script_task

    def _answer(self, connection: Arrival, received: Request) -> None:
        if self._begins == "request" and self._script and self._spare <= 0:
            self._play(connection)
        elif connection.script_task is None or self._begins == "request":
            self._spare -= 1
            connection.transport.write(echo(received))

    def _play(self, connection: Arrival) -> None:
        steps, self._script = self._script, ()
        if steps:
            steps_taken = connection.perform(steps, waits={"seen": self._seen})
            connection.script_task = asyncio.get_running_loop().create_task(steps_taken)

    async def _seen(self, data: bytes) -> None:
        caller = self.caller
        assert caller is not None
        await caller.change.until(lambda: data in caller.received, f"{data!r} at the caller")


def echo(received: Request) -> bytes:
    """Return a response that identifies its request."""
    body = echo_body(received.method, received.target, len(received.body))
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    return head if received.method == "HEAD" else head + body


def echo_body(method: str, target: str, size: int = 0) -> bytes:
    """Return the body of an `echo`."""
    return f"{method} {target} {size}".encode()
