"""One token request: the secret is read anew, the budget's turn waited for, the answer turned into a token."""

from collections import Counter
from collections.abc import Awaitable, Callable, Hashable

from gateway.errors import TokenRefused, TokenUnavailable
from gateway.oauth.clock import Clock
from gateway.oauth.fetch_events import TokenEvents
from gateway.oauth.grants import TokenRequest, TokenResponse
from gateway.oauth.lifetime import SHORTEST_LIFE, RenewalMargin, Token, lifetime, state
from gateway.oauth.rate_limiter import RateLimiter
from gateway.oauth.redaction import safe_text
from gateway.oauth.refresh_rotation import RefreshTokenRotation, run_to_completion
from gateway.system.files import in_thread


class TokenFetcher:
    """How a source asks its token endpoint; the parameters are those of `TokenSource`.

    `results` counts what came of it: ok, refused, unavailable. `skew` is how many seconds the identity domain's clock
    is ahead of this machine's, as the `Date` of its last reply tells. `is_my_turn`: whether the lease still is ours.
    """

    def __init__(
        self,
        request: Callable[..., TokenRequest],
        endpoint: Callable[[TokenRequest], Awaitable[TokenResponse]],
        *,
        clock: Clock,
        budget: RateLimiter | None,
        fingerprint: Callable[[], Hashable],
        expire: Callable[[], None],
        luck: Callable[[], float],
        lead: RenewalMargin | None,
        within: float,
        watch: TokenEvents,
        refreshing: RefreshTokenRotation | None,
        is_my_turn: Callable[[], Awaitable[bool]],
    ) -> None:
        self._request = request
        self._endpoint = endpoint
        self._clock = clock
        self._fingerprint = fingerprint
        self.expire = expire
        self._random = luck
        self._lead = lead
        self._within = within
        self._watch = watch
        self._rotation = refreshing
        self._holds_lease = is_my_turn
        self._last_fingerprint: Hashable = None
        self.budget = budget
        self.results: Counter[str] = Counter(ok=0, refused=0, unavailable=0)
        self.skew: float | None = None

    async def fetch(self) -> Token:
        """A live token, asked for now; raises TokenRefused or TokenUnavailable."""
        if self._rotation is not None:
            return await self._fetch_by_refresh_token(self._rotation)
        request = await self._build_request()
        await self._wait_budget()
        return await self._exchange(request)

    async def _fetch_by_refresh_token(self, refreshing: RefreshTokenRotation) -> Token:
        """The same by a refresh token, which is read after all waiting, and whose use is never broken off."""
        await self._wait_budget()
        return await run_to_completion(self._rotate(refreshing))

    async def _rotate(self, refreshing: RefreshTokenRotation) -> Token:
        if not await self._holds_lease():
            raise TokenUnavailable(reason="turn: it is another's by now", retry_after=1.0)
        request = await self._build_request()
        try:
            return await self._exchange(request)
        except TokenRefused as error:
            raise await refreshing.explain_refusal(error) from error

    async def _wait_budget(self) -> None:
        if self.budget is not None:
            await self.budget.acquire(within=self._within)

    async def _exchange(self, request: TokenRequest) -> Token:
        now, wall = self._clock.monotonic(), self._clock.wall()
        try:
            reply = await self._send(request)
        except (TokenRefused, TokenUnavailable) as error:
            await self._save_refresh_token(error.successor)
            raise
        await self._save_refresh_token(reply.refresh_token)
        self.skew = None if reply.date is None else reply.date - self._clock.wall()
        token = lifetime(reply, now, wall=wall, spread=self._random(), lead=self._lead)
        if token.dead_at <= token.obtained_at:
            raise TokenUnavailable(reason=f"short-lived: the token lives for less than {SHORTEST_LIFE:g} s")
        if state(token, now=self._clock.monotonic(), wall=self._clock.wall()) == "dead":
            raise TokenUnavailable(reason="short-lived: the token was dead when it arrived")
        return token

    async def _save_refresh_token(self, refresh_token: str | None) -> None:
        if self._rotation is not None:
            await self._rotation.save(refresh_token)

    async def has_secret_changed(self) -> bool:
        """Whether the secret has changed since it was last read or looked at."""
        before, self._last_fingerprint = self._last_fingerprint, await in_thread(self._fingerprint, owner=self)
        is_new = self._rotation is not None and await self._rotation.has_changed()
        return is_new or (before is not None and before != self._last_fingerprint)

    async def close(self) -> None:
        """After the last token."""
        if self._rotation is not None:
            await self._rotation.close()

    async def _send(self, request: TokenRequest) -> TokenResponse:
        began = self._clock.monotonic()
        result = "unavailable"
        try:
            reply = await self._endpoint(request)
            result = "ok"
        except TokenRefused:
            result = "refused"
            raise
        finally:
            self.results[result] += 1
            self._watch.fetched(result, self._clock.monotonic() - began)
        return reply

    async def _build_request(self) -> TokenRequest:
        """In a thread, since it reads files; the fingerprint first, so that no change between the two is missed."""
        try:
            given = {} if self._rotation is None else await self._rotation.request_values()
            self._last_fingerprint, request = await in_thread(
                lambda: (self._fingerprint(), self._request(**given)), owner=self
            )
        except UnicodeError as cause:
            raise TokenUnavailable(reason="secret: it cannot be encoded as UTF-8") from cause
        except (OSError, ValueError) as cause:
            raise TokenUnavailable(reason=f"secret: {safe_text(str(cause), limit=400)}") from cause
        return request
