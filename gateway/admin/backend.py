"""What the admin port needs from the running gateway."""

from typing import Any, Protocol

from gateway.history.interface import SearchResult
from gateway.history.query import HistoryQuery
from gateway.history.usage_query import UsageQuery, UsageReport


class AdminBackend(Protocol):
    """Answers the requests of the admin port. No answer contains a secret; an ordinary failure raises nothing."""

    async def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Return whether requests can be served, and the document.

        The document has `state` (`ready`; `degraded`: ready without the shared store; `unready`;
        `starting`; `draining`), `credentials` (name → `state`, and `error` and `remedy` if no token is available) and
        `store` (`kind`, `ok`, `why`). Not ready until callers can connect, and while draining.
        """

    async def liveness(self) -> tuple[bool, dict[str, Any]]:
        """Return whether callers can connect and every loop that serves them runs, and the document with its `state`
        (`starting`, `alive`, `stuck`).
        """

    async def metrics(self) -> list[bytes]:
        """Return the current Prometheus text in chunks."""

    async def status(self) -> dict[str, Any]:
        """Return routes, and credentials with token state, expiry, last error and its remedy."""

    async def instances(self, query: HistoryQuery) -> SearchResult:
        """Return the newest calls that match the query. Raise Unsearchable."""

    async def usage(self, query: UsageQuery) -> UsageReport:
        """Return the calls and messages that the query groups. Raise Unsearchable."""


class ReloadBackend(Protocol):
    """Reloads the configuration for the admin port, and describes it."""

    async def reload_by_request(self) -> tuple[bool, dict[str, Any]]:
        """Reload. Return whether the configuration is in use, and the document with the outcome."""

    async def configuration_document(self) -> dict[str, Any]:
        """Return the configuration in use as digests, without its values."""
