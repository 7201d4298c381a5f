"""Obtains a token that several sources share: polls the store, else fetches under the lease and publishes."""

import random
from collections.abc import Callable

import msgspec

from gateway.errors import TokenRefused, TokenUnavailable, defect_origin
from gateway.oauth.clock import Clock
from gateway.oauth.failures import Failure, next_failure
from gateway.oauth.fetch_events import FetchTrigger, TokenEvents
from gateway.oauth.fetch_lease import FetchLease
from gateway.oauth.lifetime import Token, token_state
from gateway.oauth.rejections import ForcedRenewalPolicy
from gateway.oauth.token_fetcher import TokenFetcher

POLL_INTERVAL = 1.0
"""Seconds between two polls of the store and of the secret's files during a back-off."""


class FetchReason(msgspec.Struct, frozen=True):
    """Why a token is fetched: `trigger`, for observers; the upstream refused the token `rejected`. With `forced`, no
    existing token is accepted; with `shared_only`, only a result in the store is used, and no request is sent.
    """

    trigger: FetchTrigger
    rejected: str = ""
    forced: bool = False
    shared_only: bool = False

    def __repr__(self) -> str:
        """Return a text without the token."""
        return f"<FetchReason {self.trigger}>"


class SharedFetch:
    """Obtains tokens for the source `name` with `lease` and `fetcher`. `failure` is the last failure, until a token
    follows; `random_fraction` gives the jitter of the back-off, in [0, 1).
    """

    def __init__(
        self,
        name: str,
        lease: FetchLease,
        fetcher: TokenFetcher,
        *,
        clock: Clock,
        renewal_policy: ForcedRenewalPolicy,
        events: TokenEvents,
        random_fraction: Callable[[], float] = random.random,
    ) -> None:
        self.failure: Failure | None = None
        self._name = name
        self._lease = lease
        self._fetcher = fetcher
        self._monotonic, self._wall, self._random = clock.monotonic, clock.wall, random_fraction
        self._renewal_policy = renewal_policy
        self._events = events
        self._ignore_failures_before = clock.monotonic()

    def reset_back_off(self) -> None:
        """Forget the last failure: its cause may have been fixed."""
        self._fetcher.expire_secrets()
        self.failure = None
        self._ignore_failures_before = self._monotonic()

    def is_backing_off(self) -> bool:
        """Return whether the last failure still holds off new tries."""
        return self.failure is not None and self._monotonic() < self.failure.until

    def seconds_to_next_try(self) -> float | None:
        """Return the seconds until the next try; None without a failure."""
        return None if self.failure is None else max(0.0, self.failure.until - self._monotonic())

    async def obtain_token(
        self, reason: FetchReason, *, adopt_stale: Callable[[Token], None]
    ) -> Token | Failure | None:
        """Return a new token or a new failure; None if there is nothing new before the back-off ends.

        A stale token in the store is passed to `adopt_stale`: it may serve while it is renewed.
        """
        try:
            result = await self._find_or_fetch(reason, adopt_stale)
        except Exception as error:  # noqa: BLE001 - a defect must not end renewal for ever; it is reported as a failure
            result = self._record_failure(
                TokenUnavailable(reason=f"defect: the renewal failed: {defect_origin(error)}")
            )
        if isinstance(result, Failure):
            self.failure = result
        elif result is not None:
            self.failure = None
            if reason.rejected:
                self._renewal_policy.record_forced_renewal(self._monotonic())
        return result

    async def _find_or_fetch(self, reason: FetchReason, adopt_stale: Callable[[Token], None]) -> Token | Failure | None:
        async def poll() -> Token | Failure | None:
            return None if reason.forced else await self._poll_store(reason.rejected, adopt_stale)

        if self.failure is not None:
            self._fetcher.expire_secrets()
        has_changed = await self._fetcher.has_secret_changed()
        if has_changed:
            self._ignore_failures_before = self._monotonic()
        if (result := await poll()) is not None:
            return result
        if reason.shared_only or (self.is_backing_off() and not has_changed):
            return None
        return await self._lease.run_exclusive(poll, lambda: self._fetch_and_publish(reason))

    async def _poll_store(self, rejected: str, adopt_stale: Callable[[Token], None]) -> Token | Failure | None:
        """Return the new result of another source: a fresh token, or a failure."""
        token = await self._lease.shared_token()
        if token is not None and token.value != rejected:
            if token_state(token, now=self._monotonic(), wall=self._wall()) == "fresh":
                return token
            adopt_stale(token)
        return await self._lease.shared_failure(since=self._ignore_failures_before)

    async def _fetch_and_publish(self, reason: FetchReason) -> Token | Failure | None:
        """Fetch a token, and publish the result before the lease ends. None if `rejected` may not be replaced now."""
        rejected, interval = reason.rejected, self._renewal_policy.interval
        if rejected and not await self._lease.try_replace_token(rejected, every=interval):
            self._renewal_policy.block_renewal(self._monotonic(), POLL_INTERVAL)
            return None
        self._events.on_fetch_started(reason.trigger)
        try:
            token = await self._fetcher.fetch_token()
        except (TokenRefused, TokenUnavailable) as error:
            failure = self._record_failure(error)
            await self._lease.publish_failure(failure)
            return failure
        if rejected:
            await self._lease.record_replacement(token.value, every=interval)
        await self._lease.publish_token(token)
        return token

    def _record_failure(self, error: TokenRefused | TokenUnavailable) -> Failure:
        """Report the failure that follows the last one."""
        failure = next_failure(
            error,
            self.failure,
            now=self._monotonic(),
            wall=self._wall(),
            random_fraction=self._random(),
            name=self._name,
        )
        self._events.on_failed(failure.code, failure.reason, failure.remedy, permanent=failure.permanent)
        return failure
