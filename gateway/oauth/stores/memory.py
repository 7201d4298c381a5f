"""A store in the memory of this process: the default, and the local store of `FallbackStore`."""

from collections.abc import Iterable

from cachetools import TLRUCache

from gateway.oauth.clock import Clock
from gateway.oauth.lifetime import Token, token_state
from gateway.oauth.store import StoreHealth


class MemoryStore:
    """A `Store` that ends with the process. Above `size` tokens, the least recently used are dropped."""

    def __init__(self, clock: Clock, *, size: int = 1024) -> None:
        self._clock = clock
        self._tokens: TLRUCache[str, Token] = TLRUCache(
            maxsize=size, ttu=lambda _key, token, _now: token.usable_until, timer=clock.monotonic
        )
        self._leases: dict[str, tuple[str, float]] = {}
        self._refresh_tokens: dict[str, str] = {}

    async def get_token(self, key: str) -> Token | None:
        """Return the token under `key`, unless it is dead by either clock."""
        token = self._tokens.get(key)
        now, wall = self._clock.monotonic(), self._clock.wall()
        return None if token_state(token, now=now, wall=wall) == "dead" else token

    async def put_token(self, key: str, token: Token) -> None:
        """Store a token; a dead one changes nothing."""
        if token_state(token, now=self._clock.monotonic(), wall=self._clock.wall()) != "dead":
            self._tokens[key] = token

    async def delete_token(self, key: str, value: str) -> None:
        """Delete the token under `key` if its value is `value`."""
        token = self._tokens.get(key)
        if token is not None and token.value == value:
            del self._tokens[key]

    async def claim_lease(self, key: str, *, owner: str, seconds: float) -> bool:
        """Claim or extend the lease of `key`."""
        holder, until = self._leases.get(key, (owner, 0.0))
        now = self._clock.monotonic()
        if holder != owner and now < until:
            return False
        self._leases[key] = owner, now + seconds
        return True

    async def release_lease(self, key: str, *, owner: str) -> None:
        """Release the lease of `key`."""
        if self._leases.get(key, ("", 0.0))[0] == owner:
            del self._leases[key]

    async def get_refresh_token(self, key: str) -> str | None:
        """Return the refresh token under `key`."""
        return self._refresh_tokens.get(key)

    async def put_refresh_token(self, key: str, value: str) -> None:
        """Store a refresh token, as durable as the process."""
        self._refresh_tokens[key] = value

    async def delete_refresh_token(self, key: str) -> None:
        """Delete the refresh token under `key`."""
        self._refresh_tokens.pop(key, None)

    def health(self) -> StoreHealth:
        """Return that the store works."""
        return StoreHealth(ok=True, kind="memory")

    async def close(self) -> None:
        """Do nothing."""

    def keys(self) -> Iterable[str]:
        """Return the keys of all tokens."""
        return tuple(self._tokens)

    def leases(self) -> Iterable[tuple[str, str, float]]:
        """Return each lease that has not ended: key, owner, seconds left."""
        now = self._clock.monotonic()
        return tuple((key, owner, until - now) for key, (owner, until) in self._leases.items() if now < until)
