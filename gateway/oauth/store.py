"""Where tokens are kept between fetches: a port, and the adapter that keeps them in memory."""

from typing import Protocol

from cachetools import TLRUCache

from gateway.oauth.clock import Clock
from gateway.oauth.lifetime import Token


class Store(Protocol):
    """Tokens by key (`grants.token_key`). Never gives a dead token; may forget one at any time."""

    async def get(self, key: str) -> Token | None:
        """The token kept under `key`, unless it is dead or unknown."""
        ...

    async def put(self, key: str, token: Token) -> None:
        """Keeps `token` under `key` in place of what was there."""
        ...


class MemoryStore:
    """Tokens in this process; the least used go first when there are more than `size`."""

    def __init__(self, clock: Clock, *, size: int = 1024) -> None:
        self._tokens: TLRUCache[str, Token] = TLRUCache(
            maxsize=size, ttu=lambda _key, token, _now: token.dead_at, timer=clock.monotonic
        )

    async def get(self, key: str) -> Token | None:
        """The token kept under `key`, until it is dead by the monotonic clock."""
        return self._tokens.get(key)

    async def put(self, key: str, token: Token) -> None:
        """Keeps `token` under `key`."""
        self._tokens[key] = token
