"""A healthy route among sick neighbours: `make soak` measures its delays alone and in the mix, one after the other.

One gateway, one upstream, the same calls at the same fixed rate in both phases, which take turns in `ROUNDS` rounds: a
machine that is busy for a while is so in both. The neighbours of the second phase:
idle callers, slow readers, slow uploads, a route whose upstream takes connections and never answers, a credential whose
identity domain does the same, and a scrape of `/metrics` each second. All of it is bounded in number and in time. The
neighbours and their upstreams are a process of their own, so that their work delays no measuring.
"""

import asyncio
import contextlib
import json
import math
import os
import random
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Self

import uvloop

from bench.soak_peers import PIECE, Upstream, head, read_body

RATE = 200.0
"""Healthy calls a second: far less than one process can do, so that the delays are the gateway's own."""
CALLERS = 16
"""Healthy callers, each with one connection; a call that is due is made by a caller that is free."""
IDLE, READERS, UPLOADS, DEAD = 1000, 16, 16, 16
SPREAD = 1.0
"""Seconds over which the neighbours begin: callers that nothing coordinates do not act at the same moment."""
BIG = 8_000_000
"""Bytes of which a slow reader reads a piece now and then."""
WARM_UP = 1.0
"""Seconds of healthy calls before each phase that do not count."""
ROUNDS = 4
LIMIT = 1.5
"""p99 in the mix by p99 alone."""


@dataclass(slots=True)
class Delays:
    """Seconds from the planned time of a healthy call until its response was read, and other observations."""

    seconds: list[float] = field(default_factory=list)
    failed: int = 0
    cpu: float = 0.0
    """Seconds that the gateway's loop ran."""
    waited: float = 0.0
    """Seconds that it was ready to run and had no CPU: what a busy machine adds to the delays."""

    def at(self, share: float) -> float:
        """Return the maximum delay of this share of the calls."""
        ordered = sorted(self.seconds)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.inf


@dataclass(slots=True)
class MixResult:
    """The results of the two phases. `neighbours` counts the work of each kind of neighbour."""

    alone: Delays
    mixed: Delays
    neighbours: Counter[str]

    @property
    def ratio(self) -> float:
        """Return p99 in the mix divided by p99 alone."""
        return self.mixed.at(0.99) / self.alone.at(0.99)


