"""What the admin port asks of the running gateway."""

from typing import Any, Protocol


class Desk(Protocol):
    """Answers the admin port's questions; no answer holds a secret. None of them raises in ordinary trouble."""

    async def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Whether requests can be served, and the document that says so.

        The document has `state` (`ready`, `unready`, `draining`) and `credentials`: name → `state`, and where no token
        can be had, `error` and `remedy`. False while draining.
        """

    def metrics(self) -> bytes:
        """The Prometheus text exposition of this moment."""

    def status(self) -> dict[str, Any]:
        """Routes and credentials with token state, expiry, last error and its remedy."""
