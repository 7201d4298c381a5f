"""The gates of all services in one serving process, by origin."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from gateway.services.lease_messages import CoordinatorMessage, GateMessage
from gateway.services.service_gate import ServiceGate


class GateSettings(NamedTuple):
    """A configured service: its name, and the longest time in seconds that a request waits for a place."""

    name: str
    wait: float


class ServiceGates:
    """Creates each gate once, so that it outlives a reload. `send` takes the origin of a service and a message for its
    coordinator; set it before the first request.
    """

    def __init__(self, *, now: Callable[[], float]) -> None:
        """`now` is a monotonic clock in seconds."""
        self.send: Callable[[str, GateMessage], None] = lambda _origin, _message: None
        self.configured: tuple[ServiceGate, ...] = ()
        self._now = now
        self._gates: dict[str, ServiceGate] = {}

    def gate(self, origin: str) -> ServiceGate:
        """Return the gate of a service, always the same one."""
        if origin not in self._gates:
            self._gates[origin] = ServiceGate(origin, send=lambda message: self.send(origin, message), now=self._now)
        return self._gates[origin]

    def configure(self, services: Mapping[str, GateSettings]) -> None:
        """Use these services from now on."""
        for origin, settings in services.items():
            self.gate(origin).configure(*settings)
        self.configured = tuple(map(self.gate, services))

    def receive(self, origin: str, message: CoordinatorMessage) -> None:
        """Pass a message of a coordinator to its gate."""
        self.gate(origin).receive(message)
