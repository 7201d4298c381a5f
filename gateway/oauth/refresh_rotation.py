"""The refresh token of one credential: read from the store for each use, replaced there by the one that comes of it.

Many servers rotate: each use gives a new token and ends the old one, and one that is used twice ends the whole sign-in
(RFC 9700 §4.14.2). So only the holder of the lease uses it (turns), and one that replaces it is durable before anything
else happens. One that the configuration names is read only.

A server that has rotated while its answer is lost, or nobody lives to keep it, leaves the old token in the store. It is
used again: servers take it for a while just for this. One that does not refuses it, and a person must sign in.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from gateway.errors import TokenRefused, TokenUnavailable
from gateway.oauth.failures import code_of
from gateway.oauth.fetch_events import NullTokenEvents, TokenEvents
from gateway.oauth.store import Store, StoreDown
from gateway.system.files import in_thread

T = TypeVar("T")

PAUSE = 1.0  # seconds between two tries to keep what a store that is down could not


@dataclass(frozen=True, slots=True)
class _Replacement:
    """What is to stand in the store where `before` stands."""

    before: str | None = field(repr=False)
    text: str = field(repr=False)


class RefreshTokenRotation:
    """The refresh token that `store` keeps under `key`, the key of the lease too.

    `configured` reads the one that the configuration names: it is used until the first answer replaces it, and again
    when it changes. Without it a person has to sign in. `pause` is how time is waited for.
    """

    def __init__(
        self,
        store: Store,
        *,
        key: str,
        configured: Callable[[], str] | None = None,
        watch: TokenEvents | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._key = key
        self._configured = configured
        self._watch = watch or NullTokenEvents()
        self._pause = pause
        self._mark = ""
        self._stored_text: str | None = None  # what stands in the store, as last seen
        self._has_looked = False
        self._is_unread = False  # the store could not be read when a refresh token was last needed
        self._unsaved: _Replacement | None = None
        self._settling = asyncio.Lock()
        self._save_task: asyncio.Task[None] | None = None

    async def request_values(self) -> dict[str, str]:
        """What `Requests.made` is given beside what it reads itself; to be asked by the holder of the lease alone.

        Raises TokenUnavailable where the store cannot tell, and what `configured` raises.
        """
        mark = "" if self._configured is None else _mark(await in_thread(self._configured, owner=self))
        try:
            await self._flush_unsaved()
            self._is_unread = True
            self._stored_text = await self._store.secret(self._key)
        except StoreDown as down:
            raise TokenUnavailable(reason=f"store: no refresh token is used while the store is down: {down}") from down
        self._mark, self._has_looked, self._is_unread = mark, True, False
        token = decode_stored(self._stored_text, mark=mark)
        return {"refresh_token": token} if token else {}

    async def save(self, token: str | None) -> None:
        """Keeps the one that came with an answer, durably; without one the old one stays (RFC 6749 §6).

        A store that is down does not spoil the answer: the token is kept as soon as it is back.
        """
        text = encode_stored(token, mark=self._mark) if token else self._stored_text
        if text is None or text == self._stored_text:
            return
        self._unsaved = _Replacement(self._stored_text, text)
        try:
            await self._flush_unsaved()
        except StoreDown as down:
            self._watch.unkept(str(down))
            self._save_task = asyncio.create_task(self._retry_save(), name="refresh token")

    async def explain_refusal(self, error: TokenRefused) -> TokenRefused | TokenUnavailable:
        """What a refusal means: another token has taken the place of the refused one, a person must sign in, or what
        it says itself.
        """
        if code_of(error) != "invalid_grant":
            return error
        if await self.has_changed():
            return TokenUnavailable(reason="superseded: another refresh token has taken the refused one's place")
        if self._configured is not None:
            return error
        return TokenRefused(reason=f"sign-in: the refresh token is refused ({error.reason})")

    async def has_changed(self) -> bool:
        """Whether the store holds another refresh token than when it was last read, or can be read again."""
        before, has_looked = self._stored_text, self._has_looked
        try:
            self._stored_text, self._has_looked = await self._store.secret(self._key), True
        except StoreDown:
            return False
        is_readable_again, self._is_unread = self._is_unread, False
        return is_readable_again or (has_looked and before != self._stored_text)

    async def close(self) -> None:
        """A last try to keep what could not be kept."""
        if self._save_task is not None:
            self._save_task.cancel()
            await asyncio.wait({self._save_task})
        with contextlib.suppress(StoreDown):
            await self._flush_unsaved()

    async def _retry_save(self) -> None:
        while self._unsaved is not None:
            await self._pause(PAUSE)
            with contextlib.suppress(StoreDown):
                await self._flush_unsaved()

    async def _flush_unsaved(self) -> None:
        """Keeps what is not kept yet, unless someone has signed in or out meanwhile. Raises StoreDown."""
        async with self._settling:
            new = self._unsaved
            if new is None:
                return
            with contextlib.suppress(StoreDown):  # a store that cannot be read may yet be written
                if await self._store.secret(self._key) != new.before:
                    self._unsaved = None
                    return
            await self._store.keep_secret(self._key, new.text)
            self._stored_text, self._unsaved = new.text, None


def encode_stored(token: str, *, mark: str = "") -> str:
    """A refresh token as it stands in the store; `mark` stands for the configured one that it comes of."""
    return f"{mark} {token}" if mark else token


def decode_stored(text: str | None, *, mark: str = "") -> str:
    """The refresh token that `stored` has written with that `mark`; empty where there is none."""
    of, _, token = (text or "").rpartition(" ")
    return token if of == mark else ""


async def run_to_completion(work: Coroutine[Any, Any, T]) -> T:
    """What `work` gives. Whoever is cancelled meanwhile waits for its end: half a rotation is a sign-in lost."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # nobody is left to hear it
        raise


def _mark(configured: str) -> str:
    return hashlib.sha256(configured.encode("utf-8", "surrogatepass")).hexdigest()
