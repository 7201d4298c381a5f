"""One credential's token: got, kept, renewed ahead of time, and given to whoever asks.

The source owns the one token request that may be under way; callers only wait for it. State changes in one synchronous
breath around that request, so there is no lock, and a caller that holds or leaves blocks and cancels nobody. Others
who keep the same token in the same store get their turn by `Turns`.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from dataclasses import dataclass, replace
from typing import Any

from gateway.errors import TokenRefused, TokenUnavailable
from gateway.oauth.clock import Clock
from gateway.oauth.failures import Failure, code_of, next_failure, remedy_for
from gateway.oauth.fetch_events import NullTokenEvents, TokenEvents
from gateway.oauth.fetch_lease import FetchLease
from gateway.oauth.grants import TokenRequest, TokenResponse
from gateway.oauth.lifetime import RenewalMargin, Token, decide, state
from gateway.oauth.rate_limiter import RateLimiter
from gateway.oauth.refresh_rotation import RefreshTokenRotation
from gateway.oauth.rejections import Rejections
from gateway.oauth.store import Store
from gateway.oauth.token_fetcher import TokenFetcher

LOOK_EVERY = 1.0  # seconds: how often, while tries are held off, someone looks whether there is a reason not to
SHARED_LOOK_EVERY = 0.25  # seconds between two looks for another's token while no renewal may be forced
SHORTEST_PAUSE = 0.01  # seconds, of a caller that waits for the next try


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a token is there or can be had; if not: the code, why, what to do, and seconds until the next try."""

    ok: bool
    code: str = ""
    why: str = ""
    remedy: str = ""
    next_try_s: float | None = None


@dataclass(frozen=True, slots=True)
class FetchReason:
    """Why a token is sought: `rejected` was refused by the upstream; `anew` takes none that is already there;
    `shared_only`: what others who share the store have got, no request.
    """

    rejected: str = ""
    forced: bool = False
    shared_only: bool = False


