"""One token request: read the secret, wait for the rate limiter, send, turn the response into a token."""

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable

from gateway.content.redaction import safe_text
from gateway.errors import TokenRefused, TokenUnavailable
from gateway.oauth.clock import Clock
from gateway.oauth.fetch_events import NullTokenEvents, TokenEvents
from gateway.oauth.fetch_lease import FetchLease
from gateway.oauth.grants import TokenRequest, TokenResponse
from gateway.oauth.lifetime import MIN_LIFETIME, RenewalMargin, Token, make_token, token_state
from gateway.oauth.rate_limiter import RateLimiter
from gateway.oauth.refresh_rotation import RefreshTokenRotation, run_to_completion
from gateway.system.files import in_thread


class TokenFetcher:
    """Fetches the tokens of one credential.

    `request` builds the token request for each fetch, in a thread since it reads the secret; its OSError or ValueError
    counts as TokenUnavailable. `fingerprint`, also called in a thread, changes when the secret does; `changed_at`
    returns when it was written. `expire` drops cached copies of secrets after a failure, since a copy may be the cause.
    `endpoint` sends the request and limits its own time; `limiter` delays it by at most `max_wait` seconds. `rotation`
    provides refresh tokens, which only the holder of `lease` uses. `random_fraction` in [0, 1) is jitter.

    `results` counts the outcomes: ok, refused, unavailable. `clock_skew` is by how many seconds the identity domain's
    clock is ahead of this machine's, from the `Date` of its last response.
    """

    def __init__(
        self,
        request: Callable[..., TokenRequest],
        endpoint: Callable[[TokenRequest], Awaitable[TokenResponse]],
        *,
        lease: FetchLease,
        clock: Clock,
        margin: RenewalMargin,
        max_wait: float,
        limiter: RateLimiter | None = None,
        rotation: RefreshTokenRotation | None = None,
        fingerprint: Callable[[], Hashable] = str,
        changed_at: Callable[[], float | None] = lambda: None,
        expire: Callable[[], None] = lambda: None,
        events: TokenEvents | None = None,
        random_fraction: Callable[[], float] = random.random,
    ) -> None:
        self._build = request
        self._endpoint = endpoint
        self._lease = lease
        self._clock = clock
        self._margin = margin
        self._max_wait = max_wait
        self._rotation = rotation
        self._fingerprint = fingerprint
        self._last_fingerprint: Hashable = None
        self._changed_at = changed_at
        self._events = events or NullTokenEvents()
        self._random = random_fraction
        self.expire_secrets = expire
        self.limiter = limiter
        self.results: Counter[str] = Counter(ok=0, refused=0, unavailable=0)
        self.clock_skew: float | None = None
        self.secret_changed_at: float | None = None
        """When the secret of the last token request was written, in epoch seconds, if that is known."""

    async def fetch_token(self) -> Token:
        """Fetch a valid token. Raise TokenRefused or TokenUnavailable."""
        if self.limiter is not None:
            await self.limiter.acquire(within=self._max_wait)
        if self._rotation is None:
            return await self._request_token(await self._build_request())
        # Read the refresh token after all waiting, and never interrupt its use.
        return await run_to_completion(self._fetch_with_rotation(self._rotation))

    async def has_secret_changed(self) -> bool:
        """Return whether the secret or the refresh token has changed since it was last read or checked."""
        before, self._last_fingerprint = self._last_fingerprint, await in_thread(self._fingerprint, owner=self)
        is_new = self._rotation is not None and await self._rotation.has_changed()
        return is_new or (before is not None and before != self._last_fingerprint)

    async def has_refresh_token(self) -> bool:
        """Return whether there is a refresh token, which dies if it is not used. False while the store is down."""
        return self._rotation is not None and await self._rotation.has_token()

    async def close(self) -> None:
        """Try once more to save a refresh token that the store did not accept; after the last fetch."""
        if self._rotation is not None:
            await self._rotation.close()

    async def _fetch_with_rotation(self, rotation: RefreshTokenRotation) -> Token:
        if not await self._lease.is_still_held():
            raise TokenUnavailable(reason="turn: another process holds the lease by now", retry_after=1.0)
        request = await self._build_request()
        try:
            return await self._request_token(request)
        except TokenRefused as error:
            raise await rotation.explain_refusal(error) from error

    async def _request_token(self, request: TokenRequest) -> Token:
        now, wall = self._clock.monotonic(), self._clock.wall()
        try:
            response = await self._send(request)
        except (TokenRefused, TokenUnavailable) as error:
            await self._save_refresh_token(error.new_refresh_token)
            raise
        await self._save_refresh_token(response.refresh_token)
        self.clock_skew = None if response.date is None else response.date - self._clock.wall()
        token = make_token(response, now, wall=wall, random_fraction=self._random(), margin=self._margin)
        if token.usable_until <= token.obtained_at:
            raise TokenUnavailable(reason=f"short-lived: the token lives for less than {MIN_LIFETIME:g} s")
        if token_state(token, now=self._clock.monotonic(), wall=self._clock.wall()) == "dead":
            raise TokenUnavailable(reason="short-lived: the token was dead when it arrived")
        return token

    async def _save_refresh_token(self, refresh_token: str | None) -> None:
        if self._rotation is not None:
            await self._rotation.save_refresh_token(refresh_token)

    async def _send(self, request: TokenRequest) -> TokenResponse:
        started_at = self._clock.monotonic()
        result, status = "unavailable", None
        try:
            response = await self._endpoint(request)
            result, status = "ok", response.status
        except (TokenRefused, TokenUnavailable) as error:
            result = "refused" if isinstance(error, TokenRefused) else result
            status = error.response_status
            raise
        finally:
            self.results[result] += 1
            self._events.on_fetched(result, self._clock.monotonic() - started_at, status)
        return response

    async def _build_request(self) -> TokenRequest:
        try:
            values = {} if self._rotation is None else await self._rotation.request_values()
            # The fingerprint first, so that no change between the two is missed.
            self._last_fingerprint, self.secret_changed_at, request = await in_thread(
                lambda: (self._fingerprint(), self._changed_at(), self._build(**values)), owner=self
            )
        except UnicodeError as cause:
            raise TokenUnavailable(reason="secret: it cannot be encoded as UTF-8") from cause
        except (OSError, ValueError) as cause:
            raise TokenUnavailable(reason=f"secret: {safe_text(str(cause), limit=400)}") from cause
        return request
