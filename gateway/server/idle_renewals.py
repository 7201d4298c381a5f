"""Uses the refresh tokens of idle credentials, so that no sign-in ends because there are no calls (`renew.idle`)."""

import asyncio
import random
from typing import NamedTuple

from gateway.oauth.token_source import TokenSource
from gateway.wiring.components import Runtime

IDLE_SHARE = 0.9
"""A refresh token is used after this share of `renew.idle`, so that a check is still in time."""
CHECKS = 24
"""Checks in one `renew.idle`."""
LONGEST_PAUSE = 3600.0
"""Seconds between two checks."""


class _IdleLimit(NamedTuple):
    source: TokenSource
    seconds: float


class IdleRenewals:
    """The checks of one process. The store decides which of all processes renews."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    def start(self, runtime: Runtime) -> None:
        """Check the credentials of a runtime, in place of those before."""
        self.stop()
        config = runtime.config
        if config.state is None:  # without a store each process has the refresh token for itself
            return
        limits = [
            _IdleLimit(source, config.credentials[name].renew.idle)
            for name, source in runtime.sources.items()
            if config.credentials[name].grant in {"authorization_code", "refresh_token"}
        ]
        if limits:
            self._task = asyncio.create_task(_check_all(limits))

    def stop(self) -> None:
        """Stop checking. A renewal under way ends by itself."""
        if self._task is not None:
            self._task.cancel()
            self._task = None


async def _check_all(limits: list[_IdleLimit]) -> None:
    pause = min(LONGEST_PAUSE, min(limit.seconds for limit in limits) / CHECKS)
    while True:
        await asyncio.sleep(pause * random.random() * 2)  # noqa: S311 - jitter: replicas must not check together
        for source, seconds in limits:
            await source.renew_if_idle(IDLE_SHARE * seconds)