class TokenSource:
    """The token of the credential `name`, kept in `store` under `key` (`grants.token_key`).

    `request` makes the token request anew for each fetch, in a thread since it reads the secret; an OSError or
    ValueError of it counts as TokenUnavailable. `fingerprint`, called in a thread too, changes when the secret does;
    `expire` has a secret read again of which a copy is kept, as after a failure: it may be the copy that was wrong.
    `endpoint` sends the request and bounds its own time; `budget` says when it may be. A caller waits at most
    `token_wait` seconds; `sleep` is how time is waited for. `proof`: failures are shared with sources that have the
    same. `hold`: after a renewal that the upstream's refusals forced, so many seconds pass before another one, unless
    the upstream accepts its token; `patience`: see `Turns`.
    """

    def __init__(
        self,
        name: str,
        *,
        key: str,
        proof: str = "",
        request: Callable[..., TokenRequest],
        endpoint: Callable[[TokenRequest], Awaitable[TokenResponse]],
        store: Store,
        clock: Clock,
        refreshing: RefreshTokenRotation | None = None,
        budget: RateLimiter | None = None,
        fingerprint: Callable[[], Hashable] = str,
        expire: Callable[[], None] = lambda: None,
        luck: Callable[[], float] = random.random,
        lead: RenewalMargin | None = None,
        token_wait: float = 10.0,
        hold: float = 30.0,
        patience: float = 60.0,
        watch: TokenEvents | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.name = name
        self.rejections = Rejections(hold=hold)
        self._events = watch or NullTokenEvents()
        self._lease = FetchLease(store, key, clock=clock, luck=luck, proof=proof, patience=patience)
        self._fetcher = TokenFetcher(
            request,
            endpoint,
            clock=clock,
            budget=budget,
            fingerprint=fingerprint,
            expire=expire,
            luck=luck,
            lead=lead,
            within=token_wait,
            watch=self._events,
            refreshing=refreshing,
            is_my_turn=self._lease.still_held,
        )
        self._monotonic, self._wall, self._random = clock.monotonic, clock.wall, luck
        self._token_wait, self._min_refresh_interval, self._sleep = token_wait, hold, sleep
        self._token: Token | None = None
        self._rejected: Token | None = None  # the present token as it was, while it is to be replaced
        self._renewals = 0
        self._failure: Failure | None = None
        self._fetch: asyncio.Task[None] | None = None
        self._reports: set[asyncio.Task[None]] = set()
        self._look_at = self._shared_look_at = 0.0
        self._since = clock.monotonic()  # what others failed at before this instant says nothing of a try now
        self._obtained: float | None = None
        self._waiters = self._coalesced = self._replays = 0
        self._closed = False

    def current(self) -> str | None:
        """The bearer value while it is fresh, else None; cheap and synchronous, for the hot path."""
        token = self._token
        if token is not None and self._monotonic() < token.stale_at and self._wall() < token.dead_wall:
            return token.value
        return None

    async def get(self, route: str = "", *, within: float | None = None) -> str:
        """A live bearer value, at once where there is one; raises TokenRefused or TokenUnavailable.

        A call on a route that has refused the present token waits for its renewal, if one is under way, and takes the
        present one where none came of it. `within` seconds, at most `token_wait`, is how long it waits.
        """
        token = self._token
        verdict = decide(token, self._failure, now=self._monotonic(), wall=self._wall())
        joins = self._running()
        if verdict.kind in {"renew", "fetch"} or self._is_look_due():
            self._start(FetchReason(rejected=self._rejected.value if self._rejected is not None else ""))
        if token is not None and verdict.kind in {"use", "renew"}:
            waits = self._rejected is not None and self.rejections.is_open_on(route)
            if not (waits and self._running()):
                return token.value
        if self._running():
            await self._wait(joins=joins, within=within)
        return self._outcome()

    async def wait(self, route: str) -> str:
        """The token for a call on `route`: as `get`, but a failure that may pass is waited out where the next try is
        due within `token_wait`.
        """
        end = self._monotonic() + self._token_wait
        while True:
            try:
                return await self.get(route, within=max(0.0, end - self._monotonic()))
            except TokenUnavailable:
                failure, now = self._failure, self._monotonic()
                if self._closed or self._running() or failure is None or not failure.may_pass or failure.until >= end:
                    raise
                pause = max(SHORTEST_PAUSE, min(LOOK_EVERY, failure.until - now))
            await self._sleep(pause)

    def reject(self, value: str, route: str) -> None:
        """The upstream answered 401 for `value`, without an instance id: the token is renewed for the next call.

        A late 401 for an earlier token renews nothing. Else one fetch is begun, shared by all: not within `hold`
        seconds of a forced one whose token the upstream has not accepted, over all who share the store, and not while
        the identity domain is being backed off from; then only the store is asked for another's token. A renewal that
        fails leaves the old token in place.
        """
        now, token = self._monotonic(), self._token
        is_other = token is not None and token.value != value and self._is_live(token)
        if self.rejections.reject(value, route, now=now, is_present=not is_other):
            self._report(self._lease.hold_back(value, until=self.rejections.held_until))
        if is_other or self._closed:
            return
        may_force = self.rejections.may_force(now) and not self._is_held_off()
        if not may_force:
            if now < self._shared_look_at:
                return
            self._shared_look_at = now + SHARED_LOOK_EVERY
        self._start(FetchReason(rejected=value, shared_only=not may_force))
        if may_force and token is not None and self._rejected is None:
            self._rejected, self._token = token, replace(token, stale_at=now)

    def accept(self, value: str, route: str) -> None:
        """The upstream took `value` on `route`; to be said where `rejections.is_open`."""
        if self.rejections.accept(value, route):
            self._report(self._lease.accept(value))

    async def renewed(self, rejected: str, route: str) -> str | None:
        """Another bearer value after `reject`; None where none is to be had now."""
        joins = self._running()
        self.reject(rejected, route)
        if self._token is None or self._token.value == rejected or not self._is_live(self._token):
            if not self._running():
                return None
            before = self._renewals
            await self._wait(joins=joins)
            # The identity domain may hand the same token out again; it is new all the same, and worth its one replay.
            if self._renewals == before:
                return None
        after = self._token
        if after is None or not self._is_live(after):
            return None
        self._replays += 1
        self._events.replayed()
        return after.value

    async def force_refresh(self) -> str:
        """A bearer value that is fetched now, whatever is kept, for a person who asks for it; raises as `get` does."""
        self.try_again()
        if self._fetch is not None:
            await asyncio.wait({self._fetch})
        before = self._renewals
        self._start(FetchReason(forced=True))
        await self._wait()
        if self._renewals == before:
            raise self._error()
        return self._outcome()

    def prefetch(self) -> None:
        """Begins to get a token before anyone asks for it."""
        if self._token is None:
            self._start(FetchReason())

    def try_again(self) -> None:
        """Forgets the last failure: someone may have mended its cause, so that the next caller need not wait."""
        self._fetcher.expire()
        self._failure = None
        self._since = self._monotonic()

    async def wait_idle(self) -> None:
        """Waits for the fetch under way, if any."""
        if self._fetch is not None:
            await asyncio.wait({self._fetch})

    async def ready(self) -> Readiness:
        """Whether a request would get a token now; fetches one, and waits for it bounded, where none was tried yet.

        Someone may have to act before the present token ends: then the answer says so too.
        """
        try:
            await self.get()
        except (TokenRefused, TokenUnavailable) as error:
            return Readiness(
                ok=False,
                code=code_of(error),
                why=error.reason,
                remedy=remedy_for(error, self.name),
                next_try_s=self._next_try(),
            )
        failure = self._failure
        if failure is None or not failure.permanent:
            return Readiness(ok=True)
        told = {"code": failure.code, "why": failure.reason, "remedy": failure.remedy}
        return Readiness(ok=True, **told, next_try_s=self._next_try())

    def status(self) -> dict[str, object]:
        """The facts for `/status`; times in seconds, `obtained` and `at` in epoch seconds; no secret, no token."""
        now, wall, token, failure = self._monotonic(), self._wall(), self._token, self._failure
        asking = self._fetcher
        left = None if token is None else _tenths(min(token.dead_at - now, token.dead_wall - wall))
        return {
            "state": state(token, now=now, wall=wall),
            "expires_in_s": left,
            "obtained": self._obtained,
            "last_error": None if failure is None else failure.as_status(),
            "next_try_s": None if failure is None else _tenths(failure.until - now),
            "fetches": dict(asking.results),
            "waiters": self._waiters,
            "coalesced": self._coalesced,
            "replays": self._replays,
            "budget_left": None if asking.budget is None else asking.budget.left(),
            "clock_skew_s": None if asking.skew is None else round(asking.skew, 1),
        }

    async def close(self) -> None:
        """Ends the fetch under way, if any, and waits for its end; afterwards only a live token is given."""
        self._closed = True
        if self._fetch is not None and not self._fetch.done():
            self._fetch.cancel()
            await asyncio.wait({self._fetch})
        if self._reports:
            await asyncio.wait(self._reports)
        await self._fetcher.close()

    def _running(self) -> bool:
        return self._fetch is not None and not self._fetch.done()

    def _start(self, want: FetchReason) -> None:
        if not self._closed and not self._running():
            self._look_at = self._monotonic() + LOOK_EVERY
            self._fetch = asyncio.create_task(self._renew(want), name=f"token of {self.name}")

    def _report(self, work: Coroutine[Any, Any, None]) -> None:
        """Tells those who share the store; nobody waits for it."""
        task = asyncio.create_task(work, name=f"report of {self.name}")
        self._reports.add(task)
        task.add_done_callback(self._reports.discard)

    async def _wait(self, *, joins: bool = False, within: float | None = None) -> None:
        """Waits for the fetch under way; `asyncio.wait` leaves it alone when the waiting ends or is cancelled."""
        if self._fetch is None:
            return
        if joins:
            self._coalesced += 1
            self._events.coalesced()
        self._waiters += 1
        try:
            await asyncio.wait({self._fetch}, timeout=self._token_wait if within is None else within)
        finally:
            self._waiters -= 1

    def _outcome(self) -> str:
        token = self._token
        if token is not None and self._is_live(token):
            return token.value
        raise self._error()

    def _error(self) -> TokenRefused | TokenUnavailable:
        """A new error for each caller: one raised many times would gather all their traces."""
        if self._closed:
            return TokenUnavailable(reason="closed: the gateway is stopping")
        if self._running() or self._failure is None:
            return TokenUnavailable(reason=f"waiting: no token within {self._token_wait:g} s", retry_after=1.0)
        if self._failure.permanent:
            return TokenRefused(reason=self._failure.reason)
        return TokenUnavailable(reason=self._failure.reason, retry_after=self._next_try())

    def _is_live(self, token: Token) -> bool:
        return state(token, now=self._monotonic(), wall=self._wall()) in {"fresh", "stale"}

    def _is_held_off(self) -> bool:
        return self._failure is not None and self._monotonic() < self._failure.until

    def _is_look_due(self) -> bool:
        """A token that is fresh needs none; for the rest a look at the secret and the store costs little."""
        return self._is_held_off() and self._monotonic() >= self._look_at and self.current() is None

    def _next_try(self) -> float | None:
        return None if self._failure is None else max(0.0, self._failure.until - self._monotonic())

    async def _renew(self, want: FetchReason) -> None:
        """The one fetch: ends with a new token or a new failure, whatever happens; only its cancellation passes."""
        try:
            self._apply_outcome(found := await self._find_or_fetch(want))
            if want.rejected and isinstance(found, Token):
                self.rejections.note_forced(self._monotonic())
        except Exception as error:  # noqa: BLE001 - a defect must not end renewal for ever; it is seen as a failure
            self._failure = self._record_failure(
                TokenUnavailable(reason=f"defect: {type(error).__name__} in the renewal")
            )

    async def _find_or_fetch(self, want: FetchReason) -> Token | Failure | None:
        """A token or a failure; None where nothing new is to be had before a hold ends."""
        if self._failure is not None:
            self._fetcher.expire()
        mended = await self._fetcher.has_secret_changed()
        if mended:
            self._since = self._monotonic()
        if (found := await self._poll_changes(want)) is not None:
            return found
        if want.shared_only or (self._is_held_off() and not mended):
            return None
        return await self._lease.run_exclusive(lambda: self._poll_changes(want), lambda: self._fetch_and_publish(want))

    async def _poll_changes(self, want: FetchReason) -> Token | Failure | None:
        """What others who share the store have got: a fresh token, or a failure that is news."""
        if want.forced:
            return None
        token = await self._lease.shared_token()
        if token is not None and token.value != want.rejected:
            if state(token, now=self._monotonic(), wall=self._wall()) == "fresh":
                return token
            if self._token is None or not self._is_live(self._token):
                self._adopt(token)  # stale: better than none while it is renewed
        return await self._lease.shared_failure(since=self._since)

    async def _fetch_and_publish(self, want: FetchReason) -> Token | Failure | None:
        """The same, asked for; others are told before their turn comes."""
        if want.rejected and not await self._lease.try_replace(want.rejected, every=self._min_refresh_interval):
            self.rejections.hold(self._monotonic(), LOOK_EVERY)
            return None
        try:
            token = await self._fetcher.fetch()
        except (TokenRefused, TokenUnavailable) as error:
            failure = self._record_failure(error)
            await self._lease.publish_failure(failure)
            return failure
        if want.rejected:
            await self._lease.replaced(token.value, every=self._min_refresh_interval)
        await self._lease.publish_token(token)
        return token

    def _apply_outcome(self, found: Token | Failure | None) -> None:
        if isinstance(found, Failure):
            self._failure = found
        elif found is not None:
            self._adopt(found)
            self._failure = None
            self._events.renewed(found.dead_at - self._monotonic())
        elif self._rejected is not None:  # it may not be replaced now: it serves on
            self._token, self._rejected = self._rejected, None

    def _adopt(self, token: Token) -> None:
        self._token, self._rejected = token, None
        self._renewals += 1
        self.rejections.note_token(token.value)
        self._obtained = self._wall() - (self._monotonic() - token.obtained_at)

    def _record_failure(self, error: TokenRefused | TokenUnavailable) -> Failure:
        now, wall = self._monotonic(), self._wall()
        failure = next_failure(error, self._failure, now=now, wall=wall, luck=self._random(), name=self.name)
        self._events.failed(failure.code, failure.reason, failure.remedy, permanent=failure.permanent)
        return failure


def _tenths(seconds: float) -> float:
    """For people: no less than zero, and no more digits than they read."""
    return max(0.0, round(seconds, 1))
