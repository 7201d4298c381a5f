"""One token request: the secret is read anew, the budget's turn waited for, the answer turned into a token."""

from collections import Counter
from collections.abc import Awaitable, Callable, Hashable

from gateway.errors import TokenRefused, TokenUnavailable
from gateway.files import in_thread
from gateway.oauth.budget import Budget
from gateway.oauth.clock import Clock
from gateway.oauth.grants import TokenReply, TokenRequest
from gateway.oauth.lifetime import SHORTEST_LIFE, Lead, Token, lifetime, state
from gateway.oauth.redaction import safe_text
from gateway.oauth.refreshing import Refreshing, uncut
from gateway.oauth.watch import Watch


class Asking:
    """How a source asks its token endpoint; the parameters are those of `TokenSource`.

    `results` counts what came of it: ok, refused, unavailable. `skew` is how many seconds the identity domain's clock
    is ahead of this machine's, as the `Date` of its last reply tells. `is_my_turn`: whether the lease still is ours.
    """

    def __init__(
        self,
        request: Callable[..., TokenRequest],
        endpoint: Callable[[TokenRequest], Awaitable[TokenReply]],
        *,
        clock: Clock,
        budget: Budget | None,
        fingerprint: Callable[[], Hashable],
        expire: Callable[[], None],
        luck: Callable[[], float],
        lead: Lead | None,
        within: float,
        watch: Watch,
        refreshing: Refreshing | None,
        is_my_turn: Callable[[], Awaitable[bool]],
    ) -> None:
        self._request = request
        self._endpoint = endpoint
        self._clock = clock
        self._fingerprint = fingerprint
        self.expire = expire
        self._luck = luck
        self._lead = lead
        self._within = within
        self._watch = watch
        self._refreshing = refreshing
        self._is_my_turn = is_my_turn
        self._seen: Hashable = None
        self.budget = budget
        self.results: Counter[str] = Counter(ok=0, refused=0, unavailable=0)
        self.skew: float | None = None

    async def token(self) -> Token:
        """A live token, asked for now; raises TokenRefused or TokenUnavailable."""
        if self._refreshing is not None:
            return await self._refreshed(self._refreshing)
        request = await self._made()
        await self._turn()
        return await self._token(request)

    async def _refreshed(self, refreshing: Refreshing) -> Token:
        """The same by a refresh token, which is read after all waiting, and whose use is never broken off."""
        await self._turn()
        return await uncut(self._rotated(refreshing))

    async def _rotated(self, refreshing: Refreshing) -> Token:
        if not await self._is_my_turn():
            raise TokenUnavailable(reason="turn: it is another's by now", retry_after=1.0)
        request = await self._made()
        try:
            return await self._token(request)
        except TokenRefused as error:
            raise await refreshing.refused(error) from error

    async def _turn(self) -> None:
        if self.budget is not None:
            await self.budget.turn(within=self._within)

    async def _token(self, request: TokenRequest) -> Token:
        now, wall = self._clock.monotonic(), self._clock.wall()
        try:
            reply = await self._answered(request)
        except (TokenRefused, TokenUnavailable) as error:
            await self._keep(error.successor)
            raise
        await self._keep(reply.refresh_token)
        self.skew = None if reply.date is None else reply.date - self._clock.wall()
        token = lifetime(reply, now, wall=wall, spread=self._luck(), lead=self._lead)
        if token.dead_at <= token.obtained_at:
            raise TokenUnavailable(reason=f"short-lived: the token lives for less than {SHORTEST_LIFE:g} s")
        if state(token, now=self._clock.monotonic(), wall=self._clock.wall()) == "dead":
            raise TokenUnavailable(reason="short-lived: the token was dead when it arrived")
        return token

    async def _keep(self, refresh_token: str | None) -> None:
        if self._refreshing is not None:
            await self._refreshing.keep(refresh_token)

    async def look(self) -> bool:
        """Whether the secret has changed since it was last read or looked at."""
        before, self._seen = self._seen, await in_thread(self._fingerprint, owner=self)
        is_new = self._refreshing is not None and await self._refreshing.has_changed()
        return is_new or (before is not None and before != self._seen)

    async def close(self) -> None:
        """After the last token."""
        if self._refreshing is not None:
            await self._refreshing.close()

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
            given = {} if self._refreshing is None else await self._refreshing.given()
            self._seen, request = await in_thread(lambda: (self._fingerprint(), self._request(**given)), owner=self)
        except UnicodeError as cause:
            raise TokenUnavailable(reason="secret: it cannot be encoded as UTF-8") from cause
        except (OSError, ValueError) as cause:
            raise TokenUnavailable(reason=f"secret: {safe_text(str(cause), limit=400)}") from cause
        return request
