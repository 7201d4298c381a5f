"""The token of one credential: obtained, renewed ahead of its end, and given to each caller.

At most one fetch is under way; callers only wait for it. State changes in one synchronous step before or after that
fetch, so there is no lock, and a caller that leaves cancels nothing. Sources that share the token in one store
coordinate through `FetchLease`.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any

from gateway.errors import TokenRefused, TokenUnavailable
from gateway.oauth.clock import Clock
from gateway.oauth.failures import code_of, remedy_for
from gateway.oauth.fetch_events import NullTokenEvents, TokenEvents
from gateway.oauth.fetch_lease import FetchLease
from gateway.oauth.lifetime import Token, decide, state
from gateway.oauth.rejections import ForcedRenewalPolicy
from gateway.oauth.shared_fetch import POLL_INTERVAL, FetchReason, SharedFetch
from gateway.oauth.token_fetcher import TokenFetcher
from gateway.oauth.token_status import EndpointFacts, Readiness, SourceCounters, source_status

SHARED_POLL_INTERVAL = 0.25
"""Seconds between two polls of the store while no renewal may be forced."""
MIN_PAUSE = 0.01
"""Seconds that a caller waits at least for the next try."""


class TokenSource:
    """The token of the credential `name`, shared with others by `lease`, fetched by `fetcher`.

    A caller waits at most `token_wait` seconds. After a renewal that the upstream's 401 forced, none is forced for
    `min_refresh_interval` seconds, unless the upstream accepts the new token. `random_fraction` gives the jitter of
    the back-off, in [0, 1); `sleep` is for tests.
    """

    def __init__(
        self,
        name: str,
        lease: FetchLease,
        fetcher: TokenFetcher,
        *,
        clock: Clock,
        token_wait: float,
        min_refresh_interval: float,
        events: TokenEvents | None = None,
        random_fraction: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.name = name
        self.rejections = ForcedRenewalPolicy(interval=min_refresh_interval)
        self._events = events or NullTokenEvents()
        self._lease = lease
        self._fetcher = fetcher
        self._shared = SharedFetch(
            name,
            lease,
            fetcher,
            clock=clock,
            rejections=self.rejections,
            events=self._events,
            random_fraction=random_fraction,
        )
        self._monotonic, self._wall = clock.monotonic, clock.wall
        self._token_wait, self._sleep = token_wait, sleep
        self._token: Token | None = None
        self._rejected: Token | None = None  # the present token before `reject` made it stale
        self._renewals = 0
        self._fetch: asyncio.Task[None] | None = None
        self._reports: set[asyncio.Task[None]] = set()
        self._next_poll_at = self._next_shared_poll_at = 0.0
        self._counters = SourceCounters()
        self._closed = False

    def current(self) -> str | None:
        """Return the bearer value while it is fresh, else None; cheap and synchronous, for the hot path."""
        token = self._token
        if token is not None and self._monotonic() < token.stale_at and self._wall() < token.dead_wall:
            return token.value
        return None

    async def get(self, route: str = "", *, within: float | None = None) -> str:
        """Return a valid bearer value, at once if there is one. Raise TokenRefused or TokenUnavailable.

        A call on a route that has refused the present token waits for the renewal under way; if that fails, it gets the
        present token. It waits `within` seconds, by default `token_wait`.
        """
        token = self._token
        decision = decide(token, self._shared.failure, now=self._monotonic(), wall=self._wall())
        joins = self._is_fetching()
        if decision.kind in {"renew", "fetch"} or self._is_poll_due():
            self._start(FetchReason(rejected=self._rejected.value if self._rejected is not None else ""))
        if token is not None and decision.kind in {"use", "renew"}:
            waits = self._rejected is not None and self.rejections.is_open_on(route)
            if not (waits and self._is_fetching()):
                return token.value
        if self._is_fetching():
            await self._wait(joins=joins, within=within)
        return self._valid_token()

    async def wait(self, route: str) -> str:
        """Return the token for a call on `route` as `get` does, but wait out a temporary failure if the next try is due
        within `token_wait`.
        """
        end = self._monotonic() + self._token_wait
        while True:
            try:
                return await self.get(route, within=max(0.0, end - self._monotonic()))
            except TokenUnavailable:
                failure, now = self._shared.failure, self._monotonic()
                if self._closed or self._is_fetching() or failure is None:
                    raise
                if not failure.may_pass or failure.until >= end:
                    raise
                pause = max(MIN_PAUSE, min(POLL_INTERVAL, failure.until - now))
            await self._sleep(pause)

    def reject(self, value: str, route: str) -> None:
        """Renew the token for the next call: the upstream answered 401 for `value`, without an instance id.

        A late 401 for an earlier token renews nothing. Otherwise all callers share one fetch. No fetch is forced within
        `min_refresh_interval` of a forced one whose token the upstream has not accepted, counted over all sources that
        share the store, nor while the source backs off from the identity domain; then only the store is polled for
        another source's token. If the renewal fails, the old token stays in use.
        """
        now, token = self._monotonic(), self._token
        is_other = token is not None and token.value != value and self._is_valid(token)
        if self.rejections.reject(value, route, now=now, is_present=not is_other):
            self._report(self._lease.block_renewal(value, until=self.rejections.held_until))
        if is_other or self._closed:
            return
        may_force = self.rejections.may_force(now) and not self._shared.is_backing_off()
        if not may_force:
            if now < self._next_shared_poll_at:
                return
            self._next_shared_poll_at = now + SHARED_POLL_INTERVAL
        self._start(FetchReason(rejected=value, shared_only=not may_force))
        if may_force and token is not None and self._rejected is None:
            self._rejected, self._token = token, replace(token, stale_at=now)

    def accept(self, value: str, route: str) -> None:
        """Note that the upstream accepted `value` on `route`; call it where `rejections.is_open`."""
        if self.rejections.accept(value, route):
            self._report(self._lease.accept(value))

    async def renewed(self, rejected: str, route: str) -> str | None:
        """Call `reject` and return another bearer value; None if none can be obtained now."""
        joins = self._is_fetching()
        self.reject(rejected, route)
        if self._token is None or self._token.value == rejected or not self._is_valid(self._token):
            if not self._is_fetching():
                return None
            renewals = self._renewals
            await self._wait(joins=joins)
            # The identity domain may issue the same value again. It counts as new, and deserves its one replay.
            if self._renewals == renewals:
                return None
        token = self._token
        if token is None or not self._is_valid(token):
            return None
        self._counters.replays += 1
        self._events.replayed()
        return token.value

    async def force_refresh(self) -> str:
        """Fetch a bearer value now, whatever the store holds. Raise as `get` does."""
        self.try_again()
        await self.wait_idle()
        renewals = self._renewals
        self._start(FetchReason(forced=True))
        await self._wait()
        if self._renewals == renewals:
            raise self._error()
        return self._valid_token()

    def prefetch(self) -> None:
        """Start to fetch a token before the first caller."""
        if self._token is None:
            self._start(FetchReason())

    def try_again(self) -> None:
        """Forget the last failure, so that the next caller does not wait: its cause may have been fixed."""
        self._shared.try_again()

    async def wait_idle(self) -> None:
        """Wait for the fetch under way, if any."""
        if self._fetch is not None:
            await asyncio.wait({self._fetch})

    async def ready(self) -> Readiness:
        """Return whether a request would get a token now. Fetches one if none was tried yet. A permanent failure is
        shown even while the present token is valid: someone must act before it ends.
        """
        try:
            await self.get()
        except (TokenRefused, TokenUnavailable) as error:
            return Readiness(
                ok=False,
                code=code_of(error),
                why=error.reason,
                remedy=remedy_for(error, self.name),
                next_try_s=self._shared.next_try(),
            )
        failure = self._shared.failure
        if failure is None or not failure.permanent:
            return Readiness(ok=True)
        next_try = self._shared.next_try()
        return Readiness(ok=True, code=failure.code, why=failure.reason, remedy=failure.remedy, next_try_s=next_try)

    def status(self) -> dict[str, object]:
        """Return the facts for `/status` (`token_status.source_status`)."""
        fetcher = self._fetcher
        left = None if fetcher.limiter is None else fetcher.limiter.left()
        return source_status(
            self._token,
            self._shared.failure,
            now=self._monotonic(),
            wall=self._wall(),
            counters=self._counters,
            endpoint=EndpointFacts(fetcher.results, left, fetcher.skew),
        )

    async def close(self) -> None:
        """End the fetch under way, and wait for its end. Afterwards `get` returns only a valid token that is there."""
        self._closed = True
        if self._fetch is not None and not self._fetch.done():
            self._fetch.cancel()
            await asyncio.wait({self._fetch})
        if self._reports:
            await asyncio.wait(self._reports)
        await self._fetcher.close()

    def _is_fetching(self) -> bool:
        return self._fetch is not None and not self._fetch.done()

    def _start(self, reason: FetchReason) -> None:
        if not self._closed and not self._is_fetching():
            self._next_poll_at = self._monotonic() + POLL_INTERVAL
            self._fetch = asyncio.create_task(self._renew(reason), name=f"token of {self.name}")

    def _report(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a report to the sources that share the store, in the background."""
        task = asyncio.create_task(work, name=f"report of {self.name}")
        self._reports.add(task)
        task.add_done_callback(self._reports.discard)

    async def _wait(self, *, joins: bool = False, within: float | None = None) -> None:
        """Wait for the fetch under way. `asyncio.wait` does not cancel it when the wait ends or is cancelled."""
        if self._fetch is None:
            return
        if joins:
            self._counters.coalesced += 1
            self._events.coalesced()
        self._counters.waiters += 1
        try:
            await asyncio.wait({self._fetch}, timeout=self._token_wait if within is None else within)
        finally:
            self._counters.waiters -= 1

    def _valid_token(self) -> str:
        token = self._token
        if token is not None and self._is_valid(token):
            return token.value
        raise self._error()

    def _error(self) -> TokenRefused | TokenUnavailable:
        """Return a new error for each caller: one that is raised many times would collect all their tracebacks."""
        if self._closed:
            return TokenUnavailable(reason="closed: the gateway is stopping")
        if self._is_fetching() or self._shared.failure is None:
            return TokenUnavailable(reason=f"waiting: no token within {self._token_wait:g} s", retry_after=1.0)
        if self._shared.failure.permanent:
            return TokenRefused(reason=self._shared.failure.reason)
        return TokenUnavailable(reason=self._shared.failure.reason, retry_after=self._shared.next_try())

    def _is_valid(self, token: Token) -> bool:
        return state(token, now=self._monotonic(), wall=self._wall()) in {"fresh", "stale"}

    def _is_poll_due(self) -> bool:
        """Return whether to poll the secret and the store, which is cheap, while new tries are held off."""
        return self._shared.is_backing_off() and self._monotonic() >= self._next_poll_at and self.current() is None

    async def _renew(self, reason: FetchReason) -> None:
        """Run one fetch; it ends with a new token or a new failure, except when it is cancelled."""
        result = await self._shared.obtain(reason, adopt_stale=self._adopt_stale)
        if isinstance(result, Token):
            self._adopt(result)
            self._events.renewed(result.dead_at - self._monotonic())
        elif result is None and self._rejected is not None:  # it may not be replaced now, and stays in use
            self._token, self._rejected = self._rejected, None

    def _adopt_stale(self, token: Token) -> None:
        if self._token is None or not self._is_valid(self._token):
            self._adopt(token)

    def _adopt(self, token: Token) -> None:
        self._token, self._rejected = token, None
        self._renewals += 1
        self.rejections.note_token(token.value)
        self._counters.obtained = self._wall() - (self._monotonic() - token.obtained_at)
