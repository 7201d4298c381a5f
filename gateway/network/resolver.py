"""Resolve names with the system's resolver (`getaddrinfo`). A lookup that hangs delays no other name.

Each lookup has its own thread, because `getaddrinfo` cannot be interrupted. Concurrent requests for a name share one
lookup. While a lookup hangs or fails, the last good answer is used (RFC 8767): `failures` returns these names, and
`report` is called when this begins and when it ends.
"""

import asyncio
import socket
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec

FRESH_FOR = 5.0
"""Seconds for which an answer is used without a new lookup."""
MAX_LOOKUP_WAIT = 0.5
"""Seconds that a lookup may take before the last good answer is used."""
MAX_STALE = 86_400.0
"""Seconds after which a last good answer is no longer used."""
SECOND_THREAD_AFTER = 30.0
"""Seconds after which a lookup that hangs gets a second thread: the first one may never return."""
SLOW_AFTER = 1.0
"""Seconds after which a name counts as slow."""
MAX_THREADS = 64
MAX_SLOW_THREADS = 32
"""Maximum number of threads, and how many of them serve names whose last lookup was slow."""
MAX_NAMES = 4096
"""Maximum number of cached names; the least recently used one is removed first."""
FAILURE_SHOWN_FOR = 600.0
"""Seconds for which `failures` returns a failing name after its last use."""
REPORT_INTERVAL = 60.0
"""Minimum seconds between two reports of one name: its lookups may fail every few seconds."""

AddressInfo = tuple[int, int, int, str, Any]
"""Family, type, protocol, canonical name and socket address, as `getaddrinfo` returns them."""
Hints = tuple[int, int, int, int]
"""Family, type, protocol, flags."""
Key = tuple[Any, Any, Hints]
LookupFunction = Callable[..., list[Any]]

# These errors mean that the name has no address. All others are failures of the resolver.
_NO_ADDRESS = frozenset(
    code for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY") if (code := getattr(socket, name, None)) is not None
)


class StaleServing(msgspec.Struct, frozen=True):
    """The last good `addresses` of `name` are used, because the lookup hangs or failed with `error`.

    An empty `error` means that the lookup works again. `addresses` is its result; it is empty if the name has none.
    """

    name: str
    addresses: list[str]
    error: str = ""


@dataclass(slots=True)
class _CachedName:
    """A name, its last answer and its current lookup.

    Times that end in `_at` are by the clock `now`, `answered_time_of_day` and `failing_since` by `time_of_day`.
    """

    key: Key
    answer: list[AddressInfo] = field(default_factory=list)
    answered_at: float = 0.0
    answered_time_of_day: float = 0.0
    error: Exception | None = None
    failing_since: float | None = None
    used_at: float = 0.0
    lookup: "asyncio.Future[None] | None" = None
    lookup_began_at: float = 0.0
    thread_count: int = 0
    """Number of its lookups that run in a thread or wait for one."""
    is_slow: bool = False
    is_reported: bool = False
    """Whether the last report was that a stale answer is used."""
    reported_at: float = -REPORT_INTERVAL


