"""From `rate`, `burst` and `quota` of the configured callers to gates and coordinators."""

import asyncio
import math
import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from gateway.config.caller_model import CallerSettings
from gateway.config.model import Config
from gateway.config.state_model import StateSettings
from gateway.limits.allowance import Instant
from gateway.limits.caller_limits import CallerLimits, Quota, RateLimit
from gateway.limits.limit_clock import LimitClock
from gateway.limits.limit_gates import LimitGates
from gateway.system.background_tasks import BackgroundTasks
from gateway.wiring.secret_reader import build_secret_reader, secret_servers
from gateway.wiring.service_coordination import ScriptRunner

if TYPE_CHECKING:
    from gateway.limits.replica_limits import ReplicaLimits

MetricValues = Iterator[tuple[str, tuple[str, ...], float | list[float]]]


def caller_limits(config: Config) -> dict[str, CallerLimits]:
    """Return the limits of each caller that has some, by name."""
    limits = {name: _limits_of(settings) for name, settings in config.callers.items()}
    return {name: each for name, each in limits.items() if any(each)}


class LimitCoordination:
    """The coordinators of a gateway. Construct it inside the loop; call `close` at the end."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """`environ` contains secrets of Redis that are variables."""
        from gateway.limits.limit_coordinator import LimitCoordinators  # noqa: PLC0415 - only where callers have limits

        self._environ = environ
        self.coordinators = LimitCoordinators(LimitClock(_instant, asyncio.get_running_loop().call_later))
        self._state: StateSettings | None = None
        self._replica: ReplicaLimits | None = None
        self._redis: ScriptRunner | None = None
        self._closing = BackgroundTasks()

    def configure(self, config: Config) -> None:
        """Use the limits of a configuration from now on, and share them in the Redis of its `state`."""
        limits, former = caller_limits(config), self._redis
        state = config.state if limits and config.state is not None and config.state.redis is not None else None
        if state != self._state:
            self._state, self._replica, self._redis = state, None, None
            if state is not None and state.redis is not None:
                self._redis = ScriptRunner(state, build_secret_reader(self._environ, secret_servers(config)))
                from gateway.limits.replica_limits import ReplicaLimits  # noqa: PLC0415 - only with Redis

                self._replica = ReplicaLimits(self._redis.evaluate, prefix=state.redis.prefix)
        self.coordinators.configure(limits, self._replica)
        if former is not None and former is not self._redis:
            self._closing.start(former.close())

    def metrics(self) -> MetricValues:
        """Yield name, labels and value of each metric."""
        return self.coordinators.metrics()

    def status(self) -> dict[str, dict[str, Any]]:
        """Return each caller with limits as `/status` shows it, by name."""
        return self.coordinators.status()

    async def close(self) -> None:
        """Stop all timers, and close all connections."""
        self.coordinators.close()
        if self._redis is not None:
            await self._redis.close()
        await self._closing.wait()


class Limits:
    """The gates of this process. Construct it inside the loop; call `close` at the end."""

    def __init__(self, environ: Mapping[str, str], gates: LimitGates | None = None) -> None:
        """With `gates` another process coordinates; else this one does. `environ` contains secrets of Redis."""
        self._environ = environ
        self._coordinates = gates is None
        self._coordination: LimitCoordination | None = None
        self.gates = LimitGates(now=time.monotonic) if gates is None else gates

    def configure(self, config: Config) -> None:
        """Use the limits of a configuration from now on."""
        limits = caller_limits(config)
        if self._coordinates and self._coordination is None and limits:
            self._coordination = LimitCoordination(self._environ)
            self.gates.send = partial(self._coordination.coordinators.receive, 0)
            self._coordination.coordinators.add_worker(0, self.gates.receive)
        if self._coordination is not None:
            self._coordination.configure(config)
        self.gates.configure(limits)

    def metrics(self) -> MetricValues:
        """Yield name, labels and value of each metric, for this process."""
        for gate in self.gates.configured:
            for kind, count in gate.refused.items():
                yield "caller_rejections_total", (gate.caller, kind), count
        if self._coordination is not None:
            yield from self._coordination.metrics()

    def status(self) -> dict[str, dict[str, Any]]:
        """Return each caller with limits as `/status` shows it; nothing where another process coordinates."""
        return {} if self._coordination is None else self._coordination.status()

    async def close(self) -> None:
        """Stop all timers."""
        if self._coordination is not None:
            await self._coordination.close()


def _limits_of(settings: CallerSettings) -> CallerLimits:
    rate, quota = settings.rate, settings.quota
    calls, messages = (None, None) if quota is None else (quota.calls, quota.messages)
    return CallerLimits(
        None if rate is None else RateLimit(*rate, settings.burst or math.ceil(rate.amount / rate.seconds)),
        None if calls is None else Quota(*calls),
        None if messages is None else Quota(*messages),
    )


def _instant() -> Instant:
    return Instant(time.monotonic(), time.time())
