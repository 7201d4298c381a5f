"""Caches the secrets of a server, such as a vault, and bounds the time of each read.

During an outage of the server the cached copies stay in use; a secret that the server refuses is dropped. Each read
runs in its own thread, which is abandoned after `LIMIT`: time limits of libraries apply to single steps and do not
bound a slow response.
"""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from gateway.config.issue import SecretProblem, StoreFailure
from gateway.system.files import run_with_timeout

K = TypeVar("K", bound=Hashable)

RETRY_INTERVAL = 10.0  # seconds until an expired or failed secret is requested again
LIMIT = 20.0  # seconds: to read one secret


class SecretVersion(NamedTuple):
    """The content of a secret, the number of its version, and when that was written, in epoch seconds."""

    content: bytes
    number: int
    written_at: float | None


@dataclass(slots=True)
class _CachedSecret:
    """The cached version of a secret, valid until `until` (seconds of the clock)."""

    current: SecretVersion = field(repr=False)
    read_at: float
    until: float


class SecretCache(ABC, Generic[K]):
    """Secrets of a server by key. Calls may block; they are thread-safe.

    `refresh` is the time in seconds that a copy is used, `now` returns seconds. Every failure is a SecretProblem that
    names the secret, cached for `RETRY_INTERVAL` seconds. A subclass reads the secrets, one of each group at a time.
    """

    transient_remedy: str
    """What to do if the server does not answer."""

    def __init__(self, refresh: float, now: Callable[[], float] = time.monotonic) -> None:
        self._refresh_time = refresh
        self._now = now
        self._copies: dict[K, _CachedSecret] = {}
        self._failures: dict[Hashable, tuple[StoreFailure, float]] = {}  # by key; shared ones by group
        self._locks: dict[str, threading.Lock] = {}  # by group: one read at a time

    @abstractmethod
    def describe(self, key: K) -> str:
        """Return the name of the secret in a message."""

    @abstractmethod
    def group(self, key: K) -> str:
        """Return the name of the server that has the secret: its failures are shared."""

    @abstractmethod
    def retrieve(self, key: K) -> SecretVersion:
        """Read the current version from the server. Raise StoreFailure."""

    def abandon(self) -> None:
        """Forget the objects that an abandoned thread may use."""

    def read(self, key: K) -> bytes:
        """Return the content of the secret's current version. Raise SecretProblem."""
        return self._copy(key).current.content

    def version(self, key: K) -> int | None:
        """Return the number of the current version; None if the secret cannot be read."""
        try:
            return self._copy(key).current.number
        except SecretProblem:
            return None

    def written_at(self, key: K) -> float | None:
        """Return when the version that was read last was written, in epoch seconds; None if that is unknown. Do no
        I/O.
        """
        copy = self._copies.get(key)
        return None if copy is None else copy.current.written_at

    def expire(self, key: K) -> None:
        """Expire the copy, but not earlier than `RETRY_INTERVAL` seconds after it was read. Do no I/O."""
        copy = self._copies.get(key)
        if copy is not None:
            copy.until = min(copy.until, copy.read_at + RETRY_INTERVAL)

    def _copy(self, key: K) -> _CachedSecret:
        if (copy := self._valid_copy(key)) is not None:
            return copy
        with self._locks.setdefault(self.group(key), threading.Lock()):
            try:
                return self._valid_copy(key) or self._refresh(key)
            except StoreFailure as failure:
                raise SecretProblem(f"{self.describe(key)} {failure.reason}", failure.remedy) from None

    def _valid_copy(self, key: K) -> _CachedSecret | None:
        copy = self._copies.get(key)
        return copy if copy is not None and self._now() < copy.until else None

    def _refresh(self, key: K) -> _CachedSecret:
        now = self._now()
        failure = self._cached_failure(key, now) or self._fetch(key, now)
        if failure is None:
            return self._copies[key]
        copy = self._copies.get(key)
        if copy is None or not failure.is_transient:
            self._copies.pop(key, None)
            raise failure
        return copy

    def _cached_failure(self, key: K, now: float) -> StoreFailure | None:
        for name in (("secret", key), ("group", self.group(key))):
            failure, until = self._failures.get(name, (None, 0.0))
            if failure is not None and now < until:
                # A new exception: a raised one would collect tracebacks.
                return failure.copy()
        return None

    def _fetch(self, key: K, now: float) -> StoreFailure | None:
        try:
            current = self._retrieve_in_time(key)
        except StoreFailure as failure:
            name = ("group", self.group(key)) if failure.is_shared else ("secret", key)
            self._failures[name] = failure.copy(), self._now() + RETRY_INTERVAL
            return failure
        self._copies[key] = _CachedSecret(current, now, now + self._refresh_time)
        return None

    def _retrieve_in_time(self, key: K) -> SecretVersion:
        try:
            return run_with_timeout(lambda: self.retrieve(key), owner=(self, self.group(key)), timeout=LIMIT)
        except TimeoutError as error:
            self.abandon()
            what = f"is not available now ({error.strerror})"
            raise StoreFailure(what, self.transient_remedy, is_transient=True) from None
