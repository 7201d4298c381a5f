"""When a 401 of the upstream forces another token. Pure: the time is passed in.

A 401 without an instance id may mean that the token was revoked: then another token helps. It may also mean a missing
role, a wrong audience or an outage of the upstream: then no token helps, and a renewal for each 401 would replace good
tokens in a loop. So a renewal is forced at once only if the last forced one helped. A renewal has helped if the
upstream accepts its token. It has not helped if a route that refused the old token refuses the new one too.

The present token is in one of these states. Only `blocked` ends by itself, after the interval.

| state | entered by | a 401 for it forces a renewal |
|---|---|---|
| new | `record_new_token` | at once |
| forced | `record_new_token` after `record_forced_renewal` | not within the interval |
| accepted | `record_acceptance` of a new or forced token | at once: it was revoked |
| blocked | `record_rejection` by a route that refused the token before it | not within the interval |

A blocked token stays blocked when another route accepts it. `block_renewal` blocks renewals in any state, since another
source has just replaced the token. `MAX_FORCED_PER_MINUTE` limits renewals in every state.
"""

from collections import deque

MAX_FORCED_PER_MINUTE = 10
"""Forced renewals in a minute, whatever the upstream answers: a route may accept and refuse each token in turn."""
MINUTE = 60.0


class ForcedRenewalPolicy:
    """The upstream's verdicts on the tokens of one credential, by route. After a renewal that is not known to have
    helped, none is forced for `interval` seconds.

    `is_awaiting_acceptance`: an accepted call would change the state. While it is False, accepted calls need not be
    recorded.
    """

    def __init__(self, *, interval: float) -> None:
        self.interval = interval
        self.is_awaiting_acceptance = False
        self._blocked_until = 0.0
        self._unaccepted_token = ""  # the present token, until a call with it is accepted
        # By route: the refused token, and until when the refusal counts.
        self._rejected_by_route: dict[str, tuple[str, float]] = {}
        self._forced_at: deque[float] = deque(maxlen=MAX_FORCED_PER_MINUTE)

    def is_rejected_by(self, route: str) -> bool:
        """Return whether the route's last call was refused."""
        return route in self._rejected_by_route

    @property
    def blocked_until(self) -> float:
        """Return when a renewal may be forced again."""
        return self._blocked_until

    def may_force_renewal(self, now: float) -> bool:
        """Return whether a renewal may be forced now."""
        is_too_often = len(self._forced_at) == MAX_FORCED_PER_MINUTE and now < self._forced_at[0] + MINUTE
        return now >= self._blocked_until and not is_too_often

    def record_rejection(self, token: str, route: str, *, now: float, is_present: bool) -> bool:
        """Record that the route refused `token`. Return True if this blocks the present token: the route has refused
        the one before it too, so the renewal between them did not help.
        """
        self._rejected_by_route = {name: entry for name, entry in self._rejected_by_route.items() if now < entry[1]}
        before = self._rejected_by_route.get(route)
        self.is_awaiting_acceptance = True
        if before is not None and (before[0] == token or not is_present):
            return False
        self._rejected_by_route[route] = token, now + self.interval
        blocked_until = self._forced_at[-1] + self.interval if self._forced_at else now
        if before is None or now >= blocked_until or (now < self._blocked_until and not self._unaccepted_token):
            return False
        self._unaccepted_token = ""
        self._blocked_until = blocked_until
        return True

    def record_acceptance(self, token: str, route: str) -> bool:
        """Record that the route accepted `token`. Return True if this is the first acceptance of the present token:
        from now on a 401 for it means that it was revoked.
        """
        self._rejected_by_route.pop(route, None)
        is_first = token == self._unaccepted_token
        if is_first:
            self._unaccepted_token = ""
            self._blocked_until = 0.0
        self.is_awaiting_acceptance = bool(self._rejected_by_route or self._unaccepted_token)
        return is_first

    def block_renewal(self, now: float, seconds: float) -> None:
        """Force no renewal for so many seconds. A block in progress is not extended."""
        if now >= self._blocked_until:
            self._blocked_until = now + seconds

    def record_forced_renewal(self, now: float) -> None:
        """Record that a token replaced a refused one. No other renewal is forced before it is accepted, or the interval
        ends.
        """
        self._forced_at.append(now)
        self._blocked_until = now + self.interval

    def record_new_token(self, token: str) -> None:
        """Record that `token` is the present one."""
        self._unaccepted_token = token
        self.is_awaiting_acceptance = True
