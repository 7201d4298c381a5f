"""One credential's token: got, kept, renewed ahead of time, and given to whoever asks.

The source owns the one token request that may be under way; callers only wait for it. State changes in one synchronous
breath around that request, so there is no lock, and a caller that holds or leaves blocks and cancels nobody.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Protocol

from gateway.errors import TokenRefused, TokenUnavailable
from gateway.oauth.clock import Clock
from gateway.oauth.grants import TokenReply, TokenRequest, remedy_for, safe_text
from gateway.oauth.lifetime import Failure, Token, decide, lifetime, next_try, state
from gateway.oauth.store import Store


class Watch(Protocol):
    """What observers are told. No call holds a secret or a token; none may raise."""

    def fetched(self, result: str, seconds: float) -> None:
        """A token request ended: `ok`, `refused` or `unavailable`, after so many seconds."""
        ...

    def renewed(self, expires_in_s: float) -> None:
        """A new token is in place, usable for so many seconds."""
        ...

    def failed(self, code: str, reason: str, remedy: str) -> None:
        """A fetch failed; the texts are for operators."""
        ...


class Unwatched:
    """A Watch that looks away."""

    def fetched(self, result: str, seconds: float) -> None:
        """Nothing."""

    def renewed(self, expires_in_s: float) -> None:
        """Nothing."""

    def failed(self, code: str, reason: str, remedy: str) -> None:
        """Nothing."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a token is there or can be had; if not: the code, why, what to do, and seconds until the next try."""

    ok: bool
    code: str = ""
    why: str = ""
    remedy: str = ""
    next_try_s: float | None = None


