"""The processes that serve callers, as the console and the notifications use them."""

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from gateway.notifications.conditions import Condition
    from gateway.observe.call_feed import CallFeed
    from gateway.observe.snapshots import Snapshot
    from gateway.server.process_console import Operation


class NoAnswer(Exception):
    """The processes that serve callers do not answer."""


class ServingProcesses(Protocol):
    """One process, or several workers."""

    async def ask_one(self, operation: "Operation", *arguments: Any, within: float) -> Any:
        """Return the answer of one process. Raise NoAnswer."""

    async def ask_all(self, operation: "Operation", *arguments: Any) -> list[Any]:
        """Return the answers of all processes that answer."""

    async def sample(self) -> "Snapshot | None":
        """Return the sums of all counters; None if there are no newer ones."""

    async def conditions(self) -> "list[Condition]":
        """Return what is wrong now, of all processes that answer."""

    def watch_records(self, feed: "CallFeed", *, is_watched: bool) -> None:
        """Begin or stop to publish the records of all calls in the feed."""

    async def close_circuit(self, service: str) -> bool | None:
        """Close the circuit of a service. Return whether it was open; None if no service has this name."""
