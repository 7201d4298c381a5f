"""The events of a token source, for observers: the port, and one that ignores them."""

from typing import Literal, Protocol

FetchTrigger = Literal["caller", "renewal", "rejected", "prefetch", "forced", "idle"]
"""Why a token is fetched: a caller needs one, it is due for renewal, an upstream rejected it, the start with
`prefetch`, an operator, or `renew.idle`."""


class TokenEvents(Protocol):
    """Observes a token source. No argument holds a secret or a token; no method may raise."""

    def start_trace(self) -> str | None:
        """Report the start of a fetch, in which the store is read, and a token requested if necessary. Return the name
        of its trace, if it has one.
        """
        ...

    def end_trace(self, error: str | None) -> None:
        """Report the end of the fetch, with the code of its error if it failed."""
        ...

    def on_fetch_started(self, trigger: FetchTrigger) -> None:
        """Report that a token is fetched now, and why."""
        ...

    def on_fetched(self, result: str, seconds: float, status: int | None) -> None:
        """Report the end of a token request: `ok`, `refused` or `unavailable`, after so many seconds, and the status of
        the response, if there was one.
        """
        ...

    def on_renewed(self, expires_in_s: float) -> None:
        """Report a new token, usable for so many seconds."""
        ...

    def on_failed(self, code: str, reason: str, remedy: str, *, permanent: bool) -> None:
        """Report a failed fetch. The texts are for operators, who must act if it is permanent."""
        ...

    def on_refresh_token_not_stored(self, why: str) -> None:
        """Report a new refresh token that the store did not accept: the sign-in is lost if the process ends now."""
        ...

    def on_coalesced(self) -> None:
        """Report a caller that waits for a fetch of another caller."""
        ...

    def on_retried(self) -> None:
        """Report a caller that got another token for its refused one."""
        ...


class NullTokenEvents:
    """Ignores all events."""

    def start_trace(self) -> str | None:
        """Ignore it."""

    def end_trace(self, error: str | None) -> None:
        """Ignore it."""

    def on_fetch_started(self, trigger: FetchTrigger) -> None:
        """Ignore it."""

    def on_fetched(self, result: str, seconds: float, status: int | None) -> None:
        """Ignore it."""

    def on_renewed(self, expires_in_s: float) -> None:
        """Ignore it."""

    def on_failed(self, code: str, reason: str, remedy: str, *, permanent: bool) -> None:
        """Ignore it."""

    def on_refresh_token_not_stored(self, why: str) -> None:
        """Ignore it."""

    def on_coalesced(self) -> None:
        """Ignore it."""

    def on_retried(self) -> None:
        """Ignore it."""
