"""A minute of everything at once through two workers, one of which is killed every few seconds: `make soak`.

It prints each promise and its result; exit status 1 if one is broken. `soak_peers` are the callers and the upstream.
Before that, `soak_mix` measures the delays of a healthy route alone and among sick neighbours. A ratio above its goal
is printed but breaks no promise, because a busy machine can cause any ratio.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import uvloop

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that this file can be run by its name

from bench.soak_mix import MixResult, NeighbourProcess, configuration, measure_mix, report
from bench.soak_peers import Caller, Message, Tally, Upstream, head, read_body

WORKERS = 2
BACK_WITHIN = 1.0  # seconds until a killed worker has been replaced
UNWRITTEN = 0.5  # seconds before its end of which a killed worker may not have written the records
PARENT_GROWTH = 16 * 1024  # KiB of memory that the parent may grow by


class Gateway:
    """The process under test: its output and its admin port."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.pid = process.pid
        self.events: list[dict[str, Any]] = []
        self.records: Counter[str] = Counter()
        self.torn = 0
        self.reading = asyncio.create_task(self._read())

    async def started(self) -> None:
        """Wait until it listens and set `port` and `admin`."""
        while not (started := [event for event in self.events if event["event"] == "started"]):
            assert not self.reading.done(), "the gateway did not start"
            await asyncio.sleep(0.01)
        self.port, self.admin = (int(started[0][key].rpartition(":")[2]) for key in ("listen", "admin"))

    async def ask(self, path: str) -> Message:
        """Return a response of the admin port."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.admin)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = await head(reader)
        await read_body(reader, answer)
        writer.close()
        return answer

    async def workers(self) -> list[int]:
        """Return the process ids of its workers."""
        return [worker["pid"] for worker in json.loads((await self.ask("/status")).body)["workers"]]

    async def requests(self) -> float:
        """Return the request counter, summed over its labels."""
        rows = (await self.ask("/metrics")).body.decode().splitlines()
        return sum(float(row.split()[-1]) for row in rows if row.startswith("oic_gateway_requests_total{"))

    async def stop(self) -> int:
        """Drain it. Return its exit status."""
        self._process.send_signal(signal.SIGTERM)
        await self.reading
        return await self._process.wait()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for row in self._process.stdout:
            try:
                line = json.loads(row)
            except ValueError:
                self.torn += 1
                continue
            if line["event"] == "request":
                self.records[line["request_id"]] += 1
            else:
                self.events.append(line)


class Soak:
    """One run."""

    def __init__(self, seconds: float, kill_every: float, callers: int, seed: int) -> None:
        self.seconds, self.kill_every, self.callers = seconds, kill_every, callers
        self.random = random.Random(seed)
        self.tally, self.upstream = Tally(), Upstream()
        self.kills: list[float] = []  # by the loop's clock
        self.killed_at: dict[int, float] = {}  # by the wall's, as the gateway's log has it
        self.backwards = 0

    async def run(self) -> bool:
        """Run. Return whether every promise was kept."""
        with tempfile.TemporaryDirectory() as folder:
            file = _configuration(Path(folder), await self.upstream.start())
            async with _serving(file) as gateway:
                return await self._with(gateway)

    async def _with(self, gateway: Gateway) -> bool:
        until = asyncio.get_running_loop().time() + self.seconds
        disturbing = asyncio.create_task(self._kill_workers(gateway))
        watching = asyncio.create_task(self._watch_counter(gateway))
        memory = [resident(pid) for pid in (gateway.pid, *await gateway.workers())]
        seeds = [random.Random(self.random.random()) for _ in range(self.callers)]
        await asyncio.gather(*(Caller(gateway.port, self.tally, rng).run(until) for rng in seeds))
        disturbing.cancel()
        watching.cancel()
        await asyncio.wait({disturbing, watching})
        grown = [resident(pid) for pid in (gateway.pid, *await gateway.workers())]
        status = await gateway.stop()
        return self._report(gateway, status, memory, grown)

    async def _kill_workers(self, gateway: Gateway) -> None:
        while True:
            await asyncio.sleep(self.kill_every)
            pid = self.random.choice(await gateway.workers())
            self.killed_at[pid] = time.time()
            os.kill(pid, signal.SIGKILL)
            self.kills.append(asyncio.get_running_loop().time())

    async def _watch_counter(self, gateway: Gateway) -> None:
        seen = 0.0
        while True:
            now = await gateway.requests()
            self.backwards += now < seen
            seen = now
            await asyncio.sleep(0.5)

    def _report(self, gateway: Gateway, status: int, before: list[int], after: list[int]) -> bool:
        tally = self.tally
        by_kill = sum(self._was_killed(*span, slack=0.5) for span in tally.broken)
        missing = [span for nonce, span in tally.answered.items() if not gateway.records[nonce]]
        unwritten = sum(self._was_killed(*span, slack=UNWRITTEN) for span in missing)
        back = [when for pid in self.killed_at if (when := self._back(gateway, pid)) is not None]
        growth, largest = after[0] - before[0], max(after[1:])
        promises = {
            **{name: tally.faults[name] for name in ("wrong bodies", "wrong bodies at the upstream")},
            **{name: tally.faults[name] for name in ("foreign bytes", "silent short bodies")},
            "faulty answers of any kind": dict(+tally.faults) if sum(tally.faults.values()) else 0,
            "calls that broke with no worker killed": len(tally.broken) - by_kill,
            "requests run twice at the upstream": sum(count > 1 for count in self.upstream.runs.values()),
            "records lost by a worker that lived": len(missing) - unwritten,
            "records written twice": sum(count > 1 for count in gateway.records.values()),
            "torn log lines": gateway.torn,
            "counters that ran backwards": self.backwards,
            "workers not replaced": len(self.killed_at) - len(back),
            f"replacements slower than {BACK_WITHIN:g} s": sum(seconds > BACK_WITHIN for seconds in back),
            "parent grown too large": int(growth > PARENT_GROWTH),
            "exit status": status,
        }
        _say("requests", tally.requests, f"in {self.seconds:g} s by {self.callers} callers")
        _say("whole answers", len(tally.answered))
        _say("callers that hung up", tally.left)
        _say("calls that died with their worker", by_kill)
        _say("workers killed", len(self.kills), f"back after at most {max(back, default=0.0) * 1000:.0f} ms")
        _say("records of theirs not written", unwritten)
        _say("memory of the parent, KiB", after[0], f"grown by {growth}")
        _say("memory of the largest worker, KiB", largest)
        for promise, broken in promises.items():
            _say(promise, broken, "BROKEN" if broken else "")
        return not any(promises.values())

    def _was_killed(self, begin: float, end: float, *, slack: float) -> bool:
        return any(begin - slack <= at <= end + slack for at in self.kills)

    def _back(self, gateway: Gateway, pid: int) -> float | None:
        """Return the seconds from the end of a worker to the start of its successor, by the wall clock."""
        at = self.killed_at[pid]
        started_at = [_epoch(event) for event in gateway.events if event["event"] == "worker-started"]
        return min((when - at for when in started_at if when >= at), default=None)


async def run_mix(seconds: float) -> MixResult:
    """Run both phases of the mix, `seconds` each, with a gateway of one worker."""
    neighbours = await NeighbourProcess.spawn()
    try:
        with tempfile.TemporaryDirectory() as folder:
            healthy = await Upstream().start()
            file = configuration(Path(folder), healthy=healthy, slow=neighbours.slow, mute=neighbours.mute)
            async with _serving(file) as gateway:
                return await measure_mix(neighbours, gateway.port, gateway.admin, pid=gateway.pid, seconds=seconds)
    finally:
        await neighbours.end()


@contextlib.asynccontextmanager
async def _serving(file: Path) -> AsyncIterator[Gateway]:
    """Yield a running gateway; kill it at the end if it was not stopped."""
    environ = os.environ | {"SOAK_SECRET": "soak"}
    command = (sys.executable, "-m", "gateway", "serve", "-c", str(file))
    process = await asyncio.create_subprocess_exec(*command, env=environ, stdout=PIPE, limit=1 << 20)
    gateway = Gateway(process)
    try:
        await gateway.started()
        yield gateway
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await gateway.reading


def resident(pid: int) -> int:
    """Return KiB of resident memory."""
    rows = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith("VmRSS:"))


def _configuration(folder: Path, port: int) -> Path:
    there = f"http://127.0.0.1:{port}"
    credential = {"token_url": f"{there}/token", "client_id": "soak", "client_secret": {"env": "SOAK_SECRET"}}
    document = {
        "workers": WORKERS,
        "listen": "127.0.0.1:0",
        "admin": "127.0.0.1:0",
        "credentials": {"soak": credential},
        "routes": [{"name": "soak", "path": "/soak/", "upstream": f"{there}/", "credential": "soak"}],
    }
    file = folder / "soak.yaml"
    file.write_text(json.dumps(document), encoding="utf-8")
    return file


def _epoch(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["time"]).timestamp()


def _say(what: str, number: object, more: str = "") -> None:
    print(f"{what:<42} {number!s:>9}  {more}".rstrip())


def _say_mix(result: MixResult) -> bool:
    """Print the figures. Return whether no healthy call failed."""
    load = os.getloadavg()[0]
    _say("load average of the machine", f"{load:.1f}")
    for row in report(result):
        _say(*row)
    failed = result.alone.failed + result.mixed.failed
    _say("healthy calls that failed", failed, "BROKEN" if failed else "")
    return not failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--kill-every", type=float, default=3.0, metavar="SECONDS")
    parser.add_argument("--callers", type=int, default=24)
    parser.add_argument("--seed", type=int, default=None, help="repeat an earlier run")
    parser.add_argument("--mix", type=float, default=20.0, metavar="SECONDS", help="of each phase; 0: no mix")
    options = parser.parse_args()
    seed = random.randrange(1 << 32) if options.seed is None else options.seed
    is_healthy = not options.mix or _say_mix(uvloop.run(run_mix(options.mix)))
    if not options.seconds:
        return 0 if is_healthy else 1
    print(f"seed {seed}", flush=True)
    soak = Soak(options.seconds, options.kill_every, options.callers, seed)
    return 0 if asyncio.run(soak.run()) and is_healthy else 1


if __name__ == "__main__":
    sys.exit(main())
