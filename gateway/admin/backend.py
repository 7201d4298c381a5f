"""What the admin port asks of the running gateway."""

from typing import Any, Protocol

from gateway.history.interface import SearchResult
from gateway.history.query import HistoryQuery


class AdminBackend(Protocol):
    """Answers the admin port's questions; no answer holds a secret. None of them raises in ordinary trouble."""

    async def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Whether requests can be served, and the document that says so.

        The document has `state` (`ready`, `degraded`: ready, but by itself, `unready`, `draining`), `credentials`: name
        → `state`, and where no token can be had, `error` and `remedy`; and `store`: `kind`, `ok`, `why`. False while
        draining.
        """

    async def liveness(self) -> tuple[bool, dict[str, Any]]:
        """Whether every loop that serves callers turns, and the document that says so: `state` (`alive`, `stuck`)."""

    async def metrics(self) -> list[bytes]:
        """The Prometheus text exposition of this moment, in chunks."""

    async def status(self) -> dict[str, Any]:
        """Routes and credentials with token state, expiry, last error and its remedy."""

    async def instances(self, query: HistoryQuery) -> SearchResult:
        """The newest of the last calls that answer the query. Raises `history.port.Unsearchable`."""
