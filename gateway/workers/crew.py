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

from gateway.admin.server import AdminServer
from gateway.config.load import Loaded
from gateway.config.model import Config
from gateway.door import Door, naming
from gateway.files import in_thread
from gateway.noting import import_history
from gateway.observe.log import Log, say, setup
from gateway.observe.metrics import join_snapshot
from gateway.service import FIXED, choose_pseudonym, live, raise_file_limit
from gateway.workers.desk import SOON, CrewDesk
from gateway.workers.member import Member
from gateway.workers.nursery import Nursery
from gateway.workers.wire import Line, NoAnswer
from gateway.workers.worker import Run, send_config, work

log = logging.getLogger("gateway.workers")

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
    nursery = Nursery(partial(work, run=run))
    records = setup(loaded.config.log.level, loaded.config.log.format)
    try:
        return run(_serve(loaded, read_again, records, nursery=nursery, count=count))
    finally:
        records.close()


async def _serve(
    loaded: Loaded, read_again: Callable[[], Loaded], records: Log, *, nursery: Nursery, count: int
) -> int:
    return await live(Crew(loaded.config, records, nursery=nursery, count=count), loaded, read_again)


def pause(deaths: int) -> float:
    """Seconds before a worker is replaced that died for the `deaths`th time in a row right after its start (0: not so):
    none at first, then growing.
    """
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (deaths - 2)) if deaths > 1 else 0.0


