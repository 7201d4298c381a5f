"""The parent of the workers: starts, watches and replaces them.

It is a `Service`, so `lifecycle` handles signals, reloads and the exit status. `aggregation` answers the admin port.
"""

import asyncio
import contextlib
import itertools
import logging
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from gateway.admin.admin_server import AdminServer
from gateway.config.load import Loaded
from gateway.config.model import Config
from gateway.config.resolved import keep_start_settings, listeners_of
from gateway.observe.log import Log, log_event
from gateway.server.console_mount import ConsoleMount
from gateway.server.lifecycle import choose_pseudonym, raise_file_limit, run_until_stopped
from gateway.server.listen_socket import ListenSockets, explain_bind_error, join_addresses
from gateway.server.notifier_mount import NotifierMount
from gateway.server.reloader import Reloader
from gateway.server.workers.aggregation import AggregatedAdmin
from gateway.server.workers.call_lines import CallLines
from gateway.server.workers.fork_server import ForkServer
from gateway.server.workers.rpc import ChannelError
from gateway.server.workers.worker import Run, run_worker, send_config
from gateway.server.workers.worker_channels import WorkerChannels
from gateway.server.workers.worker_handle import WorkerHandle
from gateway.server.workers.worker_polling import poll_worker
from gateway.system.background_tasks import BackgroundTasks
from gateway.system.files import in_thread
from gateway.system.passed_sockets import PassedSockets
from gateway.wiring.history import import_history
from gateway.wiring.limit_coordination import LimitCoordination
from gateway.wiring.log_targets import open_log
from gateway.wiring.service_coordination import ServiceCoordination
from gateway.wiring.telemetry import FLUSH_TIMEOUT, FORCED_FLUSH, Telemetry, import_telemetry

if TYPE_CHECKING:
    from gateway.server.workers.worker_processes import WorkerProcesses

log = logging.getLogger("gateway.server.workers")

# Times in seconds:
STABLE_AFTER = 2.0  # a worker that ran this long is replaced at once
MIN_DELAY, MAX_DELAY = 0.1, 10.0
START_TIMEOUT = 10.0  # until a worker listens
EXIT_GRACE = 5.0  # beyond `drain`, before a worker aborts its requests; and then before it is killed


def serve(loaded: Loaded, read_again: Callable[[], Loaded], *, count: int, run: Run) -> int:
    """Run a gateway of `count` workers. Return the exit status of `run_until_stopped`. Call this in a process that has
    neither threads nor a loop yet.
    """
    raise_file_limit()
    fork_server = ForkServer(partial(run_worker, run=run))
    records = open_log(loaded.config.log)
    try:
        return run(_serve(loaded, read_again, records, fork_server=fork_server, count=count))
    finally:
        records.close()


async def _serve(
    loaded: Loaded, read_again: Callable[[], Loaded], records: Log, *, fork_server: ForkServer, count: int
) -> int:
    reloader = Reloader(loaded, read_again)
    supervisor = Supervisor(loaded.config, records, fork_server=fork_server, count=count, reloader=reloader)
    return await run_until_stopped(supervisor, loaded, reloader)


def restart_delay(failures: int) -> float:
    """Return the seconds to wait before replacing a worker, after this many failures in a row right after the start: 0
    at first, then doubling up to `MAX_DELAY`.
    """
    return min(MAX_DELAY, MIN_DELAY * 2.0 ** (failures - 2)) if failures > 1 else 0.0


