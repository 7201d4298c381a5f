"""The web console at the admin port, as the configuration has it."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from gateway.admin.admin_server import AdminServer
from gateway.admin.backend import AdminBackend
from gateway.config.model import Config
from gateway.server.reloader import Reloader
from gateway.server.serving_processes import ServingProcesses
from gateway.system.background_tasks import BackgroundTasks

if TYPE_CHECKING:
    from gateway.console.console import Console
    from gateway.server.console_data import ConsoleData


class ConsoleMount:
    """Serves the console at an admin server, if the configuration has one; else none of it is imported."""

    def __init__(
        self,
        server: AdminServer,
        backend: AdminBackend,
        processes: Callable[[], ServingProcesses],
        reloader: Reloader,
    ) -> None:
        """Serve no console yet. `processes` returns the processes that serve callers; it is called only with one."""
        self._server = server
        self._backend = backend
        self._processes = processes
        self._reloader = reloader
        self._console: Console | None = None
        self._data: ConsoleData | None = None
        self._closing = BackgroundTasks()

    def apply_config(self, config: Config) -> None:
        """Start, change or remove the console. Sessions stay as long as there is a console."""
        if config.console is None:
            self._remove()
        elif self._console is None or self._data is None:
            from gateway.console.console import Console  # noqa: PLC0415 - a sidecar has no console
            from gateway.server.console_data import ConsoleData  # noqa: PLC0415 - likewise

            self._data = ConsoleData(self._backend, self._processes(), self._reloader, config)
            self._console = Console(self._data, config, environ=os.environ)
        else:
            self._data.apply_config(config)
            self._console.apply_config(config)
        self._server.set_console(self._console.answer if self._console is not None else None)

    async def close(self) -> None:
        """Stop what the console does in the background."""
        self._remove()
        await self._closing.wait()

    def _remove(self) -> None:
        if self._data is not None:
            self._closing.start(self._data.close())
        self._console = self._data = None
