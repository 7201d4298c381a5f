"""Sessions of the console, in the memory of this process. Only hashes of their ids are stored."""

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Literal

LoginKind = Literal["local", "openid", "machine"]
"""How a person logged in: as a local user, by OpenID Connect, or not at all, on this machine."""
ID_BYTES = 32
MAX_SESSIONS = 4096
MAX_SESSIONS_OF_ONE = 32
"""Sessions of one person; the one that was unused for the longest time ends first."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who logged in. `groups` are those of the provider; `proof` is what must not change during a session: the stored
    password of a local user, or issuer and client id.
    """

    name: str
    kind: LoginKind
    groups: tuple[str, ...] = ()
    proof: Hashable = field(default=None, repr=False)


@dataclass(slots=True)
class ConsoleSession:
    """One session. `opened_at` and `used_at` are readings of a monotonic clock; `outcome` is that of an
    action, for the next page.
    """

    identity: Identity
    csrf_token: str = field(repr=False)
    opened_at: float
    used_at: float
    outcome: object = None


class SessionTable:
    """The open sessions, least recently used first."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[bytes, ConsoleSession] = OrderedDict()

    def open(self, identity: Identity, *, now: float) -> tuple[str, ConsoleSession]:
        """Open a session. Return its id of 256 random bits, which only the browser knows, and the session."""
        if identity.kind != "machine":
            own = [key for key, session in self._sessions.items() if session.identity == identity]
            for key in own[: max(0, len(own) + 1 - MAX_SESSIONS_OF_ONE)]:
                del self._sessions[key]
        while len(self._sessions) >= MAX_SESSIONS:
            self._sessions.popitem(last=False)
        session_id = secrets.token_urlsafe(ID_BYTES)
        session = ConsoleSession(identity, secrets.token_urlsafe(ID_BYTES), now, now)
        self._sessions[_hash(session_id)] = session
        return session_id, session

    def find(
        self, session_id: str, *, now: float, idle: float, longest: float, is_use: bool = True
    ) -> ConsoleSession | None:
        """Return the session of an id; None if there is none, or its time is over. If a person uses it, its idle time
        begins again.
        """
        key = _hash(session_id)
        session = self._sessions.get(key)
        if session is None:
            return None
        if now - session.used_at >= idle or now - session.opened_at >= longest:
            del self._sessions[key]
            return None
        if is_use:
            session.used_at = now
            self._sessions.move_to_end(key)
        return session

    def close(self, session_id: str) -> None:
        """End a session, if it is open."""
        self._sessions.pop(_hash(session_id), None)

    def __len__(self) -> int:
        return len(self._sessions)


def _hash(session_id: str) -> bytes:
    """Return what is stored: a look-up by hash takes no time that depends on a stored id."""
    return hashlib.sha256(session_id.encode("utf-8", "replace")).digest()
