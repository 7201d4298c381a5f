"""The interface of the store that holds tokens between fetches. Its implementations are in `stores`."""

from typing import Protocol

import msgspec

from gateway.oauth.lifetime import Token


class StoreDown(Exception):
    """The store cannot be reached or its answer is invalid; the text names the cause, without secrets."""


class EntryUnreadable(Exception):
    """The store has an entry, but not for this process: it was encrypted with a key that `state.keys` lacks, written by
    a newer release, or damaged.
    """


class StoreHealth(msgspec.Struct, frozen=True):
    """Whether a store of this kind (`memory`, `file`, `redis`) works; if not, why. No secrets."""

    ok: bool
    kind: str
    why: str = ""


class Store(Protocol):
    """Tokens, leases and refresh tokens by key (`grants.token_key`); every key of a credential derives from it.

    It may lose a token or a lease at any time, never a refresh token. Every method may raise StoreDown.
    """

    async def get_token(self, key: str) -> Token | None:
        """Return the token under `key`, its times by this process's clocks; None if it is dead."""
        ...

    async def put_token(self, key: str, token: Token) -> None:
        """Store `token` under `key`; it replaces the one before."""
        ...

    async def delete_token(self, key: str, value: str) -> None:
        """Delete the token under `key` if its value still is `value`, in one step."""
        ...

    async def claim_lease(self, key: str, *, owner: str, seconds: float) -> bool:
        """Claim the lease of `key`: return True to one owner at a time, until it releases the lease or `seconds` have
        passed. A further call of the same owner extends the lease.
        """
        ...

    async def release_lease(self, key: str, *, owner: str) -> None:
        """Release the lease if this owner still holds it."""
        ...

    async def get_refresh_token(self, key: str) -> str | None:
        """Return the refresh token under `key`. Raise EntryUnreadable: what is there may be the only valid one."""
        ...

    async def put_refresh_token(self, key: str, value: str) -> None:
        """Store a refresh token, which replaces the one before; it is durable when this returns. A cancelled call may
        or may not have stored it.
        """
        ...

    async def delete_refresh_token(self, key: str) -> None:
        """Delete the refresh token under `key`."""
        ...

    def health(self) -> StoreHealth:
        """Return the health at the last call."""
        ...

    async def close(self) -> None:
        """Close files and connections; no call follows."""
        ...