class Supervisor:
    """`count` workers as one `Service`."""

    def __init__(
        self, config: Config, records: Log, *, fork_server: ForkServer, count: int, reloader: Reloader
    ) -> None:
        self._config = config
        self._count = count
        self._fork_server = fork_server
        self._listen_sockets: ListenSockets | None = None
        self._workers: dict[int, WorkerHandle] = {}
        self._changing = asyncio.Lock()  # a worker starts before or after a reload, never during one
        self._backend = AggregatedAdmin(
            self._workers,
            config,
            lost_lines=lambda: records.lost,
            fork_server_pid=fork_server.pid,
            reloader=reloader,
        )
        self.stop_requested = asyncio.Event()
        request_stop = self.stop_requested.set if config.admin_quit else None
        self._admin = AdminServer(
            self._backend,
            may_call=self._backend.may_call,
            request_stop=request_stop,
            reloads=reloader,
            openmetrics=self._backend.openmetrics,
        )
        self._watchers: set[asyncio.Task[None]] = set()
        self._tasks = BackgroundTasks()
        self._pseudonym = choose_pseudonym()
        self._coordination = ServiceCoordination(os.environ)
        self._coordination.configure(config)
        self._limits = LimitCoordination(os.environ)
        self._limits.configure(config)
        self._backend.watch_limits(self._limits)
        self._channels = WorkerChannels(
            self._coordination.coordinators, self._limits.coordinators, self._publish_call_lines
        )
        self._processes: WorkerProcesses | None = None
        self._console = ConsoleMount(self._admin, self._backend, self._serving_processes, reloader)
        self._notifier = NotifierMount(self._serving_processes, os.environ)
        self._backend.watch_notifications(self._notifier.metrics)
        self._console.apply_config(config)
        self._telemetry = Telemetry(os.environ, instance_id=self._pseudonym, read_metrics=self._backend.snapshot)
        self._backend.watch_telemetry(self._telemetry)
        self.listen = ""
        self.admin = config.admin

    # A service -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the admin port, then let all workers listen. Raise OSError if a port is in use."""
        self._fork_server.open()
        passed = PassedSockets(os.environ)
        with explain_bind_error(self._config.admin):
            self.admin = await self._admin.start(self._config.admin, passed)
        addresses = [listener.address for listener in listeners_of(self._config)]
        self._listen_sockets = ListenSockets(addresses, passed, is_shared=True)
        passed.require_all_taken()
        self.listen = self._backend.listen = join_addresses(self._listen_sockets.addresses)
        workers = [await self._fork_worker() for _ in range(self._count)]
        await asyncio.gather(*(self._activate(worker) for worker in workers))
        self._backend.is_open = True
        self._notifier.apply_config(self._config)
        self._telemetry.configure(self._config)
        self._watchers = {asyncio.create_task(self._watch(worker)) for worker in workers}
        self._watchers.add(asyncio.create_task(self._watch_fork_server()))

    async def reload(self, config: Config) -> None:
        """Apply another configuration to all workers, or to none if one of them refuses it.

        Raise OSError if a worker refuses or times out. If a worker times out while it adopts the configuration, only
        that worker keeps the former one.
        """
        merged = keep_start_settings(self._config, config)
        await in_thread(partial(_import_libraries, merged), owner=self)
        async with self._changing:
            await send_config(merged, self._broadcast)
            self._config = merged
            self._backend.apply_config(merged)
            self._console.apply_config(merged)
            self._notifier.apply_config(merged)
            self._coordination.configure(merged)
            self._limits.configure(merged)
            self._telemetry.configure(merged)
            await self._broadcast("adopt")

    async def drain(self) -> int:
        """Make all workers stop listening. Return their requests in progress. No worker is replaced any more."""
        self._backend.is_draining = True
        for task in self._watchers:
            task.cancel()
        if self._listen_sockets is not None:
            self._listen_sockets.close()
        counts = await asyncio.gather(*(worker.drain() for worker in self._workers.values()))
        return sum(counts)

    async def finish(self, *, force_stop: asyncio.Event) -> bool:
        """Wait until all workers have ended; kill those that do not end."""
        exits = asyncio.gather(*(worker.wait_exit() for worker in self._workers.values()))
        forcing = asyncio.create_task(self._force_stop_all(force_stop))
        statuses = await exits
        forcing.cancel()
        if self._listen_sockets is not None:
            self._listen_sockets.hand_back()
        await self._telemetry.close(FORCED_FLUSH if force_stop.is_set() else FLUSH_TIMEOUT)
        await self._coordination.close()
        await self._limits.close()
        await self._fork_server.close()
        await self._notifier.close()
        await self._console.close()
        await self._admin.close()
        return not any(statuses) and not self._fork_server.lost.is_set()

    # The workers ---------------------------------------------------------------------------------------------------

    async def _fork_worker(self) -> WorkerHandle:
        assert self._listen_sockets is not None
        ours, theirs = socket.socketpair()
        with contextlib.ExitStack() as stack:
            stack.enter_context(theirs)
            close_ours = stack.enter_context(contextlib.ExitStack())
            close_ours.enter_context(ours)
            sockets = self._listen_sockets.sockets()
            listeners = [stack.enter_context(sock) for sock in itertools.chain.from_iterable(sockets)]
            pid, end = await self._fork_server.spawn(theirs, listeners)
            close_ours.pop_all()
        now = asyncio.get_running_loop().time()
        self._workers[pid] = worker = WorkerHandle(pid, await self._channels.open(ours), end, started_at=now)
        return worker

    async def _activate(self, worker: WorkerHandle) -> None:
        """Let a worker listen with the current configuration. Raise OSError if it cannot."""
        assert self._listen_sockets is not None
        config = self._config
        listeners = [*zip(self._listen_sockets.addresses, self._listen_sockets.counts, strict=True)]
        try:
            await worker.channel.request("start", (config, listeners, self._pseudonym), within=START_TIMEOUT)
            async with self._changing:
                if config is not self._config:  # reloaded meanwhile
                    await send_config(self._config, partial(worker.channel.request, within=START_TIMEOUT))
                    await worker.channel.request("adopt", within=START_TIMEOUT)
                worker.is_active = True
                if self._processes is not None:
                    self._processes.pass_on_watch(worker.channel)
        except ChannelError as error:
            raise OSError(f"worker {worker.pid}: {error}") from error
        on_poll = self._backend.processes.read_processes
        self._tasks.start(poll_worker(worker, is_sampled=self._has_console, on_poll=on_poll))
        log_event(log, logging.INFO, "worker-started", "a worker serves callers", pid=worker.pid)

    async def _watch(self, worker: WorkerHandle) -> None:
        """Replace one worker each time it ends."""
        failures = 0
        while True:
            status = await worker.wait_exit()
            del self._workers[worker.pid]
            self._backend.retire_counters(worker)
            lived = asyncio.get_running_loop().time() - worker.started_at
            failures = 0 if lived > STABLE_AFTER else failures + 1
            message = "a worker ended unexpectedly; the gateway starts another"
            ended = f"signal {-status}" if status < 0 else f"exit {status}"
            log_event(log, logging.ERROR, "worker-lost", message, pid=worker.pid, ended=ended, lived_s=round(lived, 1))
            worker = await self._replace(failures)

    async def _replace(self, failures: int) -> WorkerHandle:
        """Start a worker; retry until it serves callers."""
        while True:
            await asyncio.sleep(restart_delay(failures))
            try:
                return await self._start_replacement()
            except OSError as error:
                failures += 1
                message = f"cannot start a worker: {error.strerror or error}"
                log_event(log, logging.ERROR, "worker-not-started", message, next_try_s=restart_delay(failures))

    async def _start_replacement(self) -> WorkerHandle:
        worker = await self._fork_worker()
        try:
            await self._activate(worker)
        except OSError:
            worker.kill()
            await worker.wait_exit()
            del self._workers[worker.pid]
            raise
        return worker

    def _has_console(self) -> bool:
        return self._config.console is not None

    def _serving_processes(self) -> "WorkerProcesses":
        from gateway.server.workers.worker_processes import WorkerProcesses  # noqa: PLC0415 - with a console or hooks

        if self._processes is None:
            sums, coordination = self._backend.sum_samples, self._coordination
            self._processes = WorkerProcesses(self._workers, sums, coordination, self._limits)
        return self._processes

    def _publish_call_lines(self, notice: CallLines) -> None:
        if self._processes is not None:
            self._processes.receive(notice)

    async def _watch_fork_server(self) -> None:
        await self._fork_server.lost.wait()
        message = "the fork server has ended, so workers cannot be replaced; stopping. Restart the gateway"
        log_event(log, logging.ERROR, "fork-server-lost", message)
        self.stop_requested.set()

    async def _broadcast(self, verb: str, argument: object = None) -> None:
        """Send a request to all active workers. Raise OSError if one refuses or times out. A worker that ends meanwhile
        is ignored: its replacement starts with the new configuration.
        """
        workers = [worker for worker in self._workers.values() if worker.is_active]
        answers = await asyncio.gather(
            *(worker.channel.request(verb, argument, within=START_TIMEOUT) for worker in workers),
            return_exceptions=True,
        )
        for worker, answer in zip(workers, answers, strict=True):
            if isinstance(answer, ChannelError) and not worker.channel.closed.done():
                raise OSError(f"worker {worker.pid}: {answer}")
            if isinstance(answer, BaseException) and not isinstance(answer, ChannelError):
                raise answer

    async def _force_stop_all(self, force_stop: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(self._config.drain + EXIT_GRACE):
                await force_stop.wait()
        except TimeoutError:
            pass
        for worker in self._workers.values():
            self._tasks.start(worker.force_stop())
        await asyncio.sleep(EXIT_GRACE)
        for worker in self._workers.values():
            worker.kill()


def _import_libraries(config: Config) -> None:
    """Import what the admin port and the export of metrics need."""
    import_history(config)
    import_telemetry(config)
