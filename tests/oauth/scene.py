"""A token source with a manual clock, a real token endpoint, and recorded events."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from gateway.config.model import RenewalSettings
from gateway.oauth.clock import Clock
from gateway.oauth.endpoint import TokenEndpoint
from gateway.oauth.fetch_events import FetchTrigger, TokenEvents
from gateway.oauth.fetch_lease import FetchLease
from gateway.oauth.grants import TokenRequest, TokenResponse, build_token_request, token_key
from gateway.oauth.lifetime import RenewalMargin
from gateway.oauth.rate_limiter import RateLimiter
from gateway.oauth.refresh_rotation import RefreshTokenRotation
from gateway.oauth.store import Store
from gateway.oauth.stores.memory import MemoryStore
from gateway.oauth.token_fetcher import TokenFetcher
from gateway.oauth.token_source import TokenSource
from tests.fakes.waiting import TIME_LIMIT

ROUTE = "orders"
SECRET = "s3cret-horse+battery:staple"
MARGIN = RenewalMargin(share=RenewalSettings().share, min_seconds=RenewalSettings().at_least)


class ManualClock:
    """A clock that stands still until it is turned; both readings at once, or one alone."""

    def __init__(self) -> None:
        self.passed = 1000.0
        self.time = 1_800_000_000.0

    def advance(self, seconds: float) -> None:
        self.passed += seconds
        self.time += seconds

    def monotonic(self) -> float:
        return self.passed

    def wall(self) -> float:
        return self.time


@dataclass
class RecordedTokenEvents:
    """Records all events of a token source."""

    triggers: list[FetchTrigger] = field(default_factory=list)
    fetches: list[str] = field(default_factory=list)
    renewals: list[float] = field(default_factory=list)
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    permanent: list[bool] = field(default_factory=list)
    not_stored_for: list[str] = field(default_factory=list)
    joined: int = 0
    started: int = 0
    ended: list[str | None] = field(default_factory=list)
    replays: int = 0

    def start_trace(self) -> str | None:
        self.started += 1
        return f"fetch-{self.started}"

    def end_trace(self, error: str | None) -> None:
        self.ended.append(error)

    def on_fetch_started(self, trigger: FetchTrigger) -> None:
        self.triggers.append(trigger)

    def on_fetched(self, result: str, seconds: float, status: int | None) -> None:
        self.fetches.append(result)

    def on_renewed(self, expires_in_s: float) -> None:
        self.renewals.append(expires_in_s)

    def on_failed(self, code: str, reason: str, remedy: str, *, permanent: bool) -> None:
        self.failures.append((code, reason, remedy))
        self.permanent.append(permanent)

    def on_refresh_token_not_stored(self, why: str) -> None:
        self.not_stored_for.append(why)

    def on_coalesced(self) -> None:
        self.joined += 1

    def on_retried(self) -> None:
        self.replays += 1


@dataclass
class Scene:
    """A token source with its clock, store and recorded events."""

    source: TokenSource
    clock: ManualClock
    watch: RecordedTokenEvents
    store: Store


def token_source(
    name: str,
    key: str,
    request: Callable[..., TokenRequest],
    endpoint: Callable[[TokenRequest], Awaitable[TokenResponse]],
    *,
    store: Store,
    clock: Clock,
    token_wait: float = TIME_LIMIT,
    lease_wait: float = 60.0,
    limiter: RateLimiter | None = None,
    rotation: RefreshTokenRotation | None = None,
    fingerprint: Callable[[], Hashable] = str,
    expire: Callable[[], None] = lambda: None,
    events: TokenEvents | None = None,
    random_fraction: Callable[[], float] = lambda: 0.0,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> TokenSource:
    """Return a token source with the default renewal settings."""
    lease = FetchLease(store, key, clock=clock, max_wait=lease_wait, random_fraction=random_fraction)
    fetcher = TokenFetcher(
        request,
        endpoint,
        lease=lease,
        clock=clock,
        margin=MARGIN,
        max_wait=token_wait,
        limiter=limiter,
        rotation=rotation,
        fingerprint=fingerprint,
        expire=expire,
        events=events,
        random_fraction=random_fraction,
    )
    return TokenSource(
        name,
        lease,
        fetcher,
        clock=clock,
        token_wait=token_wait,
        min_refresh_interval=RenewalSettings().refused_every,
        events=events,
        random_fraction=random_fraction,
        sleep=sleep,
    )


@asynccontextmanager
async def scene(
    url: str,
    *,
    exchange: float = TIME_LIMIT,
    token_wait: float = TIME_LIMIT,
    random_fraction: float = 0.0,
    clock: ManualClock | None = None,
    store: Store | None = None,
    request: Callable[[], TokenRequest] | None = None,
    limiter: RateLimiter | None = None,
    fingerprint: Callable[[], Hashable] = str,
    expire: Callable[[], None] = lambda: None,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> AsyncIterator[Scene]:
    """Open a source for the token endpoint at `url` and close it."""
    clock = clock or ManualClock()
    store = store or MemoryStore(clock)
    events = RecordedTokenEvents()
    source = token_source(
        "orders-app",
        token_key(url, client_id="orders", grant="client_credentials"),
        request or (lambda: build_token_request(url, client_id="orders", client_secret=SECRET)),
        TokenEndpoint(timeout=exchange, wall=clock.wall),
        store=store,
        clock=clock,
        random_fraction=lambda: random_fraction,
        limiter=limiter,
        fingerprint=fingerprint,
        expire=expire,
        token_wait=token_wait,
        events=events,
        sleep=sleep,
    )
    try:
        yield Scene(source, clock, events, store)
    finally:
        await source.close()
