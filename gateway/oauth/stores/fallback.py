"""A store that shares tokens while the shared store answers, and continues with memory alone while it does not.

While the shared store answers, it is used; memory is only a cache. When it stops answering, the gateway continues with
memory at once: only the call that notices it waits, for at most `timeout`. A background task checks the store at a
bounded rate; when the store is back, the changes made in the meantime are uploaded, and it is used again.

Refresh tokens are never in memory only: one that is lost ends the sign-in, and one that is used twice may end it too.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from gateway.errors import defect_origin
from gateway.oauth.lifetime import Token
from gateway.oauth.store import Store, StoreDown, StoreHealth
from gateway.oauth.stores.backend_interface import EntryReporter
from gateway.oauth.stores.memory import MemoryStore

T = TypeVar("T")

DURABLE_TIMEOUT = 5.0
"""Seconds for one operation on a refresh token."""
RETRY_INTERVAL = 1.0
"""Seconds between two checks of a store that is down; jitter makes it up to twice as long."""
CHECK_INTERVAL = 10.0
"""Seconds between two checks of a store that is up."""


class SharedStore(Store, Protocol):
    """A store outside this process."""

    async def check(self) -> None:
        """Return if the store can be read and written. Raise StoreDown."""
        ...


class StoreEvents(EntryReporter, Protocol):
    """Observes the store; no method may raise."""

    def on_store_down(self, why: str) -> None:
        """Report that the gateway continues with tokens in memory."""
        ...

    def on_store_up(self) -> None:
        """Report that tokens are shared again."""
        ...


class FallbackStore:
    """A `Store` that continues with `local` while `shared` is down. Construct it inside the loop that it runs in.

    No call waits longer than `timeout` seconds for the shared store, except those for refresh tokens
    (`DURABLE_TIMEOUT`). The tokens that `local` already holds are uploaded first.
    """

    def __init__(
        self,
        shared: SharedStore,
        *,
        local: MemoryStore,
        events: StoreEvents,
        timeout: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random_fraction: Callable[[], float] = random.random,
    ) -> None:
        self._shared = shared
        self._local = local
        self._events = events
        self._timeout = timeout
        self._sleep = sleep
        self._random = random_fraction
        self._down_reason = ""
        self._pending_puts = set(local.keys())
        self._pending_deletions: dict[str, str] = {}
        self._local_leases: set[str] = set()  # leases that only memory holds
        self._contested_leases: set[str] = set()  # those of them that another gateway holds too
        self._down_event = asyncio.Event()
        self._monitor_task = asyncio.create_task(self._monitor(), name="store")

    async def get_token(self, key: str) -> Token | None:
        """Return the token under `key`; never raises."""
        if self._down_reason:
            return await self._local.get_token(key)
        try:
            token = await self._ask_shared(self._shared.get_token(key))
        except StoreDown:
            return await self._local.get_token(key)
        if token is None and key in self._pending_puts:
            return await self._local.get_token(key)
        if token is not None:
            await self._local.put_token(key, token)
        return token

    async def put_token(self, key: str, token: Token) -> None:
        """Store a token; never raises."""
        await self._local.put_token(key, token)
        if self._down_reason:
            self._pending_puts.add(key)
        else:
            await self._ignore_down(self._ask_shared(self._shared.put_token(key, token)))

    async def delete_token(self, key: str, value: str) -> None:
        """Delete the token under `key` if its value is `value`; never raises."""
        await self._local.delete_token(key, value)
        self._pending_deletions[key] = value
        if not self._down_reason:
            await self._ignore_down(self._delete_shared(key, value))

    async def claim_lease(self, key: str, *, owner: str, seconds: float) -> bool:
        """Claim or extend a lease; never raises. While the store is down, only this process sees the lease."""
        if not self._down_reason:
            try:
                is_claimed = await self._ask_shared(self._shared.claim_lease(key, owner=owner, seconds=seconds))
            except StoreDown:
                pass
            else:
                self._local_leases.discard(key)
                self._contested_leases.discard(key)
                return is_claimed
        self._local_leases.add(key)
        return await self._local.claim_lease(key, owner=owner, seconds=seconds)

    async def release_lease(self, key: str, *, owner: str) -> None:
        """Release a lease; never raises. If the store is down, its lease expires."""
        await self._local.release_lease(key, owner=owner)
        self._local_leases.discard(key)
        self._contested_leases.discard(key)
        if not self._down_reason:
            await self._ignore_down(self._ask_shared(self._shared.release_lease(key, owner=owner)))

    async def get_refresh_token(self, key: str) -> str | None:
        """Return the refresh token under `key`. Raise StoreDown if the store cannot be read, and if another gateway
        holds the lease that was claimed in memory: a second use of a refresh token ends the sign-in. Raise
        EntryUnreadable.
        """
        if self._down_reason:
            raise StoreDown(self._down_reason)
        if key in self._contested_leases:
            raise StoreDown("another gateway holds the lease")
        return await self._ask_shared(self._shared.get_refresh_token(key), within=DURABLE_TIMEOUT)

    async def put_refresh_token(self, key: str, value: str) -> None:
        """Store a refresh token durably, even if the store was down a moment ago. Raise StoreDown if that fails."""
        await self._ask_shared(self._shared.put_refresh_token(key, value), within=DURABLE_TIMEOUT)

    async def delete_refresh_token(self, key: str) -> None:
        """Delete the refresh token under `key`. Raise StoreDown."""
        await self._ask_shared(self._shared.delete_refresh_token(key), within=DURABLE_TIMEOUT)

    def health(self) -> StoreHealth:
        """Return the health of the shared store at its last call or check."""
        return StoreHealth(ok=not self._down_reason, kind=self._shared.health().kind, why=self._down_reason)

    async def close(self) -> None:
        """Close the shared store. Later calls are answered from memory."""
        self._monitor_task.cancel()
        await asyncio.wait({self._monitor_task})
        self._down_reason = self._down_reason or "closed"
        await self._ignore_down(self._ask_shared(self._shared.close(), within=DURABLE_TIMEOUT))

    async def _ask_shared(self, call: Awaitable[T], *, within: float | None = None) -> T:
        """Return the shared store's answer. If there is none in time, mark the store as down and raise StoreDown."""
        # Its own task: a client may swallow the cancellation of `asyncio.timeout`.
        call_task = asyncio.ensure_future(call)
        try:
            done, _ = await asyncio.wait({call_task}, timeout=self._timeout if within is None else within)
        except asyncio.CancelledError:
            call_task.cancel()
            raise
        if not done:
            call_task.cancel()
            call_task.add_done_callback(_consume_result)
            self._mark_down("no answer in time")
            raise StoreDown("no answer in time")
        try:
            return call_task.result()
        except StoreDown as cause:
            self._mark_down(str(cause))
            raise

    def _mark_down(self, why: str) -> None:
        """Mark the store as down. When it is back, all tokens in memory are uploaded: the store may have lost its
        content.
        """
        if not self._down_reason:
            self._events.on_store_down(why)
            self._pending_puts |= set(self._local.keys())
        self._down_reason = why
        self._down_event.set()

    async def _monitor(self) -> None:
        while True:
            try:
                await self._ignore_down(self._resynchronize())
            except Exception as error:  # noqa: BLE001 - a defect in one check must not end all checks
                self._mark_down(f"defect: {defect_origin(error)}")
            self._down_event.clear()
            await self._wait_next_check()

    async def _wait_next_check(self) -> None:
        """Wait for CHECK_INTERVAL, or for RETRY_INTERVAL from the moment that the store goes down."""
        if not self._down_reason:
            interval = asyncio.ensure_future(self._sleep(CHECK_INTERVAL))
            down = asyncio.ensure_future(self._down_event.wait())
            try:
                await asyncio.wait({interval, down}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                interval.cancel()
                down.cancel()
        if self._down_reason:
            await self._sleep(RETRY_INTERVAL * (1 + self._random()))

    async def _resynchronize(self) -> None:
        """Upload the changes to the store. When none is left, the store is up, before any other call runs."""
        await self._ask_shared(self._shared.check())
        for key, owner, seconds in self._local.leases():
            if key in self._local_leases and not await self._ask_shared(
                self._shared.claim_lease(key, owner=owner, seconds=seconds)
            ):
                self._contested_leases.add(key)
        self._local_leases.clear()
        while self._pending_deletions or self._pending_puts:
            for key, value in tuple(self._pending_deletions.items()):
                await self._delete_shared(key, value)
            for key in tuple(self._pending_puts):
                await self._upload(key)
        if self._down_reason:
            self._down_reason = ""
            self._events.on_store_up()

    async def _upload(self, key: str) -> None:
        """Upload the token that memory holds, unless the store has a newer one."""
        token = await self._local.get_token(key)
        if token is not None:
            stored = await self._ask_shared(self._shared.get_token(key))
            if stored is None or stored.obtained_at < token.obtained_at:
                await self._ask_shared(self._shared.put_token(key, token))
        if (
            await self._local.get_token(key) is token
        ):  # else a newer one has arrived in the meantime, and is uploaded too
            self._pending_puts.discard(key)

    async def _delete_shared(self, key: str, value: str) -> None:
        await self._ask_shared(self._shared.delete_token(key, value))
        if self._pending_deletions.get(key) == value:
            del self._pending_deletions[key]

    async def _ignore_down(self, work: Awaitable[None]) -> None:
        """Ignore StoreDown: the change is uploaded when the store is back."""
        with contextlib.suppress(StoreDown):
            await work


def _consume_result(call_task: "asyncio.Future[Any]") -> None:
    """Retrieve the error of a call that ended too late."""
    if not call_task.cancelled():
        call_task.exception()
