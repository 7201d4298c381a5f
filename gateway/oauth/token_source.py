"""The token of one credential: obtained, renewed before it expires, and given to each caller.

At most one fetch is under way; callers only wait for it. State changes in one synchronous step before or after that
fetch, so there is no lock, and a caller that leaves cancels nothing. Sources that share the token in one store
coordinate through `FetchLease`.
"""

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any

from gateway.errors import TokenRefused, TokenUnavailable
from gateway.oauth.clock import Clock
from gateway.oauth.failures import Failure, failure_code, failure_remedy
from gateway.oauth.fetch_events import FetchTrigger, NullTokenEvents, TokenEvents
from gateway.oauth.fetch_lease import FetchLease
from gateway.oauth.lifetime import Token, decide_token_use, token_state
from gateway.oauth.rejections import ForcedRenewalPolicy
from gateway.oauth.shared_fetch import POLL_INTERVAL, FetchReason, SharedFetch
from gateway.oauth.token_fetcher import TokenFetcher
from gateway.oauth.token_status import EndpointFacts, Readiness, SourceCounters, source_status
from gateway.system.background_tasks import BackgroundTasks

SHARED_POLL_INTERVAL = 0.25
"""Seconds between two polls of the store while no renewal may be forced."""
MIN_RETRY_PAUSE = 0.01
"""Minimum seconds that a caller waits for the next try."""


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
        self.renewal_policy = ForcedRenewalPolicy(interval=min_refresh_interval)
        self._events = events or NullTokenEvents()
        self._lease = lease
        self._fetcher = fetcher
        self._shared_fetch = SharedFetch(
            name,
            lease,
            fetcher,
            clock=clock,
            renewal_policy=self.renewal_policy,
            events=self._events,
            random_fraction=random_fraction,
        )
        self._monotonic, self._wall = clock.monotonic, clock.wall
        self._token_wait, self._sleep = token_wait, sleep
        self._token: Token | None = None
        self._rejected_token: Token | None = None  # the present token before `record_rejection` made it stale
        self._renewal_count = 0
        self._fetch_task: asyncio.Task[None] | None = None
        self._reports = BackgroundTasks()
        self._next_poll_at = self._next_shared_poll_at = 0.0
        self._counters = SourceCounters()
        self._closed = False
        self.fetch_trace: str | None = None
        """The trace of the last fetch, if fetches are traced."""

    def get_fresh_token(self) -> str | None:
        """Return the bearer value while it is fresh, else None; cheap and synchronous, for the hot path."""
        token = self._token
        if token is not None and self._monotonic() < token.stale_at and self._wall() < token.usable_until_wall:
            return token.value
        return None

    async def get_token(self, route: str = "", *, within: float | None = None) -> str:
        """Return a valid bearer value, at once if there is one. Raise TokenRefused or TokenUnavailable.

        A call on a route that has refused the present token waits for the renewal under way; if that fails, it gets
        the present token. It waits `within` seconds, by default `token_wait`.
        """
        token = self._token
        decision = decide_token_use(token, self._shared_fetch.failure, now=self._monotonic(), wall=self._wall())
        is_joining = self._is_fetching()
        if decision.kind in {"renew", "fetch"} or self._is_poll_due():
            rejected = self._rejected_token
            trigger: FetchTrigger = "renewal" if decision.kind == "renew" else "caller"
            self._start_fetch(
                FetchReason(trigger) if rejected is None else FetchReason("rejected", rejected=rejected.value)
            )
        if token is not None and decision.kind in {"use", "renew"}:
            must_wait = self._rejected_token is not None and self.renewal_policy.is_rejected_by(route)
            if not (must_wait and self._is_fetching()):
                return token.value
        if self._is_fetching():
            await self._wait_for_fetch(is_joining=is_joining, within=within)
        return self._valid_token()

    async def wait_for_token(self, route: str) -> str:
        """Return the token as `get_token` does, but wait out a temporary failure if the next try is due within
        `token_wait`.
        """
        end = self._monotonic() + self._token_wait
        while True:
            try:
                return await self.get_token(route, within=max(0.0, end - self._monotonic()))
            except TokenUnavailable:
                failure, now = self._shared_fetch.failure, self._monotonic()
                if self._closed or self._is_fetching() or failure is None:
                    raise
                if not failure.is_temporary or failure.until >= end:
                    raise
                pause = max(MIN_RETRY_PAUSE, min(POLL_INTERVAL, failure.until - now))
            await self._sleep(pause)

    def record_rejection(self, value: str, route: str) -> None:
        """Renew the token for the next call: the upstream answered 401 for `value`, without an instance id.

        A late 401 for an earlier token renews nothing. Otherwise all callers share one fetch. After a forced fetch, no
        other is forced for `min_refresh_interval`, by any source that shares the store, unless the upstream accepts the
        new token; none is forced during a back-off either. Then the source only polls the store for another source's
        token. If the renewal fails, the old token stays in use.
        """
        now, token = self._monotonic(), self._token
        is_other = token is not None and token.value != value and self._is_valid(token)
        if self.renewal_policy.record_rejection(value, route, now=now, is_present=not is_other):
            self._start_report(self._lease.block_renewal(value, until=self.renewal_policy.blocked_until))
        if is_other or self._closed:
            return
        may_force_now = self.renewal_policy.may_force_renewal(now) and not self._shared_fetch.is_backing_off()
        if not may_force_now:
            if now < self._next_shared_poll_at:
                return
            self._next_shared_poll_at = now + SHARED_POLL_INTERVAL
        self._start_fetch(FetchReason("rejected", rejected=value, shared_only=not may_force_now))
        if may_force_now and token is not None and self._rejected_token is None:
            self._rejected_token, self._token = token, replace(token, stale_at=now)

    def record_acceptance(self, value: str, route: str) -> None:
        """Record that the upstream accepted `value`; needed while `renewal_policy.is_awaiting_acceptance`."""
        if self.renewal_policy.record_acceptance(value, route):
            self._start_report(self._lease.record_acceptance(value))

    async def renew_rejected_token(self, rejected: str, route: str) -> str | None:
        """Call `record_rejection` and return another bearer value; None if none can be obtained now."""
        is_joining = self._is_fetching()
        self.record_rejection(rejected, route)
        if self._token is None or self._token.value == rejected or not self._is_valid(self._token):
            if not self._is_fetching():
                return None
            renewals = self._renewal_count
            await self._wait_for_fetch(is_joining=is_joining)
            # The identity domain may issue the same value again. It counts as new: the request is replayed once with
            # it.
            if self._renewal_count == renewals:
                return None
        token = self._token
        if token is None or not self._is_valid(token):
            return None
        self._counters.replays += 1
        self._events.on_retried()
        return token.value

    async def force_refresh(self) -> str:
        """Fetch a bearer value now, even if there is a valid one. Raise as `get_token` does."""
        self.reset_back_off()
        await self.wait_idle()
        renewals = self._renewal_count
        self._start_fetch(FetchReason("forced", forced=True))
        await self._wait_for_fetch()
        if self._renewal_count == renewals:
            raise self._make_error()
        return self._valid_token()

    def prefetch(self) -> None:
        """Start to fetch a token before the first caller."""
        if self._token is None:
            self._start_fetch(FetchReason("prefetch"))

    def reset_back_off(self) -> None:
        """Forget the last failure, so that the next caller does not wait: its cause may have been fixed."""
        self._shared_fetch.reset_back_off()

    async def wait_idle(self) -> None:
        """Wait for the fetch under way, if any."""
        if self._fetch_task is not None:
            await asyncio.wait({self._fetch_task})

    @property
    def token(self) -> Token | None:
        """The present token, fresh or stale; None if there is none that may be sent."""
        token = self._token
        return token if token is not None and self._is_valid(token) else None

    @property
    def secret_changed_at(self) -> float | None:
        """When the secret of the last token request was written, in epoch seconds; None if that is unknown."""
        return self._fetcher.secret_changed_at

    async def adopt_token(self, token: Token) -> None:
        """Use a token that another process of this gateway obtained, unless the present one is newer. Share it with the
        sources of this process if the store does not share it.
        """
        if self.token is not None and self.token.obtained_at >= token.obtained_at:
            return
        self._adopt(token)
        self.reset_back_off()
        shared = await self._lease.shared_token()
        if shared is None or shared.obtained_at < token.obtained_at:
            await self._lease.publish_token(token)

    async def forget_token(self) -> None:
        """Use the present token no more: its sign-in has ended."""
        await self.wait_idle()
        self._token = self._rejected_token = None
        self.reset_back_off()

    async def renew_if_idle(self, idle: float) -> None:
        """Use the refresh token, if there is one and no source that shares it obtained a token in the last `idle`
        seconds. One source at a time tries; after a temporary failure, the next call of any of them tries again.
        """
        shared, obtained_at = await self._lease.shared_token(), self._counters.obtained_at
        age = math.inf if shared is None else self._monotonic() - shared.obtained_at
        if obtained_at is not None:
            age = min(age, self._wall() - obtained_at)
        if age < idle or self._is_fetching() or not await self._fetcher.has_refresh_token():
            return
        if not await self._lease.claim_idle_renewal(idle):
            return
        self._start_fetch(FetchReason("idle", forced=True))
        await self.wait_idle()
        failure = self._shared_fetch.failure
        if failure is not None and not failure.permanent:
            await self._lease.release_idle_renewal()

    async def check_readiness(self) -> Readiness:
        """Return whether a request would get a token now; fetch one if none was tried yet. A permanent failure is shown
        even while the present token is valid: someone must act before the token expires.
        """
        try:
            await self.get_token()
        except (TokenRefused, TokenUnavailable) as error:
            return Readiness(
                ok=False,
                code=failure_code(error),
                why=error.reason,
                remedy=failure_remedy(error, self.name),
                next_try_s=self._shared_fetch.seconds_to_next_try(),
            )
        failure = self._shared_fetch.failure
        if failure is None or not failure.permanent:
            return Readiness(ok=True)
        next_try = self._shared_fetch.seconds_to_next_try()
        return Readiness(ok=True, code=failure.code, why=failure.reason, remedy=failure.remedy, next_try_s=next_try)

    def status(self) -> dict[str, object]:
        """Return the facts for `/status` (`token_status.source_status`)."""
        fetcher = self._fetcher
        left = None if fetcher.limiter is None else fetcher.limiter.remaining_requests()
        return source_status(
            self._token,
            self._shared_fetch.failure,
            now=self._monotonic(),
            wall=self._wall(),
            counters=self._counters,
            endpoint=EndpointFacts(fetcher.results, left, fetcher.clock_skew),
        )

    async def close(self) -> None:
        """Cancel the fetch under way, and wait for its end. Afterwards `get_token` fetches no more."""
        self._closed = True
        if self._fetch_task is not None and not self._fetch_task.done():
            self._fetch_task.cancel()
            await asyncio.wait({self._fetch_task})
        await self._reports.wait()
        await self._fetcher.close()

    def _is_fetching(self) -> bool:
        return self._fetch_task is not None and not self._fetch_task.done()

    def _start_fetch(self, reason: FetchReason) -> None:
        if not self._closed and not self._is_fetching():
            self._next_poll_at = self._monotonic() + POLL_INTERVAL
            self.fetch_trace = self._events.start_trace()
            self._fetch_task = asyncio.create_task(self._run_fetch(reason), name=f"token of {self.name}")

    def _start_report(self, work: Coroutine[Any, Any, None]) -> None:
        """Inform the sources that share the store, in the background."""
        self._reports.start(work, name=f"report of {self.name}")

    async def _wait_for_fetch(self, *, is_joining: bool = False, within: float | None = None) -> None:
        """Wait for the fetch under way. `asyncio.wait` does not cancel it when the wait ends or is cancelled."""
        if self._fetch_task is None:
            return
        if is_joining:
            self._counters.coalesced += 1
            self._events.on_coalesced()
        self._counters.waiters += 1
        try:
            await asyncio.wait({self._fetch_task}, timeout=self._token_wait if within is None else within)
        finally:
            self._counters.waiters -= 1

    def _valid_token(self) -> str:
        token = self._token
        if token is not None and self._is_valid(token):
            return token.value
        raise self._make_error()

    def _make_error(self) -> TokenRefused | TokenUnavailable:
        """Return a new error for each caller: an error that is raised many times would collect all tracebacks."""
        if self._closed:
            return TokenUnavailable(reason="closed: the gateway is stopping")
        if self._is_fetching() or self._shared_fetch.failure is None:
            return TokenUnavailable(reason=f"waiting: no token within {self._token_wait:g} s", retry_after=1.0)
        if self._shared_fetch.failure.permanent:
            return TokenRefused(reason=self._shared_fetch.failure.reason)
        return TokenUnavailable(
            reason=self._shared_fetch.failure.reason, retry_after=self._shared_fetch.seconds_to_next_try()
        )

    def _is_valid(self, token: Token) -> bool:
        return token_state(token, now=self._monotonic(), wall=self._wall()) in {"fresh", "stale"}

    def _is_poll_due(self) -> bool:
        """Return whether to poll the secret and the store, which is cheap, during a back-off."""
        return (
            self._shared_fetch.is_backing_off()
            and self._monotonic() >= self._next_poll_at
            and self.get_fresh_token() is None
        )

    async def _run_fetch(self, reason: FetchReason) -> None:
        """Run one fetch; it ends with a new token or a new failure, except when it is cancelled."""
        error: str | None = "cancelled"
        try:
            result = await self._shared_fetch.obtain_token(reason, adopt_stale=self._adopt_stale)
            error = result.code if isinstance(result, Failure) else None
        finally:
            self._events.end_trace(error)
        if isinstance(result, Token):
            self._adopt(result)
            self._events.on_renewed(result.usable_until - self._monotonic())
        elif result is None and self._rejected_token is not None:  # it may not be replaced now, and stays in use
            self._token, self._rejected_token = self._rejected_token, None

    def _adopt_stale(self, token: Token) -> None:
        if self._token is None or not self._is_valid(self._token):
            self._adopt(token)

    def _adopt(self, token: Token) -> None:
        self._token, self._rejected_token = token, None
        self._renewal_count += 1
        self.renewal_policy.record_new_token(token.value)
        self._counters.obtained_at = self._wall() - (self._monotonic() - token.obtained_at)
