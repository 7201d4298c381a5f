"""A source with all that is about it: a clock that is turned by hand, a real endpoint, a watch that remembers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from gateway.oauth.endpoint import TokenEndpoint
from gateway.oauth.grants import TokenRequest, build, token_key
from gateway.oauth.rate_limiter import RateLimiter
from gateway.oauth.store import Store
from gateway.oauth.stores.memory import MemoryStore
from gateway.oauth.token_source import TokenSource

ROUTE = "orders"
SECRET = "s3cret-horse+battery:staple"


class Turned:
    """A clock that stands still until it is turned; both readings at once, or one alone."""

    def __init__(self) -> None:
        self.passed = 1000.0
        self.time = 1_800_000_000.0

    def turn(self, seconds: float) -> None:
        self.passed += seconds
        self.time += seconds

    def monotonic(self) -> float:
        return self.passed

    def wall(self) -> float:
        return self.time


@dataclass
class Noted:
    """A watch that notes everything."""

    fetches: list[str] = field(default_factory=list)
    renewals: list[float] = field(default_factory=list)
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    permanent: list[bool] = field(default_factory=list)
    unkept_for: list[str] = field(default_factory=list)
    joined: int = 0
    replays: int = 0

    def fetched(self, result: str, seconds: float) -> None:
        self.fetches.append(result)

    def renewed(self, expires_in_s: float) -> None:
        self.renewals.append(expires_in_s)

    def failed(self, code: str, reason: str, remedy: str, *, permanent: bool) -> None:
        self.failures.append((code, reason, remedy))
        self.permanent.append(permanent)

    def unkept(self, why: str) -> None:
        self.unkept_for.append(why)

    def coalesced(self) -> None:
        self.joined += 1

    def replayed(self) -> None:
        self.replays += 1


@dataclass
class Scene:
    """The source and what stands about it."""

    source: TokenSource
    clock: Turned
    watch: Noted
    store: Store


@asynccontextmanager
async def scene(
    url: str,
    *,
    exchange: float = 5.0,
    token_wait: float = 5.0,
    luck: float = 0.0,
    clock: Turned | None = None,
    store: Store | None = None,
    request: Callable[[], TokenRequest] | None = None,
    budget: RateLimiter | None = None,
    fingerprint: Callable[[], Hashable] = str,
    expire: Callable[[], None] = lambda: None,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> AsyncIterator[Scene]:
    """Opens a source for the token endpoint at `url` and closes it."""
    clock = clock or Turned()
    store = store or MemoryStore(clock)
    watch = Noted()
    source = TokenSource(
        "orders-app",
        key=token_key(url, client_id="orders", grant="client_credentials"),
        request=request or (lambda: build(url, client_id="orders", client_secret=SECRET)),
        endpoint=TokenEndpoint(timeout=exchange, wall=clock.wall),
        store=store,
        clock=clock,
        luck=lambda: luck,
        budget=budget,
        fingerprint=fingerprint,
        expire=expire,
        token_wait=token_wait,
        watch=watch,
        sleep=sleep,
    )
    try:
        yield Scene(source, clock, watch, store)
    finally:
        await source.close()
