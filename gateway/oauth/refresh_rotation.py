"""The refresh token of one credential: read from the store for each use, and replaced there by its successor.

Many servers rotate: each use returns a new token and ends the old one, and a second use of the old one ends the whole
sign-in (RFC 9700 section 4.14.2). So only the holder of the lease uses it (`fetch_lease`), and its successor is durable
before anything else happens. A refresh token of the configuration is only read.

An entry of the store that cannot be read (`EntryUnreadable`) holds the newest token for a process that can read it: a
replica that has a new key of `state.keys` already, or a newer release. Until it can be read or a person signs in, no
refresh token is used, also not the configured one, which may be used up, and the entry is not overwritten.

If the server has rotated but the response was lost, or the process died before it stored the successor, the store holds
the old token. It is used again: many servers accept it for a while, for this case. If the server refuses it, a person
must sign in.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from gateway.errors import TokenRefused, TokenUnavailable
from gateway.oauth.failures import failure_code
from gateway.oauth.fetch_events import NullTokenEvents, TokenEvents
from gateway.oauth.store import EntryUnreadable, Store, StoreDown
from gateway.system.files import in_thread

T = TypeVar("T")

_UNREADABLE = (
    "store: no refresh token is used while the stored one cannot be read: a key in `state.keys` is missing, a newer "
    "release wrote it, or it is damaged"
)
SAVE_INTERVAL = 1.0  # seconds between two tries to save a token while the store is down


@dataclass(frozen=True, slots=True)
class _Replacement:
    """The `text` that is to replace `before` in the store."""

    before: str | None = field(repr=False)
    text: str = field(repr=False)


class RefreshTokenRotation:
    """The refresh token that `store` holds under `key`, which is the key of the lease too.

    `configured` reads the refresh token that the configuration names: it is used until the first response replaces it,
    and again when it changes. Without it a person must sign in. `sleep` is for tests.
    """

    def __init__(
        self,
        store: Store,
        *,
        key: str,
        configured: Callable[[], str] | None = None,
        events: TokenEvents | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._key = key
        self._configured = configured
        self._events = events or NullTokenEvents()
        self._sleep = sleep
        self._configured_id = ""  # identifies the configured token at the last read
        self._stored_text: str | None = None  # the store's entry at the last read
        self._has_read = False
        self._has_read_failed = False  # the store could not be read when a refresh token was last needed
        self._unsaved: _Replacement | None = None
        self._save_lock = asyncio.Lock()
        self._save_task: asyncio.Task[None] | None = None

    async def request_values(self) -> dict[str, str]:
        """Return the values for `TokenRequestBuilder.build`; only for the holder of the lease.

        Raise TokenUnavailable where the store cannot be read, and what `configured` raises.
        """
        configured_id = (
            "" if self._configured is None else _configured_token_hash(await in_thread(self._configured, owner=self))
        )
        try:
            await self._save_unsaved()
            self._has_read_failed = True
            self._stored_text = await self._store.get_refresh_token(self._key)
        except StoreDown as down:
            raise TokenUnavailable(reason=f"store: no refresh token is used while the store is down: {down}") from down
        except EntryUnreadable as cause:
            raise TokenUnavailable(reason=_UNREADABLE) from cause
        self._configured_id, self._has_read, self._has_read_failed = configured_id, True, False
        token = decode_stored(self._stored_text, configured_id=configured_id)
        return {"refresh_token": token} if token else {}

    async def save_refresh_token(self, token: str | None) -> None:
        """Store the refresh token of a response durably; without one the old token stays (RFC 6749 section 6).

        A store that is down does not fail the response: the token is stored as soon as the store is back.
        """
        text = encode_stored(token, configured_id=self._configured_id) if token else self._stored_text
        if text is None or text == self._stored_text:
            return
        self._unsaved = _Replacement(self._stored_text, text)
        try:
            await self._save_unsaved()
        except StoreDown as down:
            self._events.on_refresh_token_not_stored(str(down))
            self._save_task = asyncio.create_task(self._retry_save(), name="refresh token")

    async def explain_refusal(self, error: TokenRefused) -> TokenRefused | TokenUnavailable:
        """Return the error that a refusal stands for: another refresh token has replaced the refused one, a person must
        sign in, or the refusal itself.
        """
        if failure_code(error) != "invalid_grant":
            return error
        if await self.has_changed():
            return TokenUnavailable(reason="superseded: another refresh token has replaced the refused one")
        if self._configured is not None:
            return error
        return TokenRefused(reason=f"sign-in: the refresh token is refused ({error.reason})")

    async def has_changed(self) -> bool:
        """Return whether the refresh token in the store has changed since the last read, or can be read again."""
        before, has_read = self._stored_text, self._has_read
        try:
            self._stored_text, self._has_read = await self._store.get_refresh_token(self._key), True
        except (StoreDown, EntryUnreadable):
            return False
        is_readable_again, self._has_read_failed = self._has_read_failed, False
        return is_readable_again or (has_read and before != self._stored_text)

    async def has_token(self) -> bool:
        """Return whether a refresh token is stored or configured. False while it cannot be read."""
        try:
            return self._configured is not None or bool(await self._store.get_refresh_token(self._key))
        except (StoreDown, EntryUnreadable):
            return False

    async def close(self) -> None:
        """Try once more to store a token that the store did not accept."""
        if self._save_task is not None:
            self._save_task.cancel()
            await asyncio.wait({self._save_task})
        with contextlib.suppress(StoreDown):
            await self._save_unsaved()

    async def _retry_save(self) -> None:
        while self._unsaved is not None:
            await self._sleep(SAVE_INTERVAL)
            with contextlib.suppress(StoreDown):
                await self._save_unsaved()

    async def _save_unsaved(self) -> None:
        """Store the unsaved token, unless another process has changed the entry meanwhile. Raise StoreDown."""
        async with self._save_lock:
            new = self._unsaved
            if new is None:
                return
            try:
                has_changed = await self._store.get_refresh_token(self._key) != new.before
            except StoreDown:  # a store that cannot be read may still accept writes
                has_changed = False
            except EntryUnreadable:
                has_changed = True
            if has_changed:
                self._unsaved = None
                return
            await self._store.put_refresh_token(self._key, new.text)
            self._stored_text, self._unsaved = new.text, None


def encode_stored(token: str, *, configured_id: str = "") -> str:
    """Return the store entry of a refresh token; `configured_id` identifies the configured token that it replaced."""
    return f"{configured_id} {token}" if configured_id else token


def decode_stored(text: str | None, *, configured_id: str = "") -> str:
    """Return the refresh token that `encode_stored` wrote with that `configured_id`; empty if there is none."""
    stored_id, _, token = (text or "").rpartition(" ")
    return token if stored_id == configured_id else ""


async def run_to_completion(work: Coroutine[Any, Any, T]) -> T:
    """Return the result of `work`. If the caller is cancelled, wait for the end first: half a rotation loses the
    sign-in.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # retrieve it: no caller is left to receive it
        raise


def _configured_token_hash(configured: str) -> str:
    return hashlib.sha256(configured.encode("utf-8", "surrogatepass")).hexdigest()