class Resolver:
    """Resolves names for one event loop. `look_up` blocks; `now` is a monotonic clock, `time_of_day` the epoch time.

    `report` is called when a stale answer of a name is used, at most once in `REPORT_INTERVAL` seconds for each name,
    and again when the lookup works.
    """

    def __init__(
        self,
        *,
        look_up: LookupFunction = socket.getaddrinfo,
        now: Callable[[], float] = time.monotonic,
        time_of_day: Callable[[], float] = time.time,
    ) -> None:
        self._look_up = look_up
        self._now = now
        self._time_of_day = time_of_day
        self._names: OrderedDict[Key, _CachedName] = OrderedDict()
        self._queue: deque[_CachedName] = deque()
        self._running = 0
        self._running_slow = 0
        self.report: Callable[[StaleServing], None] = lambda _: None

    async def resolve(self, host: Any, port: Any, hints: Hints) -> list[AddressInfo]:
        """Return the addresses as `socket.getaddrinfo` does, with the same errors. An address needs no lookup."""
        if (literal := _read_literal(host, port, hints)) is not None:
            return literal
        # All port numbers share one lookup, for port 0. The name of a service is resolved with the host name.
        name = self._find_or_add((host, 0 if isinstance(port, int) else port, hints))
        now = name.used_at = self._now()
        if name.answer and now - name.answered_at < FRESH_FOR:
            return _with_port(name.answer, port)
        lookup = self._join_lookup(name, now)
        can_serve = _can_serve_stale(name, now)
        max_wait = max(0.0, name.lookup_began_at + MAX_LOOKUP_WAIT - now) if can_serve else None
        if max_wait is None or max_wait > 0:
            await asyncio.wait({lookup}, timeout=max_wait)
        if not lookup.done() or (name.error is not None and can_serve and name.answer):
            self._report_stale(name)
            if not name.is_reported:  # the lookup may become slow after the last request for it
                asyncio.get_running_loop().call_later(SLOW_AFTER, self._report_stale, name)
            return _with_port(name.answer, port)
        if name.error is not None:
            raise type(name.error)(*name.error.args)  # a new one for each request: a traceback belongs to one
        return _with_port(name.answer, port)

    def failures(self) -> dict[str, dict[str, object]]:
        """Return the recently used names that cannot be resolved now. `state` is `stale` while the last good
        `addresses` are used, else `unresolved`; `error` is the cause; `since` and `resolved` (the last success) are
        epoch seconds.
        """
        now, result = self._now(), dict[str, dict[str, object]]()
        for name in self._names.values():
            if now - name.used_at > FAILURE_SHOWN_FOR:
                continue
            if not (error := _current_error(name, now)):
                continue
            waiting = now - name.lookup_began_at if name.lookup is not None else 0.0
            can_serve = _can_serve_stale(name, now)
            since = name.failing_since if name.failing_since is not None else self._time_of_day() - waiting
            result[str(name.key[0])] = {
                "state": "stale" if can_serve else "unresolved",
                "error": error,
                "since": round(since, 3),
                "resolved": round(name.answered_time_of_day, 3) if name.answer else None,
                "addresses": _addresses(name) if can_serve else [],
            }
        return result

    def _find_or_add(self, key: Key) -> _CachedName:
        name = self._names.get(key)
        if name is None:
            name = self._names[key] = _CachedName(key)
            while len(self._names) > MAX_NAMES:
                self._names.popitem(last=False)
        else:
            self._names.move_to_end(key)
        return name

    def _join_lookup(self, name: _CachedName, now: float) -> "asyncio.Future[None]":
        """Return the current lookup of a name; start one if there is none."""
        if name.lookup is None:
            name.lookup = asyncio.get_running_loop().create_future()
            name.lookup_began_at = now
            self._enqueue(name)
        elif now - name.lookup_began_at >= SECOND_THREAD_AFTER and name.thread_count == 1:
            name.is_slow = True
            self._enqueue(name)
        return name.lookup

    def _enqueue(self, name: _CachedName) -> None:
        name.thread_count += 1
        self._queue.append(name)
        self._start_threads()

    def _start_threads(self) -> None:
        """Start threads for waiting lookups, in their order, up to the limits for all names and for slow ones."""
        postponed: list[_CachedName] = []
        while self._queue and self._running < MAX_THREADS:
            name = self._queue.popleft()
            if name.lookup is None:  # another thread has completed this lookup
                name.thread_count -= 1
                continue
            if name.is_slow and self._running_slow >= MAX_SLOW_THREADS:
                postponed.append(name)
                continue
            self._start_thread(name, name.lookup)
        self._queue.extendleft(reversed(postponed))

    def _start_thread(self, name: _CachedName, lookup: "asyncio.Future[None]") -> None:
        is_slow, began = name.is_slow, self._now()
        self._running += 1
        self._running_slow += is_slow
        loop = asyncio.get_running_loop()

        def run_lookup() -> None:
            host, port, (family, kind, proto, flags) = name.key
            outcome: list[AddressInfo] | Exception
            try:
                outcome = self._look_up(host, port, family, kind, proto, flags)
            except Exception as error:  # noqa: BLE001 - it is raised by `resolve`
                outcome = error
            with suppress(RuntimeError):  # the loop has been closed
                loop.call_soon_threadsafe(finish, outcome)

        def finish(outcome: list[AddressInfo] | Exception) -> None:
            self._running -= 1
            self._running_slow -= is_slow
            name.thread_count -= 1
            name.is_slow = self._now() - began >= SLOW_AFTER
            if name.lookup is lookup:  # else another thread has completed it
                name.lookup = None
                self._store_outcome(name, outcome)
                lookup.set_result(None)
            self._start_threads()

        try:
            # A daemon: the process does not wait for it when it exits.
            threading.Thread(target=run_lookup, name="dns-lookup", daemon=True).start()
        except RuntimeError as error:
            finish(OSError(f"cannot start a thread for a DNS lookup: {error}"))

    def _store_outcome(self, name: _CachedName, outcome: list[AddressInfo] | Exception) -> None:
        if not outcome:
            outcome = socket.gaierror(socket.EAI_NONAME, "the name has no address")
        if isinstance(outcome, Exception):
            name.error = outcome
            name.failing_since = self._time_of_day() if name.failing_since is None else name.failing_since
            if isinstance(name.error, socket.gaierror) and name.error.errno in _NO_ADDRESS:
                name.answer = []
                self._report_recovery(name)
            else:
                self._report_stale(name)
        else:
            name.answer, name.answered_at, name.answered_time_of_day = outcome, self._now(), self._time_of_day()
            name.error = name.failing_since = None
            self._report_recovery(name)

    def _report_stale(self, name: _CachedName) -> None:
        now = self._now()
        error = _current_error(name, now)
        if error and _can_serve_stale(name, now) and not name.is_reported and now - name.reported_at >= REPORT_INTERVAL:
            name.is_reported, name.reported_at = True, now
            self.report(StaleServing(str(name.key[0]), _addresses(name), error))

    def _report_recovery(self, name: _CachedName) -> None:
        if name.is_reported:
            name.is_reported = False
            self.report(StaleServing(str(name.key[0]), _addresses(name)))


