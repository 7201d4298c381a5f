"""Whose turn it is to fetch: a source's dealings with the others who keep the same token in the same store.

They may be sources of this process, workers of this machine or replicas elsewhere. One holds the lease and fetches;
the rest look for what comes of it, a token or a failure, and take over when the holder is gone. A store that is down
(`StoreDown`) never stops a fetch: it is as if nobody else were there.
"""

import asyncio
import hashlib
import itertools
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar
from uuid import uuid4

from gateway.oauth.clock import Clock
from gateway.oauth.failures import Failure, from_json
from gateway.oauth.lifetime import Token
from gateway.oauth.store import Store, StoreDown

LEASE_SECONDS = 5.0  # prolonged while its holder fetches: others wait no longer for one that was killed
POLL_PAUSES = (0.02, 0.25)  # seconds between two looks: the first, the longest

Found = TypeVar("Found")


class FetchLease:
    """The place of one source in `store` under `key`, from which all its keys derive; `luck` in [0, 1) is jitter. Only
    those who prove themselves alike, by `proof`, share a failure: a wrong secret says nothing of another one.

    Whoever waits `patience` seconds for a turn, longer than any fetch may take, goes on without one.
    """

    def __init__(
        self,
        store: Store,
        key: str,
        *,
        clock: Clock,
        luck: Callable[[], float],
        proof: str = "",
        patience: float = 60.0,
    ) -> None:
        self._store = store
        self._key = key
        self._failed_key = f"{key}:failed:{proof}" if proof else f"{key}:failed"
        self._clock = clock
        self._random = luck
        self._patience = patience
        self._owner = uuid4().hex
        self._replacing = ""
        self._failure_entry = ""  # what stands under the failure's key, as last seen

    async def shared_token(self) -> Token | None:
        """The token that is shared; never a dead one."""
        return await _or_default(self._store.get(self._key), otherwise=None)

    async def publish_token(self, token: Token) -> None:
        """Shares a token; what failed before it no longer counts."""
        await _or_default(self._store.put(self._key, token), otherwise=None)
        if self._failure_entry:
            await _or_default(self._store.drop(self._failed_key, self._failure_entry), otherwise=None)
            self._failure_entry = ""

    async def shared_failure(self, *, since: float) -> Failure | None:
        """The failure that another has met after `since` (monotonic), while it holds off new tries."""
        note = await _or_default(self._store.get(self._failed_key), otherwise=None)
        self._failure_entry = "" if note is None else note.value
        return from_json(note.value, until=note.dead_at) if note is not None and note.obtained_at > since else None

    async def publish_failure(self, failure: Failure) -> None:
        """Shares a failure for as long as it holds off new tries; what was to replace a token has not come of it."""
        if self._replacing:
            await _or_default(self._store.release(self._refused_key, owner=self._replacing), otherwise=None)
            self._replacing = ""
        now, wall = self._clock.monotonic(), self._clock.wall()
        end = wall + failure.until - now
        self._failure_entry = failure.to_json()
        note = Token(self._failure_entry, obtained_at=now, stale_at=failure.until, dead_at=failure.until, dead_wall=end)
        await _or_default(self._store.put(self._failed_key, note), otherwise=None)

    async def run_exclusive(
        self, look: Callable[[], Awaitable[Found | None]], fetch: Callable[[], Awaitable[Found]]
    ) -> Found:
        """What one `fetch` over all gives; those who do not get the turn take what `look` finds."""
        until = self._clock.monotonic() + self._patience
        for pause in self._pauses():
            if await self._claim() or self._clock.monotonic() >= until:
                break
            await asyncio.sleep(pause)
            if (found := await look()) is not None:
                return found
        done = asyncio.Event()
        holding = asyncio.create_task(self._keep_lease(done), name="lease")
        try:
            found = await look()
            return await fetch() if found is None else found
        finally:
            done.set()
            await holding
            await _or_default(self._store.release(self._key, owner=self._owner), otherwise=None)

    async def still_held(self) -> bool:
        """Whether the turn still is this source's: a process that stood still for longer than its lease has lost it."""
        return await self._claim()

    async def try_replace(self, value: str, *, every: float) -> bool:
        """Drops the token that was refused, if it still is the shared one: at most once in `every` seconds over all."""
        self._replacing = uuid4().hex  # never the same: the interval is not prolonged, it is for everyone
        mine = self._store.claim(self._refused_key, owner=self._replacing, seconds=every)
        if not await _or_default(mine, otherwise=True):
            return False
        await _or_default(self._store.drop(self._key, value), otherwise=None)
        return True

    async def replaced(self, token: str, *, every: float) -> None:
        """Another token took the place of the refused one: `accept` of it ends the interval."""
        await _or_default(self._store.release(self._refused_key, owner=self._replacing), otherwise=None)
        await _or_default(self._store.claim(self._refused_key, owner=_mark(token), seconds=every), otherwise=True)

    async def accept(self, token: str) -> None:
        """The upstream accepts the token: when it refuses it, it may be replaced at once, by whoever shares it."""
        await _or_default(self._store.release(self._refused_key, owner=_mark(token)), otherwise=None)

    async def hold_back(self, token: str, *, until: float) -> None:
        """The token was refused as the one before it was: none is replaced `until` (monotonic), even if this one is
        accepted elsewhere. If another token is shared by now, the refusal means nothing.
        """
        shared = await self.shared_token()
        if shared is not None and shared.value != token:
            return
        await self.accept(token)
        if (seconds := until - self._clock.monotonic()) > 0:
            lease = self._store.claim(self._refused_key, owner=uuid4().hex, seconds=seconds)
            await _or_default(lease, otherwise=True)

    @property
    def _refused_key(self) -> str:
        return f"{self._key}:refused"

    def _pauses(self) -> Iterator[float]:
        first, longest = POLL_PAUSES
        return (min(longest, first * 1.5**count) * (0.5 + self._random() / 2) for count in itertools.count())

    async def _claim(self) -> bool:
        return await _or_default(self._store.claim(self._key, owner=self._owner, seconds=LEASE_SECONDS), otherwise=True)

    async def _keep_lease(self, done: asyncio.Event) -> None:
        while not done.is_set():
            try:
                await asyncio.wait_for(done.wait(), LEASE_SECONDS / 3)
            except TimeoutError:
                await self._claim()


def _mark(token: str) -> str:
    """Stands for a token where it must not be read."""
    return hashlib.sha256(token.encode()).hexdigest()[:32]


async def _or_default(asked: Awaitable[Found], *, otherwise: Found) -> Found:
    """The store's answer, or what it would say if nobody else were there."""
    try:
        return await asked
    except StoreDown:
        return otherwise
