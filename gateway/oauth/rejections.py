"""When a 401 of the upstream forces another token. Pure: the time is passed in.

A 401 without an instance id may mean that the token was revoked: another token helps. It may also mean a missing role,
a wrong audience or an outage of the upstream: no token helps, and a renewal for each 401 would replace good tokens in a
loop. So a renewal is forced at once only where the last forced one helped. A renewal helped when the upstream accepted
its token; it was fruitless when a route that had refused the old token refuses the new one too.
"""

from collections import deque

MOST_FORCED = 10
"""Forced renewals in a minute, whatever the upstream answers: one route may accept each token and refuse it in turn."""
MINUTE = 60.0


class Rejections:
    """What the upstream said of the tokens of one credential, by route; `hold` is how many seconds no renewal is forced
    after one that is not known to have helped.

    `is_open`: an accepted call would change something; while it is False none need be reported.
    """

    def __init__(self, *, hold: float) -> None:
        self._hold = hold
        self._held_until = 0.0
        self._unproven = ""  # the present token, until a call with it is accepted
        self._by_route: dict[str, tuple[str, float]] = {}  # the refused token; until when it counts
        self._forced: deque[float] = deque(maxlen=MOST_FORCED)  # when
        self.is_open = False

    def is_open_on(self, route: str) -> bool:
        """Whether the route's last call was refused."""
        return route in self._by_route

    @property
    def held_until(self) -> float:
        """When a renewal may be forced again."""
        return self._held_until

    def may_force(self, now: float) -> bool:
        """Whether a renewal may be forced now."""
        is_too_often = len(self._forced) == MOST_FORCED and now < self._forced[0] + MINUTE
        return now >= self._held_until and not is_too_often

    def reject(self, token: str, route: str, *, now: float, is_present: bool) -> bool:
        """Notes that the route refused `token`. True where this ends the trust in the present token: the route has
        refused the one before it too, so that the renewal between them was fruitless.
        """
        self._by_route = {name: entry for name, entry in self._by_route.items() if now < entry[1]}
        before = self._by_route.get(route)
        self.is_open = True
        if before is not None and (before[0] == token or not is_present):
            return False
        self._by_route[route] = token, now + self._hold
        held_until = self._forced[-1] + self._hold if self._forced else now
        if before is None or now >= held_until or (now < self._held_until and not self._unproven):
            return False
        self._unproven = ""
        self._held_until = held_until
        return True

    def accept(self, token: str, route: str) -> bool:
        """Notes that the route accepted `token`. True where this proves the present token: from now on a 401 for it
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
        """Forces no renewal for so many seconds; a hold that stands is not prolonged."""
        if now >= self._held_until:
            self._held_until = now + seconds

    def note_forced(self, now: float) -> None:
        """A token took the place of a refused one: no other does before it is accepted, or the hold is over."""
        self._forced.append(now)
        self._held_until = now + self._hold

    def note_token(self, token: str) -> None:
        """`token` is the present one from now on."""
        self._unproven = token
        self.is_open = True
