"""From `services` of the configuration to gates, and in a single process also to their coordinators."""

import time
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, get_args

from gateway.config.model import Config
from gateway.config.resolved import services_by_origin
from gateway.diagnosis.service_findings import service_problem
from gateway.services.lease_messages import BreakerState
from gateway.services.service_gate import ServiceGate
from gateway.services.service_gates import GateSettings, ServiceGates
from gateway.wiring.service_coordination import ServiceCoordination


def gate_settings(config: Config) -> dict[str, GateSettings]:
    """Return what gates need, by the origin of each service."""
    services = services_by_origin(config)
    return {origin: GateSettings(name, entry.wait) for origin, (name, entry) in services.items()}


class Services:
    """The gates of this process. Construct it inside the loop; call `close` at the end."""

    def __init__(self, environ: Mapping[str, str], gates: ServiceGates | None = None) -> None:
        """With `gates` another process coordinates the places, else this one. `environ` contains secrets of Redis."""
        self._coordination: ServiceCoordination | None = None
        self.gates = ServiceGates(now=time.monotonic) if gates is None else gates
        if gates is None:
            self._coordination = ServiceCoordination(environ)
            self.gates.send = partial(self._coordination.coordinators.receive, 0)
            self._coordination.coordinators.add_worker(0, self.gates.receive)

    def configure(self, config: Config) -> None:
        """Use the services of a configuration from now on."""
        self.gates.configure(gate_settings(config))
        if self._coordination is not None:
            self._coordination.configure(config)

    def close_circuit(self, name: str) -> bool | None:
        """Close the circuit of a service, where this process coordinates. Return whether it was open; None if no
        service has this name.
        """
        return None if self._coordination is None else self._coordination.coordinators.close_circuit(name)

    def metrics(self) -> Iterator[tuple[str, tuple[str, ...], float | list[float]]]:
        """Yield name, labels and value of each metric, for this process."""
        for gate in self.gates.configured:
            name, state = gate.name, gate.state
            if state.limit is not None:
                yield "service_calls_limit", (name,), state.limit
            yield "service_calls_running", (name,), gate.running
            yield "service_calls_waiting", (name,), gate.waiting
            yield "service_queue_seconds", (name,), gate.queue_times.copy()
            for known in get_args(BreakerState):
                yield "service_circuit_state", (name, known), int(known == state.breaker)
            yield "service_rejections_total", (name, "overloaded"), gate.overloaded
            yield "service_rejections_total", (name, "upstream-down"), gate.rejected
            yield "service_rejections_total", (name, "retry-budget"), gate.retry_budget.denied

    def status(self) -> dict[str, dict[str, Any]]:
        """Return each service as `/status` shows it, by name."""
        return {gate.name: _gate_status(gate) for gate in self.gates.configured}

    async def close(self) -> None:
        """Stop all timers."""
        if self._coordination is not None:
            await self._coordination.close()


def sum_services(views: Iterable[dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Return the services of several processes as those of one."""
    sums: dict[str, dict[str, Any]] = {}
    for view in views:
        for name, status in view.items():
            known = sums.setdefault(name, status)
            if known is not status:
                sums[name] = known | {key: known[key] + status[key] for key in ("running", "waiting")}
    return {name: _with_problem(status) for name, status in sums.items()}


def _gate_status(gate: ServiceGate) -> dict[str, Any]:
    state = gate.state
    return _with_problem(
        {
            "url": gate.origin,
            "calls": state.configured_limit,
            "limit": state.limit,
            "running": gate.running,
            "waiting": gate.waiting,
            "circuit": {
                "state": state.breaker,
                "open_for_s": round(gate.open_for(), 1),
                "reason": state.reason if state.breaker != "closed" else None,
            },
        }
    )


def _with_problem(status: dict[str, Any]) -> dict[str, Any]:
    circuit = status["circuit"]
    problem = service_problem(
        failure=circuit["reason"],
        open_for=circuit["open_for_s"],
        limit=status["limit"],
        configured_limit=status["calls"],
        waiting=status["waiting"],
    )
    return status | {"problem": problem}
