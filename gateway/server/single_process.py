"""A whole gateway in this process: `Gateway` with both ports. It is all that `serve` needs with one process."""

import asyncio
import logging
import os
from collections.abc import Callable, Mapping

from gateway.admin.admin_server import AdminServer
from gateway.config.issue import SecretProblem
from gateway.config.load import Loaded
from gateway.config.model import Config
from gateway.config.resolved import listeners_of
from gateway.observe.log import Log, log_event
from gateway.server.console_mount import ConsoleMount
from gateway.server.gateway import Gateway
from gateway.server.lifecycle import choose_pseudonym, raise_file_limit, run_until_stopped
from gateway.server.listen_socket import ListenSockets, explain_bind_error, join_addresses
from gateway.server.notifier_mount import NotifierMount
from gateway.server.reloader import Reloader
from gateway.server.serving_processes import ServingProcesses
from gateway.system.passed_sockets import PassedSockets

log = logging.getLogger("gateway.server.gateway")


class SingleProcess:
    """The whole gateway in this process; implements `Service`."""

    def __init__(self, config: Config, records: Log, *, environ: Mapping[str, str], reloader: Reloader) -> None:
        self._config = config
        self._gateway = Gateway(config, records, environ=environ, pseudonym=choose_pseudonym(), reloader=reloader)
        self.stop_requested = asyncio.Event()
        request_stop = self.stop_requested.set if config.admin_quit else None
        self._admin = AdminServer(
            self._gateway,
            may_call=self._gateway.may_call,
            request_stop=request_stop,
            reloads=reloader,
            openmetrics=self._gateway.openmetrics,
        )
        self._console = ConsoleMount(self._admin, self._gateway, self._processes, reloader)
        self._notifier = NotifierMount(self._processes, environ)
        self._gateway.watch_notifications(self._notifier.metrics)
        self._console.apply_config(config)
        self._listen_sockets: ListenSockets | None = None
        self.listen = ""
        self.admin = config.admin

    async def start(self) -> None:
        """Open both ports."""
        passed = PassedSockets(os.environ)
        with explain_bind_error(self._config.admin):
            self.admin = await self._admin.start(self._config.admin, passed)
        self._listen_sockets = ListenSockets((listener.address for listener in listeners_of(self._config)), passed)
        passed.require_all_taken()
        self.listen = join_addresses(self._listen_sockets.addresses)
        await self._gateway.open(self._listen_sockets.addresses, self._listen_sockets.sockets())
        self._notifier.apply_config(self._config)

    async def reload(self, config: Config) -> None:
        """Use another configuration at once; requests in progress end with the old one."""
        await self._gateway.prepare(config)
        self._gateway.adopt()
        self._console.apply_config(config)
        self._notifier.apply_config(config)

    async def drain(self) -> int:
        """Stop listening for callers."""
        if self._listen_sockets is not None:
            self._listen_sockets.close()
        return await self._gateway.drain()

    async def finish(self, *, force_stop: asyncio.Event) -> bool:
        """Wait for the requests in progress; the admin port answers until the end."""
        drained = await self._gateway.finish(force_stop=force_stop)
        if self._listen_sockets is not None:
            self._listen_sockets.hand_back()
        await self._notifier.close()
        await self._console.close()
        await self._admin.close()
        return drained

    def _processes(self) -> ServingProcesses:
        from gateway.server.local_process import LocalProcess  # noqa: PLC0415 - only with a console or hooks

        return LocalProcess(self._gateway)


async def serve(loaded: Loaded, read_again: Callable[[], Loaded], records: Log) -> int:
    """Run a gateway in one process. Return the exit status of `run_until_stopped`."""
    raise_file_limit()
    reloader = Reloader(loaded, read_again)
    try:
        service = SingleProcess(loaded.config, records, environ=os.environ, reloader=reloader)
    except SecretProblem as problem:
        log_event(log, logging.ERROR, "not-started", str(problem))
        return 69
    return await run_until_stopped(service, loaded, reloader)
