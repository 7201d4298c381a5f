"""Reports a lack of connections or file descriptors: one log line for each episode, and counters.

libuv closes a connection that it has no descriptor for, and does not report it. Therefore this checks once a second.
"""

import asyncio
import logging
import os
from collections.abc import Iterator

from gateway.http.connection_limits import ConnectionLimits, RefusalReason
from gateway.observe.episodes import EventDeduplicator
from gateway.observe.log import log_event
from gateway.system.descriptor_budget import SHORTAGE_ERRORS, Capacity

log = logging.getLogger("gateway.connections")

INTERVAL = 1.0


class ShortageMonitor:
    """Watch the descriptors of this process from `start` to `stop`, and the refused connections.

    `shortages` counts the checks, one a second, that found no free descriptor.
    """

    def __init__(self, capacity: Capacity, connections: ConnectionLimits) -> None:
        self._capacity = capacity
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._episodes = EventDeduplicator(self._loop.time)
        self._timer: asyncio.TimerHandle | None = None
        self.shortages = 0
        self.is_short = False

    def start(self) -> None:
        """Check at once, and then every second."""
        self.is_short = not self._has_free_descriptor()
        self._timer = self._loop.call_later(INTERVAL, self.start)

    def stop(self) -> None:
        """Stop checking."""
        if self._timer is not None:
            self._timer.cancel()

    def report_refusal(self, refusal: RefusalReason, address: str | None) -> None:
        """Report a refused connection. A forbidden address is only counted: its requests have records of their own."""
        if refusal is RefusalReason.LIMIT and self._episodes.starts_episode(refusal.value):
            message = f"all {self._connections.limit} connections of callers are in use; more get 503 or are closed"
            log_event(
                log, logging.WARNING, "connections-full", f"{message}. Raise `limits.connections`, or add a replica"
            )
        elif refusal is RefusalReason.ADDRESS and self._episodes.starts_episode(f"{refusal.value} {address}"):
            message = (
                f"{address} uses its share of connections ({self._connections.per_address}); more get 503 or are closed"
            )
            remedy = "If many callers share this address, raise `limits.address_share`"
            log_event(log, logging.WARNING, "address-full", f"{message}. {remedy}", client=address)

    def status(self) -> dict[str, object]:
        """Return the numbers for `/status`."""
        connections = self._connections
        return {
            "connections": connections.admitted,
            "limit": connections.limit,
            "per_address": connections.per_address,
            "refused": {refusal.value: connections.refusals[refusal] for refusal in RefusalReason},
            "open_files": {"limit": self._capacity.files, "short": self.is_short, "shortages": self.shortages},
        }

    def metrics(self) -> Iterator[tuple[str, tuple[str, ...], int]]:
        """Yield the numbers for `/metrics`: name, labels, value."""
        connections = self._connections
        yield "caller_connections", (), connections.admitted
        yield "caller_connections_limit", (), connections.limit
        for refusal in RefusalReason:
            yield "connections_refused_total", (refusal.value,), connections.refusals[refusal]
        yield "file_shortages_total", (), self.shortages

    def _has_free_descriptor(self) -> bool:
        """Open a file to find out; count and report a failure."""
        try:
            os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            if error.errno not in SHORTAGE_ERRORS:
                return True
            self.shortages += 1
            if self._episodes.starts_episode("files"):
                message = f"no file descriptor is free ({error.strerror}): new connections are closed without an answer"
                remedy = "Raise the limit of open files (ulimit -n, LimitNOFILE=), or lower `limits.connections`"
                log_event(log, logging.ERROR, "files-exhausted", f"{message}. {remedy}", limit=self._capacity.files)
            return False
        return True
