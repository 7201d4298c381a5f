"""Reports when places or file descriptors run out: one line in the log for each episode, and numbers that keep count.

libuv accepts and closes what it has no descriptor for and tells nobody, so the gateway looks for itself, once a second.
"""

import asyncio
import errno
import logging
import os
from collections.abc import Iterator

from gateway.http.connection_limits import ConnectionLimits, RefusalReason
from gateway.observe.episodes import Episodes
from gateway.observe.log import log_event
from gateway.system.descriptor_budget import Capacity

log = logging.getLogger("gateway.connections")

INTERVAL = 1.0
OUT_OF_FILES = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class Shortages:
    """Watches the descriptors of this process between `start` and `stop`; `refused` is told of connections.

    `found` counts the looks, one a second, that found no descriptor free.
    """

    def __init__(self, capacity: Capacity, places: ConnectionLimits) -> None:
        self._capacity = capacity
        self._places = places
        self._loop = asyncio.get_running_loop()
        self._episodes = Episodes(self._loop.time)
        self._timer: asyncio.TimerHandle | None = None
        self.found = 0
        self.is_short = False

    def start(self) -> None:
        """Looks now, and every second from now on."""
        self.is_short = not self._has_free()
        self._timer = self._loop.call_later(INTERVAL, self.start)

    def stop(self) -> None:
        """Looks no more."""
        if self._timer is not None:
            self._timer.cancel()

    def refused(self, refusal: RefusalReason, address: str | None) -> None:
        """A connection was not admitted. Strangers are counted, not logged: who they are is their requests' record."""
        if refusal is RefusalReason.LIMIT and self._episodes.begins(refusal.value):
            told = f"all {self._places.limit} places for connections of callers are taken; more get 503 or are closed"
            log_event(log, logging.WARNING, "connections-full", f"{told}. Raise `limits.connections`, or add a replica")
        elif refusal is RefusalReason.ADDRESS and self._episodes.begins(f"{refusal.value} {address}"):
            told = f"{address} holds its share of connections ({self._places.per_address}); more get 503 or are closed"
            remedy = "If many callers share this address, raise `limits.address_share`"
            log_event(log, logging.WARNING, "address-full", f"{told}. {remedy}", client=address)

    def told(self) -> dict[str, object]:
        """The numbers for `/status`."""
        places = self._places
        return {
            "connections": places.admitted,
            "limit": places.limit,
            "per_address": places.per_address,
            "refused": {refusal.value: places.refusals[refusal] for refusal in RefusalReason},
            "open_files": {"limit": self._capacity.files, "short": self.is_short, "shortages": self.found},
        }

    def metrics(self) -> Iterator[tuple[str, tuple[str, ...], int]]:
        """The numbers for `/metrics`: name, labels, value."""
        places = self._places
        yield "caller_connections", (), places.admitted
        yield "caller_connections_limit", (), places.limit
        for refusal in RefusalReason:
            yield "connections_refused_total", (refusal.value,), places.refusals[refusal]
        yield "file_shortages_total", (), self.found

    def _has_free(self) -> bool:
        try:
            os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            if error.errno not in OUT_OF_FILES:
                return True
            self.found += 1
            if self._episodes.begins("files"):
                told = f"no file descriptor is free ({error.strerror}): new connections are closed without an answer"
                remedy = "Raise the limit of open files (ulimit -n, LimitNOFILE=), or lower `limits.connections`"
                log_event(log, logging.ERROR, "files-exhausted", f"{told}. {remedy}", limit=self._capacity.files)
            return False
        return True
