"""The lifecycle of `serve`: start, reload on SIGHUP, drain on SIGTERM, with the log lines and exit status of each.

One process (`SingleProcess`) and several (`Supervisor`) are both a `Service`, so operators see the same messages.
"""

import asyncio
import logging
import os
import resource
import secrets
import signal
from typing import Protocol

from gateway.admin.admin_server import MAX_CONNECTIONS, MAX_CONSOLE_CONNECTIONS
from gateway.config.load import Loaded
from gateway.config.model import Config
from gateway.config.resolved import count_origins
from gateway.observe.log import log_event
from gateway.proxy.headers import PSEUDONYM
from gateway.server.reloader import Reloader
from gateway.system.descriptor_budget import Capacity, share_files
from gateway.system.service_manager import ServiceManager

log = logging.getLogger("gateway.server.gateway")

MAX_FILES = 1 << 20
"""Number of open files to assume if the system sets no limit."""
STOP_MARGIN = 15.0
"""Seconds that a stop may take beyond `drain`."""


class Service(Protocol):
    """A whole gateway. `listen` and `admin` are its addresses as bound. It may set `stop_requested` to be stopped."""

    listen: str
    admin: str
    stop_requested: asyncio.Event

    async def start(self) -> None:
        """Open both ports. Raise OSError, with the address in its message, if one is in use."""

    async def reload(self, config: Config) -> None:
        """Use another configuration, except for its `RESTART_KEYS`. If a file that it names cannot be used, raise
        OSError and change nothing.
        """

    async def drain(self) -> int:
        """Accept no more requests. Return how many are in progress."""

    async def finish(self, *, force_stop: asyncio.Event) -> bool:
        """After `drain`: wait for the requests in progress (at most `drain` seconds, or until `force_stop` is set),
        then close everything. Return True if all of them could finish. It can also be called after a failed `start`.
        """


def choose_pseudonym() -> str:
    """Return a random name of this gateway for `Via`, by which its workers recognize a request that has already passed
    one of them (RFC 9110 §7.6.3).
    """
    return f"{PSEUDONYM}-{secrets.token_hex(8)}"


async def run_until_stopped(service: Service, loaded: Loaded, reloader: Reloader) -> int:
    """Run a service until SIGTERM or SIGINT; a second signal stops it at once. Return the exit status: 0 if all
    requests were completed, 1 if requests were cut off, 69 if a port is in use.
    """
    stop, force_stop, reload_requested = service.stop_requested, asyncio.Event(), asyncio.Event()
    manager = ServiceManager(os.environ)
    _handle_signals(stop, force_stop, reload_requested)
    for warning in loaded.warnings:
        log_event(log, logging.WARNING, "configuration", str(warning))
    _warn_of_file_limit(loaded.config)
    try:
        await service.start()
    except OSError as error:
        log_event(log, logging.ERROR, "not-started", error.strerror or str(error))
        force_stop.set()
        await service.drain()
        await service.finish(force_stop=force_stop)
        return 69
    listen = service.listen
    log_event(log, logging.INFO, "started", f"listening on {listen}", listen=listen, admin=service.admin)
    manager.send_ready(f"listening on {listen}")
    reloader.attach(service.reload, manager)
    background = {
        asyncio.create_task(reloader.run(reload_requested)),
        asyncio.create_task(_keep_watchdog_quiet(manager)),
    }
    await stop.wait()
    reloader.detach()
    for task in background:
        task.cancel()
    await asyncio.wait(background)
    manager.send_stopping(within=reloader.loaded.config.drain + STOP_MARGIN)
    return 0 if await _stop(service, force_stop) else 1


def raise_file_limit() -> None:
    """Raise the soft limit of open files to the hard limit: 1024 descriptors are fewer connections than `limits`
    allows.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def capacity_of(config: Config) -> Capacity:
    """Return how many connections the open-file limit of this process allows."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = MAX_FILES if files == resource.RLIM_INFINITY else files
    pools = config.pool.size * count_origins(config)
    # Browsers of the console keep many connections to the admin port, which is that of this process without workers.
    browsers = MAX_CONSOLE_CONNECTIONS - MAX_CONNECTIONS if config.console is not None and config.workers == 1 else 0
    capacity = share_files(files - min(browsers, files // 2), connections=config.limits.connections, pools=pools)
    return capacity._replace(files=files)


def _warn_of_file_limit(config: Config) -> None:
    capacity = capacity_of(config)
    wanted = config.limits.connections
    if capacity.connections < wanted:
        message = f"the limit of {capacity.files} open files allows {capacity.connections} connections of callers"
        remedy = "Raise it (ulimit -n, LimitNOFILE=), or lower `limits.connections` or `pool.size`"
        log_event(
            log, logging.WARNING, "connections-reduced", f"{message}, not {wanted} (`limits.connections`). {remedy}"
        )


def _handle_signals(stop: asyncio.Event, force_stop: asyncio.Event, reload_requested: asyncio.Event) -> None:
    loop, is_signalled = asyncio.get_running_loop(), False

    def on_stop() -> None:
        # Only a second signal is impatient: the first one after POST /quit is that of a pod that ends meanwhile.
        nonlocal is_signalled
        (force_stop if is_signalled else stop).set()
        is_signalled = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_stop)
    loop.add_signal_handler(signal.SIGHUP, reload_requested.set)
    loop.add_signal_handler(signal.SIGUSR1, _reopen_log)


def _reopen_log() -> None:
    """Write a line: the writer looks before each line whether the log file was replaced."""
    log_event(log, logging.INFO, "log-reopened", "the log continues in the present file")


async def _keep_watchdog_quiet(manager: ServiceManager) -> None:
    """Tell the service manager that this loop runs; it restarts a process that is silent for too long."""
    while manager.watchdog_interval is not None:
        manager.send_watchdog()
        await asyncio.sleep(manager.watchdog_interval)


async def _stop(service: Service, force_stop: asyncio.Event) -> bool:
    log_event(log, logging.INFO, "draining", "stopping", under_way=await service.drain())
    drained = await service.finish(force_stop=force_stop)
    log_event(log, logging.INFO if drained else logging.WARNING, "stopped", "stopped", drained=drained)
    return drained
