"""The events of a token source, for observers: the port, and one that ignores them."""

from typing import Protocol


class TokenEvents(Protocol):
    """Observes a token source. No argument holds a secret or a token; no method may raise."""

    def fetched(self, result: str, seconds: float) -> None:
        """A token request ended: `ok`, `refused` or `unavailable`, after so many seconds."""
        ...

    def renewed(self, expires_in_s: float) -> None:
        """A new token is in place, usable for so many seconds."""
        ...

    def failed(self, code: str, reason: str, remedy: str, *, permanent: bool) -> None:
        """A fetch failed. The texts are for operators, who must act if it is permanent."""
        ...

    def refresh_token_not_stored(self, why: str) -> None:
        """The store did not accept a new refresh token: if the process ends before it does, the sign-in is lost."""
        ...

    def coalesced(self) -> None:
        """A caller waits for a fetch that another caller has started."""
        ...

    def replayed(self) -> None:
        """A caller whose token was refused got another one."""
        ...


class NullTokenEvents:
    """Ignores all events."""

    def fetched(self, result: str, seconds: float) -> None:
        """Ignore it."""

    def renewed(self, expires_in_s: float) -> None:
        """Ignore it."""

    def failed(self, code: str, reason: str, remedy: str, *, permanent: bool) -> None:
        """Ignore it."""

    def refresh_token_not_stored(self, why: str) -> None:
        """Ignore it."""

    def coalesced(self) -> None:
        """Ignore it."""

    def replayed(self) -> None:
        """Ignore it."""
