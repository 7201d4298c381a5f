"""From the settings `state` and `services` to reports of usage."""

import asyncio
import time
from collections.abc import Iterable

from msgspec.structs import replace

from gateway.config.model import Config
from gateway.history.usage_buckets import UsageRow
from gateway.history.usage_query import PackAllowance, UsageQuery, UsageReport
from gateway.oic.message_packs import hourly_messages
from gateway.system.files import DaemonThreads
from gateway.wiring.history import history_path

_TIMEOUT = 5.0  # seconds; a year of a busy gateway takes about one


def allowances_of(config: Config) -> dict[str, PackAllowance]:
    """Return the packs of each service whose number is known, by its name."""
    return {
        name: PackAllowance(entry.packs, entry.licence, hourly_messages(entry.packs, entry.licence))
        for name, entry in config.services.items()
        if entry.packs is not None
    }


class UsageReader:
    """Reads the usage of a configuration: from the history's file, if there is one, and from memory."""

    def __init__(self, config: Config) -> None:
        self._path = history_path(config)
        self._allowances = allowances_of(config)
        self._threads = DaemonThreads(1, name="usage-reader")

    async def report(
        self, query: UsageQuery, rows: Iterable[UsageRow], *, lost: int, stuck: tuple[int, ...] = ()
    ) -> UsageReport:
        """Return the report of the file and of these rows in a thread. Raise Unsearchable."""

        def work() -> UsageReport:
            from gateway.history.usage_reads import join_usage  # noqa: PLC0415 - imports sqlite3

            until = time.monotonic() + _TIMEOUT
            report = join_usage(self._path, query, rows, allowances=self._allowances, until=until)
            return replace(report, lost=lost, stuck=stuck)

        return await asyncio.wrap_future(self._threads.submit(work))
