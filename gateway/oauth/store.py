"""Where tokens are kept between fetches: the port. Its adapters are in `stores`."""

from dataclasses import dataclass
from typing import Protocol

from gateway.oauth.lifetime import Token


class StoreDown(Exception):
    """The store cannot be reached or answers nonsense; the text says how, without secrets."""


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """Whether a store of this kind (`memory`, `file`, `redis`) does its work; if not, why. No secrets."""

    ok: bool
    kind: str
    why: str = ""


class Store(Protocol):
    """Tokens, leases and refresh tokens by key (`grants.token_key`); every key of a credential derives from it.

    May forget a token or a lease at any time, never a refresh token. Every method may raise StoreDown.
    """

    async def get(self, key: str) -> Token | None:
        """The token kept under `key`, its instants by this process's clocks; never a dead one."""
        ...

    async def put(self, key: str, token: Token) -> None:
        """Keeps `token` under `key` in place of what was there."""
        ...

    async def drop(self, key: str, value: str) -> None:
        """Forgets the token under `key` if its value still is `value`, in one step."""
        ...

    async def claim(self, key: str, *, owner: str, seconds: float) -> bool:
        """True to one owner at a time, until it releases the lease or `seconds` have passed; asked again by the same
        owner, the lease is prolonged.
        """
        ...

    async def release(self, key: str, *, owner: str) -> None:
        """Gives the lease up, if it still is this owner's."""
        ...

    async def secret(self, key: str) -> str | None:
        """The refresh token kept under `key`."""
        ...

    async def keep_secret(self, key: str, value: str) -> None:
        """Keeps a refresh token in place of what was there; it is durable when this returns. A cancelled call may or
        may not have kept it.
        """
        ...

    async def drop_secret(self, key: str) -> None:
        """Forgets the refresh token under `key`."""
        ...

    def health(self) -> StoreHealth:
        """As of the last time that the store was asked anything."""
        ...

    async def close(self) -> None:
        """Lets go of files and connections; nothing is asked afterwards."""
        ...
