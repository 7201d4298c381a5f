"""Tokens shared as long as sharing is possible, and a gateway that goes on by itself when it is not.

While the shared store answers, it is asked; memory only remembers what was got. When it does not, the gateway goes on
with memory alone, at once: only the question that found out has waited, and no more than `limit`. A task of its own
looks after the store, at a bounded rate; when the store is back, what was got and dropped meanwhile is brought to it,
and it is asked again.

Refresh tokens are never kept by memory: one that is lost signs the gateway out, and one that is used twice may too.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from gateway.oauth.lifetime import Token
from gateway.oauth.store import Store, StoreDown, StoreHealth
from gateway.oauth.stores.backend_interface import EntryReporter
from gateway.oauth.stores.memory import MemoryStore

T = TypeVar("T")

PATIENCE = 5.0  # for what must not be lost
RETRY = 1.0  # between looks at a store that is down; up to twice that with jitter
BEAT = 10.0  # between looks at one that is not asked for anything
"""All in seconds."""


class SharedStore(Store, Protocol):
    """A store outside this process."""

    async def check(self) -> None:
        """Returns where the store can be read and written; raises StoreDown."""
        ...


class StoreEvents(EntryReporter, Protocol):
    """Is told how the store does; none of it may raise."""

    def store_down(self, why: str) -> None:
        """The gateway goes on by itself."""
        ...

    def store_up(self) -> None:
        """The store is shared again."""
        ...


class FallbackStore:
    """A `Store` that goes on without `shared`; made inside the loop, which it looks after the store in.

    No question waits longer than `limit` seconds for the shared store, save those about refresh tokens (`PATIENCE`).
    What `local` holds already is brought to the store first of all.
    """

    def __init__(
        self,
        shared: SharedStore,
        *,
        local: MemoryStore,
        watch: StoreEvents,
        limit: float = 0.5,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        luck: Callable[[], float] = random.random,
    ) -> None:
        self._shared = shared
        self._local = local
        self._watch = watch
        self._limit = limit
        self._pause = pause
        self._random = luck
        self._down_reason = ""
        self._pending_puts = set(local.keys())
        self._pending_drops: dict[str, str] = {}
        self._claimed: set[str] = set()  # leases that only memory knows
        self._contested: set[str] = set()  # of them, those that another gateway turned out to hold
        self._down_event = asyncio.Event()
        self._monitor_task = asyncio.create_task(self._monitor(), name="store")

    # The store ------------------------------------------------------------------------------------------------------

    async def get(self, key: str) -> Token | None:
        """See `Store`; never raises."""
        if self._down_reason:
            return await self._local.get(key)
        try:
            token = await self._ask_shared(self._shared.get(key))
        except StoreDown:
            return await self._local.get(key)
        if token is None and key in self._pending_puts:
            return await self._local.get(key)
        if token is not None:
            await self._local.put(key, token)
        return token

    async def put(self, key: str, token: Token) -> None:
        """See `Store`; never raises."""
        await self._local.put(key, token)
        if self._down_reason:
            self._pending_puts.add(key)
        else:
            await self._ignore_down(self._ask_shared(self._shared.put(key, token)))

    async def drop(self, key: str, value: str) -> None:
        """See `Store`; never raises."""
        await self._local.drop(key, value)
        self._pending_drops[key] = value
        if not self._down_reason:
            await self._ignore_down(self._delete_remote(key, value))

    async def claim(self, key: str, *, owner: str, seconds: float) -> bool:
        """See `Store`; never raises. While the store is down, one owner of this process alone."""
        if not self._down_reason:
            try:
                won = await self._ask_shared(self._shared.claim(key, owner=owner, seconds=seconds))
            except StoreDown:
                pass
            else:
                self._claimed.discard(key)
                self._contested.discard(key)
                return won
        self._claimed.add(key)
        return await self._local.claim(key, owner=owner, seconds=seconds)

    async def release(self, key: str, *, owner: str) -> None:
        """See `Store`; never raises. A lease that the store still holds for us has an end."""
        await self._local.release(key, owner=owner)
        self._claimed.discard(key)
        self._contested.discard(key)
        if not self._down_reason:
            await self._ignore_down(self._ask_shared(self._shared.release(key, owner=owner)))

    async def secret(self, key: str) -> str | None:
        """See `Store`. Raises StoreDown where the one that is kept cannot be known, and where a lease that was claimed
        by ourselves alone turned out to be another's: whoever uses a refresh token twice is signed out.
        """
        if self._down_reason:
            raise StoreDown(self._down_reason)
        if key in self._contested:
            raise StoreDown("another gateway holds the lease")
        return await self._ask_shared(self._shared.secret(key), limit=PATIENCE)

    async def keep_secret(self, key: str, value: str) -> None:
        """See `Store`; tried even where the store was down a moment ago. Raises StoreDown: then it is not kept."""
        await self._ask_shared(self._shared.keep_secret(key, value), limit=PATIENCE)

    async def drop_secret(self, key: str) -> None:
        """See `Store`; as `keep_secret`."""
        await self._ask_shared(self._shared.drop_secret(key), limit=PATIENCE)

    def health(self) -> StoreHealth:
        """See `Store`; at most so old as the pause between two looks."""
        return StoreHealth(ok=not self._down_reason, kind=self._shared.health().kind, why=self._down_reason)

    async def close(self) -> None:
        """See `Store`; whoever still asks is answered from memory."""
        self._monitor_task.cancel()
        await asyncio.wait({self._monitor_task})
        self._down_reason = self._down_reason or "closed"
        await self._ignore_down(self._ask_shared(self._shared.close(), limit=PATIENCE))

    # Down and up again ----------------------------------------------------------------------------------------------

    async def _ask_shared(self, answer: Awaitable[T], *, limit: float | None = None) -> T:
        """The shared store's answer, in time. Raises StoreDown, and has everybody go on without it from now on."""
        # A task apart: a client may swallow the cancellation that a time limit around it would be.
        asking = asyncio.ensure_future(answer)
        try:
            done, _ = await asyncio.wait({asking}, timeout=self._limit if limit is None else limit)
        except asyncio.CancelledError:
            asking.cancel()
            raise
        if not done:
            asking.cancel()
            asking.add_done_callback(_consume_result)
            self._mark_down("no answer in time")
            raise StoreDown("no answer in time")
        try:
            return asking.result()
        except StoreDown as cause:
            self._mark_down(str(cause))
            raise

    def _mark_down(self, why: str) -> None:
        """What the store knew it may have forgotten when it is back: all that memory holds will be brought to it."""
        if not self._down_reason:
            self._watch.store_down(why)
            self._pending_puts |= set(self._local.keys())
        self._down_reason = why
        self._down_event.set()

    async def _monitor(self) -> None:
        while True:
            try:
                await self._ignore_down(self._resynchronize())
            except Exception as error:  # noqa: BLE001 - a defect in one look must not end all looking
                self._mark_down(f"defect: {type(error).__name__}")
            self._down_event.clear()
            await self._wait_next_check()

    async def _wait_next_check(self) -> None:
        """After the pause of a store that is up, or, from the moment that it falls, of one that is down."""
        if not self._down_reason:
            beat = asyncio.ensure_future(self._pause(BEAT))
            fell = asyncio.ensure_future(self._down_event.wait())
            try:
                await asyncio.wait({beat, fell}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                beat.cancel()
                fell.cancel()
        if self._down_reason:
            await self._pause(RETRY * (1 + self._random()))

    async def _resynchronize(self) -> None:
        """Brings everything to the store that it does not know; then, and in the same breath, it is up."""
        await self._ask_shared(self._shared.check())
        for key, owner, seconds in self._local.leases():
            if key in self._claimed and not await self._ask_shared(
                self._shared.claim(key, owner=owner, seconds=seconds)
            ):
                self._contested.add(key)
        self._claimed.clear()
        while self._pending_drops or self._pending_puts:
            for key, value in tuple(self._pending_drops.items()):
                await self._delete_remote(key, value)
            for key in tuple(self._pending_puts):
                await self._upload(key)
        if self._down_reason:
            self._down_reason = ""
            self._watch.store_up()

    async def _upload(self, key: str) -> None:
        """What memory holds goes to the store, unless something newer is there."""
        token = await self._local.get(key)
        if token is not None:
            there = await self._ask_shared(self._shared.get(key))
            if there is None or there.obtained_at < token.obtained_at:
                await self._ask_shared(self._shared.put(key, token))
        if await self._local.get(key) is token:  # else another has come meanwhile, and is brought too
            self._pending_puts.discard(key)

    async def _delete_remote(self, key: str, value: str) -> None:
        await self._ask_shared(self._shared.drop(key, value))
        if self._pending_drops.get(key) == value:
            del self._pending_drops[key]

    async def _ignore_down(self, work: Awaitable[None]) -> None:
        """What fails here is done when the store is back."""
        with contextlib.suppress(StoreDown):
            await work


def _consume_result(asking: "asyncio.Future[Any]") -> None:
    """What comes too late says nothing to anybody."""
    if not asking.cancelled():
        asking.exception()
