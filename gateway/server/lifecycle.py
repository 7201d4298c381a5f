"""The life of `serve`: start, read the configuration again at SIGHUP, drain at SIGTERM, and tell the log of it.

It is the same whether one process is the whole gateway (`app.Alone`) or a crew of them (`workers.crew.Crew`): each is a
`Service`, and whatever an operator sees, messages and exit status, is made here once.
"""

import asyncio
import logging
import resource
import secrets
import signal
from collections.abc import Callable
from typing import Any, Protocol

from gateway.config.load import ConfigProblems, Loaded
from gateway.config.model import Config
from gateway.config.resolved import count_origins
from gateway.observe.log import log_event
from gateway.observe.time_slices import short_switches
from gateway.proxy.headers import PSEUDONYM
from gateway.system.descriptor_budget import Capacity, share_files
from gateway.system.files import in_thread
from gateway.system.gc_tuning import pause_collection

log = logging.getLogger("gateway.server.gateway")

FIXED = ("workers", "listen", "admin", "limits", "log")
"""Keys that count only at a start."""
MOST_FILES = 1 << 20
"""Where the system sets no limit of open files."""


class Service(Protocol):
    """A whole gateway. `listen` and `admin` are its addresses as bound."""

    listen: str
    admin: str

    async def start(self) -> None:
        """Opens both ports. Raises OSError, with the address in its words, where one is taken."""

    async def reload(self, config: Config) -> None:
        """Takes on another configuration, save what is `FIXED`. Raises OSError where a file that it names cannot be
        used; then nothing has changed.
        """

    async def drain(self) -> int:
        """Takes no more requests; how many are under way."""

    async def finish(self, *, hurry: asyncio.Event) -> bool:
        """After `drain`: waits for the requests under way (`drain`, or until `hurry` is set) and closes all. True when
        every one of them could finish. Works after a failed `start` too.
        """


def choose_pseudonym() -> str:
    """Return a name for this running gateway in `Via`: by it all its workers know a request that has passed one of them
    before (RFC 9110 §7.6.3).
    """
    return f"{PSEUDONYM}-{secrets.token_hex(8)}"


async def run_until_stopped(service: Service, loaded: Loaded, read_again: Callable[[], Loaded]) -> int:
    """Runs a service until SIGTERM or SIGINT; a second signal hurries. Exit status: 0 after a drained stop, 1 where
    requests were cut off, 69 where a port is taken.
    """
    stop, hurry, again = asyncio.Event(), asyncio.Event(), asyncio.Event()
    _listen_to_signals(stop, hurry, again)
    for warning in loaded.warnings:
        log_event(log, logging.WARNING, "configuration", str(warning))
    _warn_of_few_files(loaded.config)
    try:
        await service.start()
    except OSError as error:
        log_event(log, logging.ERROR, "not-started", error.strerror or str(error))
        hurry.set()
        await service.drain()
        await service.finish(hurry=hurry)
        return 69
    listen = service.listen
    log_event(log, logging.INFO, "started", f"listening on {listen}", listen=listen, admin=service.admin)
    reloading = asyncio.create_task(Reloader(service, loaded.config, read_again).run(again))
    await stop.wait()
    reloading.cancel()
    await asyncio.wait({reloading})
    return 0 if await _stop(service, hurry) else 1


def raise_file_limit() -> None:
    """A connection is a file: the usual soft limit of 1024 would end the gateway's answers long before `limits` do."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def capacity_of(config: Config) -> Capacity:
    """How many connections this process has descriptors for."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = MOST_FILES if files == resource.RLIM_INFINITY else files
    pools = config.pool.size * count_origins(config)
    return share_files(files, connections=config.limits.connections, pools=pools)


def _warn_of_few_files(config: Config) -> None:
    capacity = capacity_of(config)
    wanted = config.limits.connections
    if capacity.connections < wanted:
        told = f"the limit of {capacity.files} open files allows {capacity.connections} connections of callers"
        remedy = "Raise it (ulimit -n, LimitNOFILE=), or lower `limits.connections` or `pool.size`"
        log_event(log, logging.WARNING, "connections-reduced", f"{told}, not {wanted} (`limits.connections`). {remedy}")


def _listen_to_signals(stop: asyncio.Event, hurry: asyncio.Event, again: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()

    def on_stop() -> None:
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_stop)
    loop.add_signal_handler(signal.SIGHUP, again.set)


async def _stop(service: Service, hurry: asyncio.Event) -> bool:
    log_event(log, logging.INFO, "draining", "stopping", under_way=await service.drain())
    drained = await service.finish(hurry=hurry)
    log_event(log, logging.INFO if drained else logging.WARNING, "stopped", "stopped", drained=drained)
    return drained


def _fixed_settings(config: Config) -> list[Any]:
    return [getattr(config, key) for key in FIXED]


class Reloader:
    """Reads the configuration again; whatever is wrong with it, the old one stays."""

    def __init__(self, service: Service, config: Config, read_again: Callable[[], Loaded]) -> None:
        self._service = service
        self._fixed = _fixed_settings(config)
        self._read_again = read_again

    async def run(self, again: asyncio.Event) -> None:
        """Once for each time that `again` is set, one after the other, until it is cancelled."""
        while await again.wait():
            again.clear()
            await asyncio.wait({asyncio.create_task(self._once())})  # a defect in one is logged, and ends that one only

    async def _once(self) -> None:
        try:
            with short_switches(), pause_collection():
                config = (await in_thread(self._read_again, owner=self)).config
                await self._service.reload(config)
        except (ConfigProblems, OSError) as problem:
            between = "\n" if isinstance(problem, ConfigProblems) else " "
            log_event(log, logging.ERROR, "reload-refused", f"the configuration stays as it was:{between}{problem}")
            return
        fixed = _fixed_settings(config)
        if fixed != self._fixed:
            told = f"{', '.join(f'`{key}`' for key in FIXED)} change only at a restart"
            log_event(log, logging.WARNING, "restart-needed", told)
        self._fixed = fixed
        log_event(log, logging.INFO, "reloaded", "the configuration was read again", routes=len(config.routes))
