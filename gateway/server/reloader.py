"""Reads the configuration again and puts it into use, for a signal, the admin port or a watch.

A `Reloader` exists before its service: the service's admin port requests reloads of it. `attach` connects the two.
"""

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

from msgspec.structs import asdict

from gateway import __version__
from gateway.config.difference import (
    Canonical,
    ConfigDifference,
    canonical_form,
    compare,
    digest_form,
    fingerprint,
    free,
)
from gateway.config.issue import ConfigProblems
from gateway.config.load import FileProblems, Loaded
from gateway.config.model import Config
from gateway.config.resolved import RESTART_KEYS, keep_start_settings
from gateway.observe.log import log_event
from gateway.observe.time_slices import short_switch_interval
from gateway.server.config_watch import ConfigWatch
from gateway.server.reload_report import ReloadReport
from gateway.system.files import in_thread
from gateway.system.gc_tuning import pause_collection
from gateway.system.service_manager import ServiceManager

log = logging.getLogger("gateway.server.gateway")

Trigger = Literal["signal", "admin", "watch", "console"]
"""What requested a reload."""
MAX_LOGGED = 20
"""Largest number of keys that a log line names."""
_KEPT = "cannot reload the configuration; the old one stays in use"
_STOPPING = "cannot reload the configuration: the gateway stops"
_DEFECT = "cannot reload the configuration because of a defect of the gateway; see its log"