class TokenSource:
    """The token of the credential `name`, kept in `store` under `key` (`grants.token_key`).

    `request` makes the token request anew for each fetch, in a thread since it reads the secret; an OSError or
    ValueError of it counts as TokenUnavailable. `endpoint` sends it and bounds its own time. A caller waits at most
    `token_wait` seconds. `hold`: see `fruitless`.
    """

    def __init__(
        self,
        name: str,
        *,
        key: str,
        request: Callable[[], TokenRequest],
        endpoint: Callable[[TokenRequest], Awaitable[TokenReply]],
        store: Store,
        clock: Clock,
        luck: Callable[[], float] = random.random,
        token_wait: float = 10.0,
        hold: float = 30.0,
        watch: Watch | None = None,
    ) -> None:
        self.name = name
        self._key = key
        self._request = request
        self._endpoint = endpoint
        self._store = store
        self._clock = clock
        self._luck = luck
        self._token_wait = token_wait
        self._hold = hold
        self._watch = watch or Unwatched()
        self._token: Token | None = None
        self._failure: Failure | None = None
        self._fetch: asyncio.Task[None] | None = None
        self._held_until = 0.0
        self._obtained: float | None = None
        self._waiters = 0
        self._results: Counter[str] = Counter(ok=0, refused=0, unavailable=0)
        self._closed = False

    def current(self) -> str | None:
        """The bearer value while it is fresh, else None; cheap and synchronous, for the hot path."""
        token, clock = self._token, self._clock
        if token is not None and clock.monotonic() < token.stale_at and clock.wall() < token.dead_wall:
            return token.value
        return None

    async def get(self) -> str:
        """A live bearer value, at once where there is one; raises TokenRefused or TokenUnavailable."""
        token = self._token
        verdict = decide(token, self._failure, now=self._clock.monotonic(), wall=self._clock.wall())
        if verdict.kind == "refuse":
            raise self._error()
        if verdict.kind in {"renew", "fetch"}:
            self._start()
        if token is not None and verdict.kind in {"use", "renew"}:
            return token.value
        await self._wait()
        return self._outcome()

    async def renewed(self, rejected: str) -> str | None:
        """Another bearer value after the upstream answered 401 for `rejected`; None where none is to be had now.

        A late 401 for an earlier token gets the present one without a fetch. Else one fetch is forced, shared by all;
        not while `fruitless` holds renewals off or the identity domain is being backed off from. A renewal that fails
        leaves the old token in place.
        """
        before = self._token
        if before is not None and before.value != rejected and self._is_live(before):
            return before.value
        now = self._clock.monotonic()
        if self._closed or now < self._held_until or (self._failure is not None and now < self._failure.until):
            return None
        self._start(rejected)
        await self._wait()
        after = self._token
        # The identity domain may hand the same token out again; it is new all the same, and worth its one replay.
        return after.value if after is not None and after is not before and self._is_live(after) else None

    def fruitless(self, token: str) -> None:
        """The replay with this renewed token got 401 too: a role or audience problem, not the token.

        The token stays, and no renewal is forced for `hold` seconds, so that a storm of 401 costs one token request
        per hold. Said of a token that is no longer the present one, it means nothing.
        """
        now = self._clock.monotonic()
        if self._token is not None and self._token.value == token and now >= self._held_until:
            self._held_until = now + self._hold

    def try_again(self) -> None:
        """Forgets the last failure: someone may have mended its cause, so that the next caller need not wait."""
        self._failure = None

    async def ready(self) -> Readiness:
        """Whether a request would get a token now; fetches one, and waits for it bounded, where none was tried yet."""
        try:
            await self.get()
        except (TokenRefused, TokenUnavailable) as error:
            return Readiness(
                ok=False,
                code=_code(error.reason),
                why=error.reason,
                remedy=remedy_for(error),
                next_try_s=self._next_try(),
            )
        return Readiness(ok=True)

    def status(self) -> dict[str, object]:
        """The facts for `/status`; times in seconds, `obtained` and `at` in epoch seconds; no secret, no token."""
        now, wall, token, failure = self._clock.monotonic(), self._clock.wall(), self._token, self._failure
        kept = None if failure is None else {key: asdict(failure)[key] for key in ("code", "reason", "remedy", "at")}
        return {
            "state": state(token, now=now, wall=wall),
            "expires_in_s": None
            if token is None
            else round(max(0.0, min(token.dead_at - now, token.dead_wall - wall)), 1),
            "obtained": self._obtained,
            "last_error": kept,
            "next_try_s": None if failure is None else _tenths(failure.until - now),
            "fetches": dict(self._results),
            "waiters": self._waiters,
        }

    async def close(self) -> None:
        """Ends the fetch under way, if any, and waits for its end; afterwards only a live token is given."""
        self._closed = True
        if self._fetch is not None and not self._fetch.done():
            self._fetch.cancel()
            await asyncio.wait({self._fetch})

    def _running(self) -> bool:
        return self._fetch is not None and not self._fetch.done()

    def _start(self, rejected: str = "") -> None:
        if not self._closed and not self._running():
            self._fetch = asyncio.create_task(self._renew(rejected), name=f"token of {self.name}")

    async def _wait(self) -> None:
        """Waits for the fetch under way; `asyncio.wait` leaves it alone when the waiting ends or is cancelled."""
        if self._fetch is None:
            return
        self._waiters += 1
        try:
            await asyncio.wait({self._fetch}, timeout=self._token_wait)
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
        return state(token, now=self._clock.monotonic(), wall=self._clock.wall()) in {"fresh", "stale"}

    def _next_try(self) -> float | None:
        return None if self._failure is None else max(0.0, self._failure.until - self._clock.monotonic())

    async def _renew(self, rejected: str) -> None:
        """The one fetch: ends with a new token or a new failure, whatever happens; only its cancellation passes."""
        try:
            token = await self._stored(rejected) or await self._fetched()
        except (TokenRefused, TokenUnavailable) as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - a defect must not end renewal for ever; it is seen as a failure
            self._fail(TokenUnavailable(reason=f"defect: {type(error).__name__} in the renewal"))
        else:
            self._keep(token)

    async def _stored(self, rejected: str) -> Token | None:
        """A fresh token that another source or an earlier configuration has stored."""
        token = await self._store.get(self._key)
        if token is None or token.value == rejected:
            return None
        return token if state(token, now=self._clock.monotonic(), wall=self._clock.wall()) == "fresh" else None

    async def _fetched(self) -> Token:
        now, wall = self._clock.monotonic(), self._clock.wall()
        result = "unavailable"
        try:
            reply = await self._endpoint(await self._made())
            result = "ok"
        except TokenRefused:
            result = "refused"
            raise
        finally:
            self._results[result] += 1
            self._watch.fetched(result, self._clock.monotonic() - now)
        token = lifetime(reply, now, wall=wall, spread=self._luck())
        if not self._is_live(token):
            raise TokenUnavailable(reason="short-lived: the token was dead when it arrived")
        await self._store.put(self._key, token)
        return token

    async def _made(self) -> TokenRequest:
        try:
            return await asyncio.to_thread(self._request)
        except UnicodeError as cause:
            raise TokenUnavailable(reason="secret: it cannot be encoded as UTF-8") from cause
        except (OSError, ValueError) as cause:
            raise TokenUnavailable(reason=f"secret: {safe_text(str(cause))}") from cause

    def _keep(self, token: Token) -> None:
        now, wall = self._clock.monotonic(), self._clock.wall()
        self._token, self._failure = token, None
        self._obtained = wall - (now - token.obtained_at)
        self._watch.renewed(token.dead_at - now)

    def _fail(self, error: TokenRefused | TokenUnavailable) -> None:
        permanent = isinstance(error, TokenRefused)
        count = 1 if self._failure is None else self._failure.count + 1
        wait = next_try(count, error.retry_after, permanent=permanent, luck=self._luck())
        failure = Failure(
            code=_code(error.reason),
            reason=error.reason,
            remedy=remedy_for(error),
            permanent=permanent,
            count=count,
            at=self._clock.wall(),
            until=self._clock.monotonic() + wait,
        )
        self._failure = failure
        self._watch.failed(failure.code, failure.reason, failure.remedy)


def _tenths(seconds: float) -> float:
    """For people: no less than zero, and no more digits than they read."""
    return max(0.0, round(seconds, 1))


def _code(reason: str) -> str:
    return reason.partition(":")[0]