class MuteServer:
    """Accepts connections and never answers: a dead upstream, or a dead identity domain."""

    async def start(self) -> int:
        """Listen. Return the port."""
        self._server = await asyncio.start_server(self._hold, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _hold(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while await reader.read(PIECE):
                pass
        writer.close()


def configuration(folder: Path, *, healthy: int, slow: int, mute: int) -> Path:
    """Write the gateway's configuration: the healthy and the slow routes, and the two dead ones."""
    there, beside, nowhere = (f"http://127.0.0.1:{port}" for port in (healthy, slow, mute))
    secret = {"client_id": "soak", "client_secret": {"env": "SOAK_SECRET"}}
    dead = {"timeout": {"response": "3s"}}
    document = {
        "workers": 1,
        "listen": "127.0.0.1:0",
        "admin": "127.0.0.1:0",
        "credentials": {
            "live": secret | {"token_url": f"{there}/token"},
            "dead": secret | {"token_url": f"{nowhere}/token", "token_wait": "2s", "timeout": "5s"},
        },
        "routes": [
            {"name": "healthy", "path": "/healthy/", "upstream": f"{there}/", "credential": "live"},
            {"name": "slow", "path": "/slow/", "upstream": f"{beside}/", "credential": "live"},
            {"name": "dead", "path": "/dead/", "upstream": f"{nowhere}/", "credential": "live", **dead},
            {"name": "tokenless", "path": "/tokenless/", "upstream": f"{there}/", "credential": "dead"},
        ],
    }
    file = folder / "mix.yaml"
    file.write_text(json.dumps(document), encoding="utf-8")
    return file


class NeighbourProcess:
    """The neighbours in a separate process: this module, run by name. Its upstreams listen before `start`."""

    def __init__(self, process: Process, slow: int, mute: int) -> None:
        self._process = process
        self.slow, self.mute = slow, mute

    @classmethod
    async def spawn(cls) -> Self:
        """Start the process and wait until the ports of its upstreams are known."""
        command = (sys.executable, "-m", "bench.soak_mix")
        root = Path(__file__).parents[1]
        process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, cwd=root)
        assert process.stdout is not None
        return cls(process, *json.loads(await process.stdout.readline()))

    async def start(self, port: int, admin: int) -> None:
        """Let the neighbours call a gateway and wait until all are connected."""
        await self._ask([port, admin])

    async def stop(self) -> dict[str, int]:
        """Disconnect them. Return the work of each kind since the start."""
        counts: dict[str, int] = await self._ask([])
        return counts

    async def end(self) -> None:
        """End the process."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def _ask(self, question: list[int]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        return json.loads(await self._process.stdout.readline())


async def measure_mix(neighbours: NeighbourProcess, port: int, admin: int, *, pid: int, seconds: float) -> MixResult:
    """Run both phases, `seconds` each in all, against the gateway `pid` at these ports."""
    result = MixResult(Delays(), Delays(), Counter())
    for _ in range(ROUNDS):
        await _call_steadily(port, WARM_UP, Delays())
        with _on_cpu(pid, result.alone):
            await _call_steadily(port, seconds / ROUNDS, result.alone)
        await neighbours.start(port, admin)
        await _call_steadily(port, WARM_UP, Delays())
        with _on_cpu(pid, result.mixed):
            await _call_steadily(port, seconds / ROUNDS, result.mixed)
        result.neighbours.update(await neighbours.stop())
    return result


@contextlib.contextmanager
def _on_cpu(pid: int, delays: Delays) -> Iterator[None]:
    """Add what the kernel's scheduler has counted for the main thread (proc_pid_schedstat(5))."""

    def read() -> tuple[float, float]:
        cpu, waited, _ = Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()
        return int(cpu) / 1e9, int(waited) / 1e9

    cpu, waited = read()
    yield
    cpu_after, waited_after = read()
    delays.cpu += cpu_after - cpu
    delays.waited += waited_after - waited


Work = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


class Neighbours:
    """Everything that runs beside the healthy calls, between `start` and `stop`."""

    def __init__(self, port: int, admin: int) -> None:
        self._port = port
        self._admin = admin
        self._begun = asyncio.Semaphore(0)
        self._tasks: list[asyncio.Task[None]] = []
        self.idle: list[asyncio.StreamWriter] = []
        kinds = ("pieces read slowly", "bytes uploaded slowly", "calls of the dead route", "calls without a token")
        self.done: dict[str, int] = dict.fromkeys((*kinds, "scrapes", "calls that broke"), 0)

    async def start(self) -> None:
        """Connect all; wait until the idle callers have one response and the slow ones have begun."""
        for _ in range(IDLE):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            writer.write(_get("/healthy/0"))
            await read_body(reader, await head(reader))
            self.idle.append(writer)
        kinds = ((READERS, self._read_slowly), (UPLOADS, self._upload_slowly))
        for count, work in (*kinds, (DEAD, self._call_dead), (DEAD, self._call_tokenless)):
            self._tasks += [asyncio.create_task(self._repeat(work)) for _ in range(count)]
        self._tasks.append(asyncio.create_task(self._scrape_each_second()))
        for _ in range(READERS + UPLOADS):
            await self._begun.acquire()

    async def stop(self) -> None:
        """Close all connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self.idle:
            writer.transport.abort()

    async def _repeat(self, work: Work) -> None:
        await asyncio.sleep(random.random() * SPREAD)
        while True:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=PIECE)
            try:
                await work(reader, writer)
            except (asyncio.IncompleteReadError, ConnectionError, ValueError):
                self.done["calls that broke"] += 1
                await asyncio.sleep(0.1)
            finally:
                writer.transport.abort()

    async def _read_slowly(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(_get(f"/slow/{BIG}"))
        await head(reader)
        self._begun.release()
        for _ in range(BIG // PIECE):
            await reader.readexactly(PIECE)
            self.done["pieces read slowly"] += 1
            await asyncio.sleep(0.2)

    async def _upload_slowly(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"POST /slow/100 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")
        self._begun.release()
        for _ in range(1000):
            writer.write(b"x")
            await writer.drain()
            self.done["bytes uploaded slowly"] += 1
            await asyncio.sleep(0.2)
        await read_body(reader, await head(reader))

    async def _call_dead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._call_for_error(reader, writer, "/dead/0")
        self.done["calls of the dead route"] += 1

    async def _call_tokenless(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._call_for_error(reader, writer, "/tokenless/0")
        self.done["calls without a token"] += 1

    async def _call_for_error(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: str) -> None:
        writer.write(_get(target))
        await read_body(reader, await head(reader))
        await asyncio.sleep(0.2)  # an error may come at once: callers that repeat it without a pause are another matter

    async def _scrape_each_second(self) -> None:
        while True:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._admin)
            writer.write(_get("/metrics"))
            await read_body(reader, await head(reader))
            writer.close()
            self.done["scrapes"] += 1
            await asyncio.sleep(1)


async def _call_steadily(port: int, seconds: float, delays: Delays) -> None:
    """Make healthy calls at `RATE`. A delay counts from the planned time of the call: a gateway that stands still
    delays all calls of that time.
    """
    due: asyncio.Queue[float | None] = asyncio.Queue()
    callers = [asyncio.create_task(_call_when_due(port, due, delays)) for _ in range(CALLERS)]
    begin = perf_counter()  # uvloop's own clock has milliseconds
    for number in range(int(RATE * seconds)):
        at = begin + number / RATE
        await asyncio.sleep(max(0.0, at - perf_counter()))
        due.put_nowait(at)
    for _ in callers:
        due.put_nowait(None)
    await asyncio.gather(*callers)


async def _call_when_due(port: int, due: "asyncio.Queue[float | None]", delays: Delays) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while (at := await due.get()) is not None:
        writer.write(_get("/healthy/1024"))
        response = await head(reader)
        await read_body(reader, response)
        delays.seconds.append(perf_counter() - at)
        delays.failed += response.line.split(" ")[1] != "200"
    writer.transport.abort()


def _get(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def report(result: MixResult) -> list[tuple[str, object, str]]:
    """Return the output of `make soak`: name, figure, remark."""

    def delay(delays: Delays) -> str:
        return f"p50 {delays.at(0.5) * 1000:.2f} ms, p99 {delays.at(0.99) * 1000:.2f} ms"

    def share(delays: Delays) -> str:
        return f"{delays.cpu:.2f} s, and waited {delays.waited:.2f} s for a CPU"

    return [
        ("healthy calls alone", len(result.alone.seconds), delay(result.alone)),
        ("healthy calls in the mix", len(result.mixed.seconds), delay(result.mixed)),
        ("the gateway's loop ran alone", "", share(result.alone)),
        ("the gateway's loop ran in the mix", "", share(result.mixed)),
        ("p50 in the mix by p50 alone", f"{result.mixed.at(0.5) / result.alone.at(0.5):.2f}", ""),
        ("p99 in the mix by p99 alone", f"{result.ratio:.2f}", f"the goal is {LIMIT:g} at most"),
        ("idle callers beside it", IDLE, ""),
        *((f"{name} beside it", count, "") for name, count in result.neighbours.items()),
    ]


async def _neighbour_process() -> None:
    """Run the other side of `NeighbourProcess` until its standard input ends."""
    os.nice(
        10
    )  # the neighbours are slow on purpose; on a machine with two CPUs their work must not delay the measuring
    slow, mute = await Upstream().start(), await MuteServer().start()
    print(json.dumps([slow, mute]), flush=True)
    neighbours: Neighbours | None = None
    while line := await asyncio.to_thread(sys.stdin.readline):
        if neighbours is not None:
            await neighbours.stop()
            print(json.dumps(neighbours.done), flush=True)
            neighbours = None
        else:
            neighbours = Neighbours(*json.loads(line))
            await neighbours.start()
            print("null", flush=True)


if __name__ == "__main__":
    uvloop.run(_neighbour_process())
