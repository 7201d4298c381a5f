"""From `rate`, `burst` and `quota` of the configured callers to gates and coordinators."""

import asyncio
import math
import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from gateway.config.caller_model import CallerSettings
from gateway.config.model import Config
from gateway.limits.allowance import Instant
from gateway.limits.caller_limits import CallerLimits, Quota, RateLimit
from gateway.limits.limit_coordinator import LimitClock, LimitCoordinators
from gateway.limits.limit_gates import LimitGates

MetricValues = Iterator[tuple[str, tuple[str, ...], float | list[float]]]


def caller_limits(config: Config) -> dict[str, CallerLimits]:
    """Return the limits of each caller that has some, by name."""
    limits = {name: _limits_of(settings) for name, settings in config.callers.items()}
    return {name: each for name, each in limits.items() if any(each)}


class LimitCoordination:
    """The coordinators of a gateway. Construct it inside the loop; call `close` at the end."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """`environ` contains secrets of Redis that are variables."""
        self._environ = environ
        self.coordinators = LimitCoordinators(LimitClock(_instant, asyncio.get_running_loop().call_later))

    def configure(self, config: Config) -> None:
        """Use the limits of a configuration from now on."""
        self.coordinators.configure(caller_limits(config))

    def metrics(self) -> MetricValues:
        """Yield name, labels and value of each metric."""
        return self.coordinators.metrics()

    def status(self) -> dict[str, dict[str, Any]]:
        """Return each caller with limits as `/status` shows it, by name."""
        return self.coordinators.status()

    async def close(self) -> None:
        """Stop all timers."""
        self.coordinators.close()


class Limits:
    """The gates of this process. Construct it inside the loop; call `close` at the end."""

    def __init__(self, environ: Mapping[str, str], gates: LimitGates | None = None) -> None:
        """With `gates` another process coordinates; else this one does. `environ` contains secrets of Redis."""
        self._coordination: LimitCoordination | None = None
        self.gates = LimitGates(now=time.monotonic) if gates is None else gates
        if gates is None:
            self._coordination = LimitCoordination(environ)
            self.gates.send = partial(self._coordination.coordinators.receive, 0)
            self._coordination.coordinators.add_worker(0, self.gates.receive)

    def configure(self, config: Config) -> None:
        """Use the limits of a configuration from now on."""
        if self._coordination is not None:
            self._coordination.configure(config)
        self.gates.configure(caller_limits(config))

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
