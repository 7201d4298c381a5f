"""The coordinators of all services of a gateway, by origin."""

from collections.abc import Callable, Mapping

from gateway.services.coordinator import PartRequest, Scheduler, ServiceCoordinator, ServiceLimit
from gateway.services.lease_messages import CoordinatorMessage, GateMessage

Send = Callable[[str, CoordinatorMessage], None]
"""Sends a message to one worker; the first argument is the origin of the service."""


class ServiceCoordinators:
    """Creates one `ServiceCoordinator` for each service, and passes on the messages of the workers."""

    def __init__(self, *, scheduler: Scheduler, random_fraction: Callable[[], float]) -> None:
        self._scheduler = scheduler
        self._random_fraction = random_fraction
        self.on_shortage: Callable[[], None] = lambda: None
        self._workers: dict[int, Send] = {}
        self._services: dict[str, ServiceCoordinator] = {}

    def configure(self, services: Mapping[str, ServiceLimit], *, has_replicas: bool = False) -> None:
        """Use these services from now on. A removed service has no limit; its coordinator stays for the calls in
        progress, and in case the service is added again. With `has_replicas` a service has no places until `set_part`.
        """
        for origin, settings in services.items():
            if origin in self._services:
                self._services[origin].configure(settings)
            else:
                self._services[origin] = self._new_coordinator(origin, settings)
        for origin in self._services.keys() - services.keys():
            self._services[origin].configure(ServiceLimit(origin, None))
        for service in self._services.values():
            service.share_with_replicas(has_replicas=has_replicas)

    def close_circuit(self, name: str) -> bool | None:
        """Close the circuit of a service. Return whether it was open; None if no service has this name."""
        closed = [service.close_circuit() for service in self._services.values() if service.name == name]
        return any(closed) if closed else None

    def part_requests(self) -> list[PartRequest]:
        """Return what this replica asks for, for each service with a limit."""
        requests = (service.part_request(origin) for origin, service in self._services.items())
        return [request for request in requests if request is not None]

    def set_part(self, origin: str, part: int, *, are_others_short: bool = False) -> None:
        """Use this part of the places of a service."""
        self._services[origin].set_part(part, are_others_short=are_others_short)

    def add_worker(self, worker: int, send: Send) -> None:
        """Add a worker; numbers are never used twice."""
        self._workers[worker] = send
        for service in self._services.values():
            service.add_worker(worker)

    def remove_worker(self, worker: int) -> None:
        """Take back the places of a worker that has ended."""
        if self._workers.pop(worker, None) is not None:
            for service in self._services.values():
                service.remove_worker(worker)

    def receive(self, worker: int, origin: str, message: GateMessage) -> None:
        """Act on a message of a worker."""
        service = self._services.get(origin)
        if service is not None and worker in self._workers:
            service.receive(worker, message)

    def close(self) -> None:
        """Stop all timers."""
        for service in self._services.values():
            service.close()

    def _on_shortage(self) -> None:
        self.on_shortage()

    def _new_coordinator(self, origin: str, settings: ServiceLimit) -> ServiceCoordinator:
        service = ServiceCoordinator(
            settings,
            scheduler=self._scheduler,
            random_fraction=self._random_fraction,
            on_shortage=self._on_shortage,
            send=lambda worker, message: self._workers[worker](origin, message),
        )
        for worker in self._workers:
            service.add_worker(worker)
        return service
