"""The notifications of a gateway, as the configuration has them."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from gateway.config.model import Config
from gateway.server.serving_processes import ServingProcesses
from gateway.system.background_tasks import BackgroundTasks
from gateway.wiring.secret_reader import secret_servers

if TYPE_CHECKING:
    from gateway.notifications.notifier import Notifier, NotifyResult


class NotifierMount:
    """Runs the `Notifier` of the present configuration; without `notify` nothing of it is imported."""

    def __init__(self, processes: Callable[[], ServingProcesses], environ: Mapping[str, str]) -> None:
        """`environ` contains secrets that are variables."""
        self._processes = processes
        self._environ = environ
        self._settings: tuple[Any, ...] = ()
        self._notifier: Notifier | None = None
        self._counts: Counter[tuple[str, NotifyResult]] = Counter()
        self._closing = BackgroundTasks()

    def apply_config(self, config: Config) -> None:
        """Use the hooks of a configuration from now on."""
        console_url = None if config.console is None else config.console.url
        settings = config.notify, config.state, secret_servers(config), config.public_url, console_url
        if settings == self._settings:
            return
        self._settings = settings
        self._remove()
        if config.notify:
            from gateway.notifications.notifier import Notifier  # noqa: PLC0415 - only with hooks

            conditions = self._processes().conditions
            self._notifier = Notifier(config, conditions, environ=self._environ, counts=self._counts)

    def metrics(self) -> Iterator[tuple[str, tuple[str, ...], float | list[float]]]:
        """Yield name, labels and value of each metric."""
        for labels, count in self._counts.items():
            yield "notifications_total", labels, count

    async def close(self) -> None:
        """Stop sending."""
        self._remove()
        await self._closing.wait()

    def _remove(self) -> None:
        if self._notifier is not None:
            self._closing.start(self._notifier.close())
        self._notifier = None
