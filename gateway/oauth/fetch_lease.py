"""The lease under which one source fetches, and the results that sources share through one store.

The sources are in this process, in workers of this machine or in replicas elsewhere. One holds the lease and fetches.
The others poll for the result, a token or a failure, and take over when the holder is gone. If the store is down
(`StoreDown`), a source fetches as if it were alone.
"""

import asyncio
import hashlib
import itertools
import random
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar
from uuid import uuid4

from gateway.oauth.clock import Clock
from gateway.oauth.failures import Failure, failure_from_json
from gateway.oauth.lifetime import Token
from gateway.oauth.store import Store, StoreDown

LEASE_SECONDS = (
    5.0  # short, and extended while its holder fetches: others wait no longer than this for a holder that was killed
)
POLL_PAUSES = (0.02, 0.25)  # seconds between two polls: the first, the longest

Result = TypeVar("Result")


class FetchLease:
    """The lease of one source in `store`; all its keys derive from `key`. `random_fraction` in [0, 1) is jitter.

    Only sources with the same `authentication_hash` share a failure: another secret may work. A source that waits
    `max_wait` seconds for the lease, longer than any fetch may take, goes on without it.
    """

    def __init__(
        self,
        store: Store,
        key: str,
        *,
        clock: Clock,
        random_fraction: Callable[[], float] = random.random,
        authentication_hash: str = "",
        max_wait: float = 60.0,
    ) -> None:
        self._store = store
        self._key = key
        self._failed_key = f"{key}:failed:{authentication_hash}" if authentication_hash else f"{key}:failed"
        self._clock = clock
        self._random = random_fraction
        self._max_wait = max_wait
        self._owner = uuid4().hex
        self._replacement_owner = self._idle_owner = ""
        self._failure_entry = ""  # the value under the failure's key, as last read

    async def shared_token(self) -> Token | None:
        """Return the shared token, unless it is dead."""
        return await _or_default(self._store.get_token(self._key), default=None)

    async def publish_token(self, token: Token) -> None:
        """Share a token. Earlier failures no longer count."""
        await _or_default(self._store.put_token(self._key, token), default=None)
        if self._failure_entry:
            await _or_default(self._store.delete_token(self._failed_key, self._failure_entry), default=None)
            self._failure_entry = ""

    async def shared_failure(self, *, since: float) -> Failure | None:
        """Return the failure of another source after `since` (monotonic), until its back-off ends."""
        entry = await _or_default(self._store.get_token(self._failed_key), default=None)
        self._failure_entry = "" if entry is None else entry.value
        if entry is None or entry.obtained_at <= since:
            return None
        return failure_from_json(entry.value, until=entry.usable_until)

    async def publish_failure(self, failure: Failure) -> None:
        """Share a failure until its back-off ends, unless it is local, and end the replacement that has failed."""
        if self._replacement_owner:
            await _or_default(self._store.release_lease(self._refused_key, owner=self._replacement_owner), default=None)
            self._replacement_owner = ""
        if failure.is_local:
            return
        now, wall = self._clock.monotonic(), self._clock.wall()
        until, end = failure.until, wall + failure.until - now
        self._failure_entry = failure.to_json()
        entry = Token(self._failure_entry, obtained_at=now, stale_at=until, usable_until=until, usable_until_wall=end)
        await _or_default(self._store.put_token(self._failed_key, entry), default=None)

    async def run_exclusive(
        self, poll: Callable[[], Awaitable[Result | None]], fetch: Callable[[], Awaitable[Result]]
    ) -> Result:
        """Run `fetch` in one source at a time, and return its result. The others return what `poll` finds."""
        until = self._clock.monotonic() + self._max_wait
        for pause in self._poll_pauses():
            if await self._claim_lease() or self._clock.monotonic() >= until:
                break
            await asyncio.sleep(pause)
            if (found := await poll()) is not None:
                return found
        done = asyncio.Event()
        extending = asyncio.create_task(self._extend_lease(done), name="lease")
        try:
            found = await poll()
            return await fetch() if found is None else found
        finally:
            done.set()
            await extending
            await _or_default(self._store.release_lease(self._key, owner=self._owner), default=None)

    async def is_still_held(self) -> bool:
        """Return whether this source still holds the lease: a process that was suspended for too long has lost it."""
        return await self._claim_lease()

    async def try_replace_token(self, value: str, *, every: float) -> bool:
        """Delete the refused token if it still is the shared one. Return False, and delete nothing, within `every`
        seconds of the last such call of any source.
        """
        self._replacement_owner = uuid4().hex  # a new owner each time, so that no claim extends the interval
        claim = self._store.claim_lease(self._refused_key, owner=self._replacement_owner, seconds=every)
        if not await _or_default(claim, default=True):
            return False
        await _or_default(self._store.delete_token(self._key, value), default=None)
        return True

    async def record_replacement(self, token: str, *, every: float) -> None:
        """Record that `token` replaced the refused one; `record_acceptance` of it ends the interval."""
        await _or_default(self._store.release_lease(self._refused_key, owner=self._replacement_owner), default=None)
        await _or_default(
            self._store.claim_lease(self._refused_key, owner=_token_hash(token), seconds=every), default=True
        )

    async def record_acceptance(self, token: str) -> None:
        """Record that the upstream accepts the token: after a later refusal, any source may replace it at once."""
        await _or_default(self._store.release_lease(self._refused_key, owner=_token_hash(token)), default=None)

    async def block_renewal(self, token: str, *, until: float) -> None:
        """Record that the token was refused like the one before it: no source replaces a token before `until`
        (monotonic), even if this one is accepted elsewhere. Do nothing if another token is shared by now.
        """
        shared = await self.shared_token()
        if shared is not None and shared.value != token:
            return
        await self.record_acceptance(token)
        if (seconds := until - self._clock.monotonic()) > 0:
            claim = self._store.claim_lease(self._refused_key, owner=uuid4().hex, seconds=seconds)
            await _or_default(claim, default=True)

    async def claim_idle_renewal(self, seconds: float) -> bool:
        """Return True to one source at a time, once in so many seconds; False while the store is down."""
        self._idle_owner = uuid4().hex  # a new owner each time, so that no claim extends the interval
        claim = self._store.claim_lease(f"{self._key}:idle", owner=self._idle_owner, seconds=seconds)
        return await _or_default(claim, default=False)

    async def release_idle_renewal(self) -> None:
        """Let any source claim the idle renewal again, if this one made the last claim."""
        await _or_default(self._store.release_lease(f"{self._key}:idle", owner=self._idle_owner), default=None)

    @property
    def _refused_key(self) -> str:
        return f"{self._key}:refused"

    def _poll_pauses(self) -> Iterator[float]:
        first, longest = POLL_PAUSES
        return (min(longest, first * 1.5**count) * (0.5 + self._random() / 2) for count in itertools.count())

    async def _claim_lease(self) -> bool:
        return await _or_default(
            self._store.claim_lease(self._key, owner=self._owner, seconds=LEASE_SECONDS), default=True
        )

    async def _extend_lease(self, done: asyncio.Event) -> None:
        while not done.is_set():
            try:
                await asyncio.wait_for(done.wait(), LEASE_SECONDS / 3)
            except TimeoutError:
                await self._claim_lease()


def _token_hash(token: str) -> str:
    """Return a text that identifies the token without containing it."""
    return hashlib.sha256(token.encode()).hexdigest()[:32]


async def _or_default(call: Awaitable[Result], *, default: Result) -> Result:
    """Return the result of the store, or `default` if it is down."""
    try:
        return await call
    except StoreDown:
        return default
