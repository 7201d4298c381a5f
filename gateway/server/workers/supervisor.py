"""The parent of the workers: starts them, watches them, replaces the lost, and speaks for all of them.

It is a `Service`, as one process alone is: signals, reading the configuration and exit status are not its own. What the
admin port tells is put together in `desk`.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from gateway.admin.admin_server import AdminServer
from gateway.config.load import Loaded
from gateway.config.model import Config
from gateway.observe.log import Log, log_event, setup
from gateway.observe.metrics import join_snapshot
from gateway.server.lifecycle import FIXED, choose_pseudonym, raise_file_limit, run_until_stopped
from gateway.server.listen_socket import ListenSocket, explain_bind_error
from gateway.server.workers.aggregation import SOON, AggregatedAdmin
from gateway.server.workers.fork_server import ForkServer
from gateway.server.workers.rpc import Channel, ChannelError
from gateway.server.workers.worker import Run, run_worker, send_config
from gateway.server.workers.worker_handle import WorkerHandle
from gateway.system.files import in_thread
from gateway.wiring.history import import_history

log = logging.getLogger("gateway.server.workers")

POLL = 1.0
SPARED = 20.0  # times as long as the last answer took
STEADY = 2.0  # a worker that lived so long is replaced at once
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
START = 10.0  # the longest that a worker may take to listen
STUCK = 8.0  # a worker that answers nothing for so long is asked once more
LAST_CHANCE = 4.0  # for that answer; then it is killed
GRACE = 5.0  # beyond `drain`, before a worker that does not leave is killed
"""All in seconds."""


def serve(loaded: Loaded, read_again: Callable[[], Loaded], *, count: int, run: Run) -> int:
    """Runs a gateway of `count` workers; exit status as `service.live` says. To be called in a process that has neither
    threads nor a loop yet.
    """
    raise_file_limit()
    nursery = ForkServer(partial(run_worker, run=run))
    records = setup(loaded.config.log.level, loaded.config.log.format)
    try:
        return run(_serve(loaded, read_again, records, nursery=nursery, count=count))
    finally:
        records.close()


async def _serve(
    loaded: Loaded, read_again: Callable[[], Loaded], records: Log, *, nursery: ForkServer, count: int
) -> int:
    return await run_until_stopped(Supervisor(loaded.config, records, nursery=nursery, count=count), loaded, read_again)


def restart_delay(failures: int) -> float:
    """Seconds before a worker is replaced that died for the `deaths`th time in a row right after its start (0: not so):
    none at first, then growing.
    """
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (failures - 2)) if failures > 1 else 0.0


class Supervisor:
    """`count` workers as one `Service`."""

    def __init__(self, config: Config, records: Log, *, nursery: ForkServer, count: int) -> None:
        self._config = config
        self._count = count
        self._fork_server = nursery
        self._listen_socket: ListenSocket | None = None
        self._workers: dict[int, WorkerHandle] = {}
        self._changing = asyncio.Lock()  # a worker begins with a configuration before or after it changes
        self._backend = AggregatedAdmin(self._workers, config, lost_lines=lambda: records.lost, nursery=nursery.pid)
        self._admin = AdminServer(self._backend, may_call=self._backend.may_call)
        self._keepers: set[asyncio.Task[None]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._pseudonym = choose_pseudonym()
        self.listen = config.listen
        self.admin = config.admin

    # A service -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Opens the admin port, then has all workers listen. Raises OSError where a port is taken."""
        self._fork_server.open()
        with explain_bind_error(self._config.admin):
            self.admin = await self._admin.start(self._config.admin)
        self._listen_socket = ListenSocket(self._config.listen, is_shared=True)
        self.listen = self._backend.listen = self._listen_socket.address
        members = [await self._fork_worker() for _ in range(self._count)]
        await asyncio.gather(*(self._activate(member) for member in members))
        self._backend.is_open = True
        self._keepers = {asyncio.create_task(self._watch(member)) for member in members}
        self._keepers.add(asyncio.create_task(self._watch_fork_server()))

    async def reload(self, config: Config) -> None:
        """All workers take on another configuration, or none does."""
        fresh = config.model_copy(update={key: getattr(self._config, key) for key in FIXED})
        await in_thread(partial(import_history, fresh), owner=self)  # the desk searches it
        async with self._changing:
            await send_config(fresh, self._broadcast)
            self._config = fresh
            self._backend.apply_config(fresh)
            await self._broadcast("adopt")

    async def drain(self) -> int:
        """The workers stop listening; how many requests they have under way. Nobody is replaced any more."""
        self._backend.is_draining = True
        for task in self._keepers:
            task.cancel()
        if self._listen_socket is not None:
            self._listen_socket.close()
        counts = await asyncio.gather(*(_drain_worker(member) for member in self._workers.values()))
        return sum(counts)

    async def finish(self, *, hurry: asyncio.Event) -> bool:
        """Waits for the workers to leave; those that do not are killed."""
        leaving = asyncio.gather(*(member.wait_exit() for member in self._workers.values()))
        hastening = asyncio.create_task(self._force_stop_all(hurry))
        statuses = await leaving
        hastening.cancel()
        await self._fork_server.close()
        await self._admin.close()
        return not any(statuses) and not self._fork_server.lost.is_set()

    # The workers ---------------------------------------------------------------------------------------------------

    async def _fork_worker(self) -> WorkerHandle:
        assert self._listen_socket is not None
        ours, theirs = socket.socketpair()
        with contextlib.ExitStack() as stack:
            stack.enter_context(theirs)
            listeners = [stack.enter_context(listener) for listener in self._listen_socket.sockets()]
            pid, end = await self._fork_server.spawn(theirs, listeners)
        now = asyncio.get_running_loop().time()
        self._workers[pid] = member = WorkerHandle(pid, await Channel.open(ours), end, started_at=now)
        return member

    async def _activate(self, member: WorkerHandle) -> None:
        """Has it listen, by the configuration of the moment. Raises OSError where it cannot."""
        config = self._config
        try:
            await member.channel.ask("start", (config, self.listen, self._pseudonym), within=START)
            async with self._changing:
                if config is not self._config:  # read again meanwhile
                    await send_config(self._config, partial(member.channel.ask, within=START))
                    await member.channel.ask("adopt", within=START)
                member.is_active = True
        except ChannelError as error:
            raise OSError(f"worker {member.pid}: {error}") from error
        self._spawn(self._poll_counters(member))
        log_event(log, logging.INFO, "worker-started", "a worker serves callers", pid=member.pid)

    async def _watch(self, member: WorkerHandle) -> None:
        """Keeps one worker's place filled."""
        deaths = 0
        while True:
            status = await member.wait_exit()
            del self._workers[member.pid]
            self._backend.retire_counters(member)
            lived = asyncio.get_running_loop().time() - member.started_at
            deaths = 0 if lived > STEADY else deaths + 1
            told = "a worker has ended unasked; another takes its place"
            ended = f"signal {-status}" if status < 0 else f"exit {status}"
            log_event(log, logging.ERROR, "worker-lost", told, pid=member.pid, ended=ended, lived_s=round(lived, 1))
            member = await self._replacement(deaths)

    async def _replacement(self, deaths: int) -> WorkerHandle:
        """A worker that serves callers, however often it must be tried."""
        while True:
            await asyncio.sleep(restart_delay(deaths))
            try:
                return await self._start_replacement()
            except OSError as error:
                deaths += 1
                told = f"no worker could be started: {error.strerror or error}"
                log_event(log, logging.ERROR, "worker-not-started", told, next_try_s=restart_delay(deaths))

    async def _start_replacement(self) -> WorkerHandle:
        member = await self._fork_worker()
        try:
            await self._activate(member)
        except OSError:
            member.kill()
            await member.wait_exit()
            del self._workers[member.pid]
            raise
        return member

    async def _poll_counters(self, member: WorkerHandle) -> None:
        """Knows, about once a second, what the worker has counted: it may be the last that is heard of it. It is asked
        less often where that is much, since thousands of routes are in use. Kills one that is stuck, since its callers
        would wait for ever.
        """
        time, due = asyncio.get_running_loop().time, 0.0
        try:
            while True:
                await asyncio.sleep(POLL)
                began = time()
                if began < due:
                    await self._heard(member, "ping")
                    continue
                member.counters = join_snapshot(await self._heard(member, "earned"))
                due = time() + SPARED * (time() - began)
                self._backend.processes.look()
        except ChannelError:
            if member.channel.closed.done():
                return
        told = f"a worker has not answered for {STUCK + LAST_CHANCE:g} s and is killed; its calls are lost"
        log_event(log, logging.ERROR, "worker-stuck", told, pid=member.pid)
        member.kill()

    async def _heard(self, member: WorkerHandle, verb: str) -> Any:
        """What the worker answers. Where this process was stopped too (a suspended machine, a frozen container) no
        time has passed for the worker: hence the second question.
        """
        try:
            return await member.channel.ask(verb, within=STUCK)
        except ChannelError:
            return await member.channel.ask(verb, within=LAST_CHANCE)

    async def _watch_fork_server(self) -> None:
        await self._fork_server.lost.wait()
        log_event(log, logging.ERROR, "nursery-lost", "workers can no longer be replaced; stopping, to be started anew")
        os.kill(os.getpid(), signal.SIGTERM)

    async def _broadcast(self, verb: str, argument: object = None) -> None:
        """Asks all workers that serve. Raises OSError where one refuses or is stuck; one that ends meanwhile counts
        not: another, by the configuration of then, takes its place.
        """
        members = [member for member in self._workers.values() if member.is_active]
        answers = await asyncio.gather(
            *(member.channel.ask(verb, argument, within=START) for member in members), return_exceptions=True
        )
        for member, answer in zip(members, answers, strict=True):
            if isinstance(answer, ChannelError) and not member.channel.closed.done():
                raise OSError(f"worker {member.pid}: {answer}")
            if isinstance(answer, BaseException) and not isinstance(answer, ChannelError):
                raise answer

    async def _force_stop_all(self, hurry: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(self._config.drain + GRACE):
                await hurry.wait()
        except TimeoutError:
            pass
        for member in self._workers.values():
            self._spawn(_force_stop(member))
        await asyncio.sleep(GRACE)
        for member in self._workers.values():
            member.kill()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _drain_worker(member: WorkerHandle) -> int:
    try:
        under_way: int = await member.channel.ask("drain", within=SOON)
    except ChannelError:
        return 0
    return under_way


async def _force_stop(member: WorkerHandle) -> None:
    with contextlib.suppress(ChannelError):
        await member.channel.ask("hurry", within=SOON)
