"""Watches the files of the configuration (`watch: true`), and reloads when one has changed.

It polls: a change in a network mount or behind a link, such as `..data` of a Kubernetes ConfigMap, is no event of the
file that the gateway reads. A reload begins when the files did not change for a moment, so that one that is being
written, or the second of two, is not read too early.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

from gateway.config.watched_files import WatchedFiles, take_fingerprint
from gateway.system.files import in_thread

CHECK_INTERVAL = 1.0
"""Seconds between two looks at the files, and for which they must be unchanged before a reload."""
RETRY_INTERVAL = 60.0
"""Seconds after which a refused configuration is tried again: what it lacks, such as a secret, may be there now."""


class ConfigWatch:
    """Calls `reload` when files of a configuration change. `last_read` returns the files that were read last, and
    `is_refused` whether they were refused.
    """

    def __init__(
        self,
        reload: Callable[[], Awaitable[object]],
        *,
        last_read: Callable[[], WatchedFiles],
        is_refused: Callable[[], bool],
    ) -> None:
        self._reload = reload
        self._last_read = last_read
        self._is_refused = is_refused
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Watch, unless it does so already."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._watch())

    def stop(self) -> None:
        """Stop watching. A reload that has begun goes on."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _watch(self) -> None:
        time = asyncio.get_running_loop().time
        previous, retry_at = self._last_read(), time() + RETRY_INTERVAL
        while True:
            await asyncio.sleep(CHECK_INTERVAL)
            current = previous
            with suppress(OSError):  # a hanging volume: nothing is known to have changed
                current = await in_thread(partial(_look_again, self._last_read()), owner=self)
            is_settled = current == previous
            previous = current
            has_changed = current.fingerprint != self._last_read().fingerprint
            if is_settled and (has_changed or (self._is_refused() and time() >= retry_at)):
                # A defect is logged and ends only this reload.
                await asyncio.wait({asyncio.ensure_future(self._reload())})
                previous, retry_at = self._last_read(), time() + RETRY_INTERVAL


def _look_again(files: WatchedFiles) -> WatchedFiles:
    return WatchedFiles(files.patterns, take_fingerprint(files.patterns))
