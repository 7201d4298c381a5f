"""One token request: the secret is read anew, the budget's turn waited for, the answer turned into a token."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable

from gateway.errors import TokenRefused, TokenUnavailable
from gateway.oauth.budget import Budget
from gateway.oauth.clock import Clock
from gateway.oauth.grants import TokenReply, TokenRequest, safe_text
from gateway.oauth.lifetime import Lead, Token, lifetime, state
from gateway.oauth.watch import Watch


class Asking:
    """How a source asks its token endpoint; the parameters are those of `TokenSource`.

    `results` counts what came of it: ok, refused, unavailable. `skew` is how many seconds the identity domain's clock
    is ahead of this machine's, as the `Date` of its last reply tells.
    """

    def __init__(
        self,
        request: Callable[[], TokenRequest],
        endpoint: Callable[[TokenRequest], Awaitable[TokenReply]],
        *,
        clock: Clock,
        budget: Budget | None,
        fingerprint: Callable[[], Hashable],
        luck: Callable[[], float],
        lead: Lead | None,
        within: float,
        watch: Watch,
    ) -> None:
        self._request = request
        self._endpoint = endpoint
        self._clock = clock
        self._fingerprint = fingerprint
        self._luck = luck
        self._lead = lead
        self._within = within
        self._watch = watch
        self._seen: Hashable = None
        self.budget = budget
        self.results: Counter[str] = Counter(ok=0, refused=0, unavailable=0)
        self.skew: float | None = None

    async def token(self) -> Token:
        """A live token, asked for now; raises TokenRefused or TokenUnavailable."""
        request = await self._made()
        if self.budget is not None:
            await self.budget.turn(within=self._within)
        now, wall = self._clock.monotonic(), self._clock.wall()
        reply = await self._answered(request)
        self.skew = None if reply.date is None else reply.date - self._clock.wall()
        token = lifetime(reply, now, wall=wall, spread=self._luck(), lead=self._lead)
        if state(token, now=self._clock.monotonic(), wall=self._clock.wall()) == "dead":
            raise TokenUnavailable(reason="short-lived: the token was dead when it arrived")
        return token

    async def look(self) -> bool:
        """Whether the secret has changed since it was last read or looked at."""
        before, self._seen = self._seen, await asyncio.to_thread(self._fingerprint)
        return before is not None and before != self._seen

    async def _answered(self, request: TokenRequest) -> TokenReply:
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

    async def _made(self) -> TokenRequest:
        """In a thread, since it reads files; the fingerprint first, so that no change between the two is missed."""
        try:
            self._seen, request = await asyncio.to_thread(lambda: (self._fingerprint(), self._request()))
        except UnicodeError as cause:
            raise TokenUnavailable(reason="secret: it cannot be encoded as UTF-8") from cause
        except (OSError, ValueError) as cause:
            raise TokenUnavailable(reason=f"secret: {safe_text(str(cause))}") from cause
        return request