def _read_literal(host: Any, port: Any, hints: Hints) -> list[AddressInfo] | None:
    """Return the answer for an IP address; None for a name. Contact no server."""
    family, kind, proto, flags = hints
    flags = (flags & ~socket.AI_ADDRCONFIG) | socket.AI_NUMERICHOST
    try:
        return list(socket.getaddrinfo(host, port, family, kind, proto, flags))
    except socket.gaierror:
        return None


def _with_port(answer: list[AddressInfo], port: Any) -> list[AddressInfo]:
    if not isinstance(port, int):
        return list(answer)
    return [
        (family, kind, proto, name, (address[0], port, *address[2:])) for family, kind, proto, name, address in answer
    ]


def _can_serve_stale(name: _CachedName, now: float) -> bool:
    return bool(name.answer) and now - name.answered_at < MAX_STALE


def _addresses(name: _CachedName) -> list[str]:
    return sorted({info[4][0] for info in name.answer})


def _current_error(name: _CachedName, now: float) -> str:
    """Return why a name cannot be resolved now; empty if it can be, or if its first lookup has not ended."""
    waiting = now - name.lookup_began_at if name.lookup is not None else 0.0
    if waiting >= SLOW_AFTER:
        return f"no answer for {waiting:.0f} s"
    if name.failing_since is None:
        return ""
    return getattr(name.error, "strerror", None) or str(name.error)
