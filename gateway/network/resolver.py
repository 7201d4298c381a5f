"""Resolves names with the system's resolver (`getaddrinfo`); a name that hangs delays no other.

Each lookup has its own thread, since `getaddrinfo` cannot be interrupted. All callers of a name share one lookup. The
last good answer is used while a lookup hangs or fails (RFC 8767); `troubles` returns these names, and `report` is
called when that begins and ends.
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

FRESH = 5.0
"""Seconds for which an answer is used without a new lookup."""
MAX_LOOKUP_WAIT = 0.5
"""Seconds that a lookup may take before the last good answer is used."""
MAX_STALE = 86_400.0
"""Seconds after which a last good answer is no longer used."""
OVERDUE = 30.0
"""Seconds after which a lookup that hangs gets a second thread: the first one may hang for ever."""
SLOW = 1.0
"""Seconds after which a name counts as slow."""
THREADS = 64
SLOW_THREADS = 32
"""Concurrent threads, and how many of them names may use that were slow the last time."""
NAMES = 4096
"""Cached names; the least recently used go first."""
SHOWN = 600.0
"""Seconds for which `troubles` shows a failing name after its last use."""
QUIET = 60.0
"""Seconds between two reports of one name: a lookup may fail every few seconds."""

AddressInfo = tuple[int, int, int, str, Any]
"""Family, type, protocol, canonical name and socket address, as `getaddrinfo` returns them."""
Hints = tuple[int, int, int, int]
"""Family, type, protocol, flags."""
Key = tuple[Any, Any, Hints]
LookUp = Callable[..., list[Any]]

# The name has no address: an answer like any other. Any other error is a failure of the resolver.
_NO_ADDRESS = frozenset(
    code for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY") if (code := getattr(socket, name, None)) is not None
)


@dataclass(frozen=True, slots=True)
class StaleServing:
    """The last good `addresses` of `name` are used since a lookup hangs or failed with `error`.

    Without an `error` that has ended: the lookup works again and returned these addresses, none if the name has none.
    """

    name: str
    addresses: list[str]
    error: str = ""


@dataclass(slots=True)
class _Name:
    """A name, its last answer and its lookup under way. Times are by `now`, those ending in `_at` the time of day."""

    key: Key
    answer: list[AddressInfo] = field(default_factory=list)
    answered: float = 0.0
    answered_at: float = 0.0
    error: Exception | None = None
    failing_at: float | None = None
    asked: float = 0.0
    lookup: "asyncio.Future[None] | None" = None
    began: float = 0.0
    pending: int = 0
    """Threads that resolve it, or are queued to."""
    is_slow: bool = False
    is_reported: bool = False
    """Whether the last report was that the last good answer is used."""
    reported: float = -QUIET


class Resolver:
    """Resolves names for one event loop. `look_up` blocks; `now` counts seconds, `wall` is the time of day.

    `report` gets a `StaleServing` when the last good answer of a name begins to be used, at most once in `QUIET`
    seconds for each name, and then one when the lookup works again.
    """

    def __init__(
        self,
        *,
        look_up: LookUp = socket.getaddrinfo,
        now: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._look_up = look_up
        self._now = now
        self._wall = wall
        self._names: OrderedDict[Key, _Name] = OrderedDict()
        self._waiting: deque[_Name] = deque()
        self._running = 0
        self._running_slow = 0
        self.report: Callable[[StaleServing], None] = lambda _: None

    async def resolve(self, host: Any, port: Any, hints: Hints) -> list[AddressInfo]:
        """Return what `socket.getaddrinfo` returns, with the same errors. An address needs no lookup."""
        if (literal := _read_literal(host, port, hints)) is not None:
            return literal
        # Ports share a lookup: the answer is for port 0. A service name is resolved with the host name.
        name = self._entry((host, 0 if isinstance(port, int) else port, hints))
        now = name.asked = self._now()
        if name.answer and now - name.answered < FRESH:
            return _with_port(name.answer, port)
        lookup = self._lookup(name, now)
        can_serve = _can_serve(name, now)
        max_wait = max(0.0, name.began + MAX_LOOKUP_WAIT - now) if can_serve else None
        if max_wait is None or max_wait > 0:
            await asyncio.wait({lookup}, timeout=max_wait)
        if not lookup.done() or (name.error is not None and can_serve and name.answer):
            self._report_stale(name)
            if not name.is_reported:  # a lookup may become slow when no caller waits for it
                asyncio.get_running_loop().call_later(SLOW, self._report_stale, name)
            return _with_port(name.answer, port)
        if name.error is not None:
            raise type(name.error)(*name.error.args)  # one for each caller, with its own traceback
        return _with_port(name.answer, port)

    def troubles(self) -> dict[str, dict[str, object]]:
        """Return the recently used names that cannot be resolved now: `state` is `stale` while the last good
        `addresses` are used, else `unresolved`; `error`; `since`, and when it was last `resolved` (epoch seconds).
        """
        now, result = self._now(), dict[str, dict[str, object]]()
        for name in self._names.values():
            if now - name.asked > SHOWN:
                continue
            if not (error := _error_now(name, now)):
                continue
            waiting = now - name.began if name.lookup is not None else 0.0
            can_serve = _can_serve(name, now)
            since = name.failing_at if name.failing_at is not None else self._wall() - waiting
            result[str(name.key[0])] = {
                "state": "stale" if can_serve else "unresolved",
                "error": error,
                "since": round(since, 3),
                "resolved": round(name.answered_at, 3) if name.answer else None,
                "addresses": _addresses(name) if can_serve else [],
            }
        return result

    def _entry(self, key: Key) -> _Name:
        name = self._names.get(key)
        if name is None:
            name = self._names[key] = _Name(key)
            while len(self._names) > NAMES:
                self._names.popitem(last=False)
        else:
            self._names.move_to_end(key)
        return name

    def _lookup(self, name: _Name, now: float) -> "asyncio.Future[None]":
        """Return the lookup of a name; start it if there is none."""
        if name.lookup is None:
            name.lookup = asyncio.get_running_loop().create_future()
            name.began = now
            self._queue(name)
        elif now - name.began >= OVERDUE and name.pending == 1:
            name.is_slow = True
            self._queue(name)
        return name.lookup

    def _queue(self, name: _Name) -> None:
        name.pending += 1
        self._waiting.append(name)
        self._start_next()

    def _start_next(self) -> None:
        """Start as many threads as allowed, first come, first served; slow names have their own limit."""
        held_back: list[_Name] = []
        while self._waiting and self._running < THREADS:
            name = self._waiting.popleft()
            if name.lookup is None:  # its other thread has returned the answer
                name.pending -= 1
                continue
            if name.is_slow and self._running_slow >= SLOW_THREADS:
                held_back.append(name)
                continue
            self._start(name, name.lookup)
        self._waiting.extendleft(reversed(held_back))

    def _start(self, name: _Name, lookup: "asyncio.Future[None]") -> None:
        is_slow, began = name.is_slow, self._now()
        self._running += 1
        self._running_slow += is_slow
        loop = asyncio.get_running_loop()

        def work() -> None:
            host, port, (family, kind, proto, flags) = name.key
            outcome: list[AddressInfo] | Exception
            try:
                outcome = self._look_up(host, port, family, kind, proto, flags)
            except Exception as error:  # noqa: BLE001 - it is raised to those who asked
                outcome = error
            with suppress(RuntimeError):  # the loop has been closed
                loop.call_soon_threadsafe(ended, outcome)

        def ended(outcome: list[AddressInfo] | Exception) -> None:
            self._running -= 1
            self._running_slow -= is_slow
            name.pending -= 1
            name.is_slow = self._now() - began >= SLOW
            if name.lookup is lookup:  # else its other thread was first
                name.lookup = None
                self._apply(name, outcome)
                lookup.set_result(None)
            self._start_next()

        try:
            threading.Thread(
                target=work, name="name lookup", daemon=True
            ).start()  # daemon: the process does not wait for it
        except RuntimeError as error:
            ended(OSError(f"no thread for the lookup of a name: {error}"))

    def _apply(self, name: _Name, outcome: list[AddressInfo] | Exception) -> None:
        if not outcome:
            outcome = socket.gaierror(socket.EAI_NONAME, "the name has no address")
        if isinstance(outcome, Exception):
            name.error = outcome
            name.failing_at = self._wall() if name.failing_at is None else name.failing_at
            if isinstance(name.error, socket.gaierror) and name.error.errno in _NO_ADDRESS:
                name.answer = []
                self._report_end(name)
            else:
                self._report_stale(name)
        else:
            name.answer, name.answered, name.answered_at = outcome, self._now(), self._wall()
            name.error = name.failing_at = None
            self._report_end(name)

    def _report_stale(self, name: _Name) -> None:
        now = self._now()
        error = _error_now(name, now)
        if error and _can_serve(name, now) and not name.is_reported and now - name.reported >= QUIET:
            name.is_reported, name.reported = True, now
            self.report(StaleServing(str(name.key[0]), _addresses(name), error))

    def _report_end(self, name: _Name) -> None:
        if name.is_reported:
            name.is_reported = False
            self.report(StaleServing(str(name.key[0]), _addresses(name)))


def _read_literal(host: Any, port: Any, hints: Hints) -> list[AddressInfo] | None:
    """Return the answer for an address; None for a name. Contacts no server."""
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


def _can_serve(name: _Name, now: float) -> bool:
    return bool(name.answer) and now - name.answered < MAX_STALE


def _addresses(name: _Name) -> list[str]:
    return sorted({info[4][0] for info in name.answer})


def _error_now(name: _Name, now: float) -> str:
    """Return why a name cannot be resolved now; empty if it can, or if it is not known yet."""
    waiting = now - name.began if name.lookup is not None else 0.0
    if waiting >= SLOW:
        return f"no answer for {waiting:.0f} s"
    if name.failing_at is None:
        return ""
    return getattr(name.error, "strerror", None) or str(name.error)