class Crew:
    """`count` workers as one `Service`."""

    def __init__(self, config: Config, records: Log, *, nursery: Nursery, count: int) -> None:
        self._config = config
        self._count = count
        self._nursery = nursery
        self._door: Door | None = None
        self._members: dict[int, Member] = {}
        self._changing = asyncio.Lock()  # a worker begins with a configuration before or after it changes
        self._desk = CrewDesk(self._members, config, lost_lines=lambda: records.lost, nursery=nursery.pid)
        self._admin = AdminServer(self._desk, may_call=self._desk.may_call)
        self._keepers: set[asyncio.Task[None]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._pseudonym = choose_pseudonym()
        self.listen = config.listen
        self.admin = config.admin

    # A service -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Opens the admin port, then has all workers listen. Raises OSError where a port is taken."""
        self._nursery.open()
        with naming(self._config.admin):
            self.admin = await self._admin.start(self._config.admin)
        self._door = Door(self._config.listen, is_shared=True)
        self.listen = self._desk.listen = self._door.address
        members = [await self._bear() for _ in range(self._count)]
        await asyncio.gather(*(self._put_to_work(member) for member in members))
        self._desk.is_open = True
        self._keepers = {asyncio.create_task(self._keep(member)) for member in members}
        self._keepers.add(asyncio.create_task(self._watch_nursery()))

    async def reload(self, config: Config) -> None:
        """All workers take on another configuration, or none does."""
        fresh = config.model_copy(update={key: getattr(self._config, key) for key in FIXED})
        await in_thread(partial(import_history, fresh), owner=self)  # the desk searches it
        async with self._changing:
            await send_config(fresh, self._tell)
            self._config = fresh
            self._desk.take(fresh)
            await self._tell("adopt")

    async def drain(self) -> int:
        """The workers stop listening; how many requests they have under way. Nobody is replaced any more."""
        self._desk.is_draining = True
        for task in self._keepers:
            task.cancel()
        if self._door is not None:
            self._door.close()
        counts = await asyncio.gather(*(_drained(member) for member in self._members.values()))
        return sum(counts)

    async def finish(self, *, hurry: asyncio.Event) -> bool:
        """Waits for the workers to leave; those that do not are killed."""
        leaving = asyncio.gather(*(member.gone() for member in self._members.values()))
        hastening = asyncio.create_task(self._hasten(hurry))
        statuses = await leaving
        hastening.cancel()
        await self._nursery.close()
        await self._admin.close()
        return not any(statuses) and not self._nursery.lost.is_set()

    # The workers ---------------------------------------------------------------------------------------------------

    async def _bear(self) -> Member:
        assert self._door is not None
        ours, theirs = socket.socketpair()
        with contextlib.ExitStack() as stack:
            stack.enter_context(theirs)
            listeners = [stack.enter_context(listener) for listener in self._door.sockets()]
            pid, end = await self._nursery.bear(theirs, listeners)
        now = asyncio.get_running_loop().time()
        self._members[pid] = member = Member(pid, await Line.open(ours), end, born=now)
        return member

    async def _put_to_work(self, member: Member) -> None:
        """Has it listen, by the configuration of the moment. Raises OSError where it cannot."""
        config = self._config
        try:
            await member.line.ask("start", (config, self.listen, self._pseudonym), within=START)
            async with self._changing:
                if config is not self._config:  # read again meanwhile
                    await send_config(self._config, partial(member.line.ask, within=START))
                    await member.line.ask("adopt", within=START)
                member.is_working = True
        except NoAnswer as error:
            raise OSError(f"worker {member.pid}: {error}") from error
        self._spawn(self._follow(member))
        say(log, logging.INFO, "worker-started", "a worker serves callers", pid=member.pid)

    async def _keep(self, member: Member) -> None:
        """Keeps one worker's place filled."""
        deaths = 0
        while True:
            status = await member.gone()
            del self._members[member.pid]
            self._desk.bury(member)
            lived = asyncio.get_running_loop().time() - member.born
            deaths = 0 if lived > STEADY else deaths + 1
            told = "a worker has ended unasked; another takes its place"
            ended = f"signal {-status}" if status < 0 else f"exit {status}"
            say(log, logging.ERROR, "worker-lost", told, pid=member.pid, ended=ended, lived_s=round(lived, 1))
            member = await self._replacement(deaths)

    async def _replacement(self, deaths: int) -> Member:
        """A worker that serves callers, however often it must be tried."""
        while True:
            await asyncio.sleep(pause(deaths))
            try:
                return await self._hired()
            except OSError as error:
                deaths += 1
                told = f"no worker could be started: {error.strerror or error}"
                say(log, logging.ERROR, "worker-not-started", told, next_try_s=pause(deaths))

    async def _hired(self) -> Member:
        member = await self._bear()
        try:
            await self._put_to_work(member)
        except OSError:
            member.kill()
            await member.gone()
            del self._members[member.pid]
            raise
        return member

    async def _follow(self, member: Member) -> None:
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
                member.earned = join_snapshot(await self._heard(member, "earned"))
                due = time() + SPARED * (time() - began)
                self._desk.processes.look()
        except NoAnswer:
            if member.line.over.done():
                return
        told = f"a worker has not answered for {STUCK + LAST_CHANCE:g} s and is killed; its calls are lost"
        say(log, logging.ERROR, "worker-stuck", told, pid=member.pid)
        member.kill()

    async def _heard(self, member: Member, verb: str) -> Any:
        """What the worker answers. Where this process was stopped too (a suspended machine, a frozen container) no
        time has passed for the worker: hence the second question.
        """
        try:
            return await member.line.ask(verb, within=STUCK)
        except NoAnswer:
            return await member.line.ask(verb, within=LAST_CHANCE)

    async def _watch_nursery(self) -> None:
        await self._nursery.lost.wait()
        say(log, logging.ERROR, "nursery-lost", "workers can no longer be replaced; stopping, to be started anew")
        os.kill(os.getpid(), signal.SIGTERM)

    async def _tell(self, verb: str, argument: object = None) -> None:
        """Asks all workers that serve. Raises OSError where one refuses or is stuck; one that ends meanwhile counts
        not: another, by the configuration of then, takes its place.
        """
        members = [member for member in self._members.values() if member.is_working]
        answers = await asyncio.gather(
            *(member.line.ask(verb, argument, within=START) for member in members), return_exceptions=True
        )
        for member, answer in zip(members, answers, strict=True):
            if isinstance(answer, NoAnswer) and not member.line.over.done():
                raise OSError(f"worker {member.pid}: {answer}")
            if isinstance(answer, BaseException) and not isinstance(answer, NoAnswer):
                raise answer

    async def _hasten(self, hurry: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(self._config.drain + GRACE):
                await hurry.wait()
        except TimeoutError:
            pass
        for member in self._members.values():
            self._spawn(_hasten(member))
        await asyncio.sleep(GRACE)
        for member in self._members.values():
            member.kill()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _drained(member: Member) -> int:
    try:
        under_way: int = await member.line.ask("drain", within=SOON)
    except NoAnswer:
        return 0
    return under_way


async def _hasten(member: Member) -> None:
    with contextlib.suppress(NoAnswer):
        await member.line.ask("hurry", within=SOON)
