"""When a 401 of the upstream forces another token. Pure: the time is passed in.

A 401 without an instance id may mean that the token was revoked: then another token helps. It may also mean a missing
role, a wrong audience or an outage of the upstream: then no token helps, and a renewal for each 401 would replace good
tokens in a loop. So a renewal is forced at once only if the last forced one helped. A renewal helped when the upstream
accepted its token. It did not when a route that had refused the old token refuses the new one too.
"""

from collections import deque

MAX_FORCED = 10
"""Forced renewals in a minute, whatever the upstream answers: a route may accept and refuse each token in turn."""
MINUTE = 60.0


class ForcedRenewalPolicy:
    """The upstream's verdicts on the tokens of one credential, by route. After a renewal that is not known to have
    helped, none is forced for `interval` seconds.

    `is_open`: an accepted call would change the state; while it is False, no accepted call need be reported.
    """

    def __init__(self, *, interval: float) -> None:
        self.interval = interval
        self.is_open = False
        self._held_until = 0.0
        self._unproven = ""  # the present token, until a call with it is accepted
        self._by_route: dict[str, tuple[str, float]] = {}  # the refused token, and until when the refusal counts
        self._forced: deque[float] = deque(maxlen=MAX_FORCED)  # times

    def is_open_on(self, route: str) -> bool:
        """Return whether the route's last call was refused."""
        return route in self._by_route

    @property
    def held_until(self) -> float:
        """Return when a renewal may be forced again."""
        return self._held_until

    def may_force(self, now: float) -> bool:
        """Return whether a renewal may be forced now."""
        is_too_often = len(self._forced) == MAX_FORCED and now < self._forced[0] + MINUTE
        return now >= self._held_until and not is_too_often

    def reject(self, token: str, route: str, *, now: float, is_present: bool) -> bool:
        """Note that the route refused `token`. Return True if this ends the trust in the present token: the route has
        refused the one before it too, so the renewal between them did not help.
        """
        self._by_route = {name: entry for name, entry in self._by_route.items() if now < entry[1]}
        before = self._by_route.get(route)
        self.is_open = True
        if before is not None and (before[0] == token or not is_present):
            return False
        self._by_route[route] = token, now + self.interval
        held_until = self._forced[-1] + self.interval if self._forced else now
        if before is None or now >= held_until or (now < self._held_until and not self._unproven):
            return False
        self._unproven = ""
        self._held_until = held_until
        return True

    def accept(self, token: str, route: str) -> bool:
        """Note that the route accepted `token`. Return True if this proves the present token: from now on a 401 for it
        means that it was revoked.
        """
        self._by_route.pop(route, None)
        is_proof = token == self._unproven
        if is_proof:
            self._unproven = ""
            self._held_until = 0.0
        self.is_open = bool(self._by_route or self._unproven)
        return is_proof

    def hold(self, now: float, seconds: float) -> None:
        """Force no renewal for so many seconds. A hold that has begun is not extended."""
        if now >= self._held_until:
            self._held_until = now + seconds

    def note_forced(self, now: float) -> None:
        """Note that a token replaced a refused one. No other does before it is accepted, or the hold ends."""
        self._forced.append(now)
        self._held_until = now + self.interval

    def note_token(self, token: str) -> None:
        """Note that `token` is the present one."""
        self._unproven = token
        self.is_open = True
