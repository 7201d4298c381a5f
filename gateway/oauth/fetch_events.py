"""Those who want to see what a token source does."""

from typing import Protocol


class TokenEvents(Protocol):
    """What observers are told. No call holds a secret or a token; none may raise."""

    def fetched(self, result: str, seconds: float) -> None:
        """A token request ended: `ok`, `refused` or `unavailable`, after so many seconds."""
        ...

    def renewed(self, expires_in_s: float) -> None:
        """A new token is in place, usable for so many seconds."""
        ...

    def failed(self, code: str, reason: str, remedy: str, *, permanent: bool) -> None:
        """A fetch failed; the texts are for operators, who must act where it is permanent."""
        ...

    def unkept(self, why: str) -> None:
        """A new refresh token cannot be kept for now: should the process end before it is, the sign-in is lost."""
        ...

    def coalesced(self) -> None:
        """A caller waits for a fetch that another has begun."""
        ...

    def replayed(self) -> None:
        """A caller whose token was refused got another one."""
        ...


class NullTokenEvents:
    """A Watch that looks away."""

    def fetched(self, result: str, seconds: float) -> None:
        """Nothing."""

    def renewed(self, expires_in_s: float) -> None:
        """Nothing."""

    def failed(self, code: str, reason: str, remedy: str, *, permanent: bool) -> None:
        """Nothing."""

    def unkept(self, why: str) -> None:
        """Nothing."""

    def coalesced(self) -> None:
        """Nothing."""

    def replayed(self) -> None:
        """Nothing."""
