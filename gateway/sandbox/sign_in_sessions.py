"""Authorization codes (RFC 6749 section 4.1, PKCE of RFC 7636) and the refresh tokens that they yield."""

import base64
import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from gateway.sandbox.oauth_errors import invalid_grant
from gateway.sandbox.switches import Switches

_CODE_SECONDS = 180  # three minutes


@dataclass(frozen=True, slots=True)
class Session:
    """The consent of a person: for which client, user and scope; `until` in Unix seconds.

    All codes and tokens of one sign-in have its `family`. `used_at`: when the code or token was first used.
    """

    client_id: str
    user: str
    scope: str
    until: float
    family: str
    redirect_uri: str = ""
    challenge: str = field(default="", repr=False)
    used_at: float | None = None


class Sessions:
    """Stores codes and refresh tokens."""

    def __init__(self, switches: Switches, *, now: Callable[[], float]) -> None:
        self._switches = switches
        self._now = now
        self._codes: dict[str, Session] = {}
        self._tokens: dict[str, Session] = {}

    def create_code(self, client_id: str, user: str, scope: str, *, redirect_uri: str, challenge: str) -> str:
        """Return a new authorization code."""
        value = secrets.token_urlsafe(24)
        until = self._now() + _CODE_SECONDS
        self._codes[value] = Session(client_id, user, scope, until, value, redirect_uri, challenge)
        return value

    def exchange_code(self, code: str, client_id: str, *, redirect_uri: str, verifier: str) -> Session:
        """Use up a code. Return its session; raise OAuthRefusal (`invalid_grant`)."""
        found = self._codes.get(code)
        if found is None or found.client_id != client_id or found.until <= self._now():
            raise invalid_grant("The authorization code is not valid")
        if found.used_at is not None:  # RFC 6749 section 4.1.2: the code may have been stolen
            self._forget(found.family)
            raise invalid_grant("The authorization code is not valid")
        if found.redirect_uri != redirect_uri or found.challenge != (_challenge(verifier) if verifier else ""):
            raise invalid_grant("The redirect URI or the code verifier is not that of the authorization request")
        self._codes[code] = replace(found, used_at=self._now())
        return found

    def create_refresh_token(self, client_id: str, user: str, scope: str, *, family: str = "") -> str:
        """Return a new refresh token, with a new family unless one is given."""
        value = secrets.token_urlsafe(32)
        until = self._now() + self._switches.refresh_lifetime
        self._tokens[value] = Session(client_id, user, scope, until, family or value)
        return value

    def use_refresh_token(self, token: str, client_id: str) -> Session:
        """Return the session of a refresh token; with rotation it is used up. Raise OAuthRefusal (`invalid_grant`).

        A token that was already used ends its whole family, as some servers do if two processes refresh at once.
        """
        found = self._tokens.get(token)
        if found is None or found.client_id != client_id or found.until <= self._now():
            raise invalid_grant("The refresh token is not valid")
        if found.used_at is not None and self._now() >= found.used_at + self._switches.refresh_grace:
            self._forget(found.family)
            raise invalid_grant("The refresh token was used before")
        if self._switches.rotate_refresh_tokens and found.used_at is None:
            self._tokens[token] = replace(found, used_at=self._now())
        return found

    def revoke(self, token: str, client_id: str) -> None:
        """End the family of a refresh token of that client; ignore any other token (RFC 7009 section 2.2)."""
        found = self._tokens.get(token)
        if found is not None and found.client_id == client_id:
            self._forget(found.family)

    def revoke_all(self) -> None:
        """End all sign-ins."""
        self._codes.clear()
        self._tokens.clear()

    def _forget(self, family: str) -> None:
        self._tokens = {token: signin for token, signin in self._tokens.items() if signin.family != family}


def _challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