class Reloader:
    """Reloads one configuration at a time. If the new one has errors, the old one stays in use.

    `loaded` is the one in use, since `loaded_at`; `last` is the outcome of the last reload, None before the first.
    """

    def __init__(self, loaded: Loaded, read_again: Callable[[], Loaded]) -> None:
        """Begin with `loaded`, the configuration that the gateway starts with."""
        self.loaded = loaded
        self.started_at = self.loaded_at = time.time()
        self.last: ReloadReport | None = None
        self._start_config = loaded.config.model_copy(update={"routes": []})  # routes need no restart
        self._read_again = read_again
        self._apply: Callable[[Config], Awaitable[None]] | None = None
        self._manager: ServiceManager | None = None
        self._watched = loaded.watched
        self._refusal = ""
        self._watch = ConfigWatch(
            partial(self.reload, "watch"),
            last_read=lambda: self._watched,
            is_refused=lambda: self.last is not None and not self.last.is_ok,
        )
        self._one_at_a_time = asyncio.Lock()
        self._next: asyncio.Task[ReloadReport] | None = None

    def attach(self, apply: Callable[[Config], Awaitable[None]], manager: ServiceManager) -> None:
        """Put configurations into use by `apply`, from now on; it raises OSError to refuse one."""
        self._apply, self._manager = apply, manager
        self._follow_watch()

    def detach(self) -> None:
        """Refuse reloads from now on, because the gateway stops."""
        self._apply = self._manager = None
        self._watch.stop()

    async def run(self, reload_requested: asyncio.Event) -> None:
        """Reload each time `reload_requested` is set, one reload after the other, until cancelled."""
        while await reload_requested.wait():
            reload_requested.clear()
            # A defect is logged and ends only this reload.
            await asyncio.wait({asyncio.create_task(self.reload("signal"))})

    async def reload(self, trigger: Trigger) -> ReloadReport:
        """Read the configuration again and put it into use. Return the outcome; a caller that leaves cancels nothing.

        Requests during a reload share one more, because the files may have changed after they were read.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._reload_next(trigger))
        return await asyncio.shield(self._next)

    async def reload_by_request(self) -> tuple[bool, dict[str, Any]]:
        """Reload for a request at the admin port. Return whether the configuration is in use, and the document."""
        report = await self.reload("admin")
        return report.is_ok, report.document()

    async def configuration_document(self) -> dict[str, Any]:
        """Return the configuration in use as digests, for a comparison. Values that may be secret are left out."""
        return await in_thread(self._describe, owner=self)

    def _describe(self) -> dict[str, Any]:
        loaded = self.loaded
        folder = str(Path(loaded.files[0].path).parent) if loaded.files else ""
        tree = canonical_form(keep_start_settings(self._start_config, loaded.config), folder)
        document = {"fingerprint": fingerprint(tree), "keys": digest_form(tree)}
        free(tree)
        return document

    def process_status(self) -> dict[str, Any]:
        """Return the process and the configuration that it runs, for `/status`; times in seconds since 1970."""
        return {
            "version": __version__,
            "pid": os.getpid(),
            "started_at": int(self.started_at),
            "configuration": {
                "sha256": self.loaded.sha256 or None,
                "files": [asdict(file) for file in self.loaded.files],
                "watched": self.loaded.config.watch,
                "loaded_at": int(self.loaded_at),
            },
            "last_reload": None if self.last is None else self.last.summary(),
        }

    async def _reload_next(self, trigger: Trigger) -> ReloadReport:
        async with self._one_at_a_time:
            self._next = None
            if self._apply is None or self._manager is None:
                return ReloadReport(time.time(), is_ok=False, message=_STOPPING)
            manager = self._manager
            manager.send_reloading()
            report = ReloadReport(time.time(), is_ok=False, message=_DEFECT)
            try:
                report = await self._reload(self._apply, trigger)
            finally:
                self.last = report
                if self._manager is not None:
                    manager.send_ready(report.message)
                    self._follow_watch()
            return report

    def _follow_watch(self) -> None:
        """Watch the files if the configuration in use has `watch`."""
        if self.loaded.config.watch:
            self._watch.start()
        else:
            self._watch.stop()

    async def _reload(self, apply: Callable[[Config], Awaitable[None]], trigger: Trigger) -> ReloadReport:
        try:
            with short_switch_interval(), pause_collection():
                loaded, difference, restart = await in_thread(self._read, owner=self)
                await apply(loaded.config)
        except (ConfigProblems, OSError) as problem:
            problems = problem.problems if isinstance(problem, ConfigProblems) else ()
            separator = "\n" if problems else " "
            message = f"{_KEPT}:{separator}{problem}"
            self._watched = problem.watched if isinstance(problem, FileProblems) else self._watched
            if trigger != "watch" or message != self._refusal:  # the watch tries again every minute
                log_event(log, logging.ERROR, "reload-refused", message, trigger=trigger)
            self._refusal = message
            return ReloadReport(time.time(), is_ok=False, message=_KEPT if problems else message, problems=problems)
        self.loaded, self.loaded_at, self._refusal = loaded, time.time(), ""
        report = ReloadReport(
            time.time(),
            is_ok=True,
            message="the configuration was reloaded",
            difference=difference,
            restart_needed=restart,
            problems=loaded.warnings,
        )
        _log_success(report, trigger, routes=len(loaded.config.routes))
        return report

    def _read(self) -> tuple[Loaded, ConfigDifference, tuple[str, ...]]:
        """Read the configuration and compare it with those in use and at the start; blocks."""
        loaded = self._read_again()
        self._watched = loaded.watched
        before, after = canonical_form(self.loaded.config), canonical_form(loaded.config)
        difference, start = compare(before, after), _restart_settings(canonical_form(self._start_config))
        restart = compare(start, _restart_settings(after)).restart
        free(before)
        free(after)
        return loaded, difference, restart


def _restart_settings(canonical: Canonical) -> Canonical:
    return {key: canonical[key] for key in RESTART_KEYS if key in canonical}


def _log_success(report: ReloadReport, trigger: Trigger, *, routes: int) -> None:
    if report.restart_needed:
        keys = " and ".join(f"`{key}`" for key in report.restart_needed)
        message = f"restart the gateway: a change of {keys} takes effect only at a restart"
        log_event(log, logging.WARNING, "restart-needed", message)
    lines = [*report.difference.lines()]
    fields: dict[str, Any] = {"changes": lines[:MAX_LOGGED], "changes_count": len(lines)}
    log_event(log, logging.INFO, "reloaded", report.message, routes=routes, trigger=trigger, **fields)
