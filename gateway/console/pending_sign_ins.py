"""Sign-ins for credentials whose response has not arrived, in the memory of this process."""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field

from gateway.console.login_sessions import ConsoleSession
from gateway.signin.authorization_request import AuthorizationRequest

MAX_PENDING = 256


@dataclass(frozen=True, slots=True)
class PendingSignIn:
    """A sign-in for `credential`, whose settings `key` identifies, until the time `until` of a monotonic clock.

    It belongs to one browser: to that of `session`, or to the one that has `browser_token` in a cookie, for someone
    whom `invited_by` invited.
    """

    credential: str
    key: str
    request: AuthorizationRequest
    until: float
    session: ConsoleSession | None = field(default=None, repr=False)
    browser_token: str = field(default="", repr=False)
    invited_by: str = ""


class PendingSignIns:
    """The pending sign-ins by a hash of their `state`, oldest first. Each ends once."""

    def __init__(self) -> None:
        self._pending: OrderedDict[bytes, PendingSignIn] = OrderedDict()

    def add(self, sign_in: PendingSignIn) -> None:
        """Add a sign-in. Above `MAX_PENDING` the oldest ones end."""
        while len(self._pending) >= MAX_PENDING:
            self._pending.popitem(last=False)
        self._pending[_hash(sign_in.request.state)] = sign_in

    def find(self, state: str, *, now: float) -> PendingSignIn | None:
        """Return the sign-in with this `state`; None if there is none, it has ended, or its time is over."""
        sign_in = self._pending.get(_hash(state))
        return sign_in if sign_in is not None and now < sign_in.until else None

    def end(self, sign_in: PendingSignIn) -> bool:
        """End a sign-in: no further response to it counts. Return False if it has ended before."""
        return self._pending.pop(_hash(sign_in.request.state), None) is not None


def _hash(state: str) -> bytes:
    """Return what is stored: a look-up by hash takes no time that depends on a stored state."""
    return hashlib.sha256(state.encode("utf-8", "replace")).digest()
