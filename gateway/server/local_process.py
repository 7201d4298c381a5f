"""The only process that serves callers, as the console uses it."""

from typing import TYPE_CHECKING, Any

from gateway.server.process_console import Operation, ProcessConsole
from gateway.server.serving_processes import ServingProcesses

if TYPE_CHECKING:
    from gateway.notifications.conditions import Condition
    from gateway.observe.call_feed import CallFeed
    from gateway.observe.snapshots import Snapshot
    from gateway.server.gateway import Gateway


class LocalProcess(ServingProcesses):
    """The gateway in this process."""

    def __init__(self, gateway: "Gateway") -> None:
        self._gateway = gateway
        self._console = ProcessConsole(gateway)

    async def ask_one(self, operation: Operation, *arguments: Any, within: float) -> Any:
        """Return the answer; each operation limits its own time."""
        del within
        return await self._console.run(operation, *arguments)

    async def ask_all(self, operation: Operation, *arguments: Any) -> list[Any]:
        """Return the answer."""
        return [await self._console.run(operation, *arguments)]

    async def sample(self) -> "Snapshot | None":
        """Return all current values."""
        return await self._gateway.snapshot()

    async def conditions(self) -> "list[Condition]":
        """Return what is wrong now."""
        from gateway.notifications.conditions import merge_reports  # noqa: PLC0415 - only with hooks

        return merge_reports(await self.ask_all("conditions"))

    def watch_records(self, feed: "CallFeed", *, is_watched: bool) -> None:
        """Begin or stop to publish the records of all calls in the feed."""
        self._gateway.watch_records(feed.publish if is_watched else None)

    async def close_circuit(self, service: str) -> bool | None:
        """Close the circuit of a service."""
        return self._gateway.components.services.close_circuit(service)
