"""The web console at the admin port, as the configuration has it."""

from typing import TYPE_CHECKING, cast

from gateway.admin.admin_server import AdminServer
from gateway.admin.backend import AdminBackend
from gateway.config.model import Config

if TYPE_CHECKING:
    from gateway.admin.console_backend import ConsoleBackend
    from gateway.console.console import Console


class ConsoleMount:
    """Serves the console of `backend` at an admin server, if the configuration has one; else none of it is imported."""

    def __init__(self, server: AdminServer, backend: AdminBackend) -> None:
        self._server = server
        self._backend = backend
        self._console: Console | None = None

    def apply_config(self, config: Config) -> None:
        """Start, change or remove the console. Sessions stay as long as there is a console."""
        if config.console is None:
            self._console = None
        elif self._console is None:
            from gateway.console.console import Console  # noqa: PLC0415 - a sidecar has no console

            self._console = Console(cast("ConsoleBackend", self._backend), config)
        else:
            self._console.apply_config(config)
        self._server.set_console(self._console.answer if self._console is not None else None)
