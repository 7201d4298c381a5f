"""The coordinators of all services of a gateway, and the lease of their places that replicas share in Redis."""

import asyncio
import random
import secrets
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from gateway.config.model import Config
from gateway.config.resolved import services_by_origin
from gateway.config.secrets import SecretReader
from gateway.config.state_model import StateSettings
from gateway.oauth.store import StoreDown
from gateway.services.coordinator import ServiceLimit
from gateway.services.service_coordinators import ServiceCoordinators
from gateway.system.background_tasks import BackgroundTasks
from gateway.system.files import in_thread
from gateway.wiring.secret_reader import build_secret_reader, secret_servers
from gateway.wiring.token_stores import RedisStore, load_store_files, open_redis

if TYPE_CHECKING:
    from gateway.services.replica_places import ReplicaPlaces


def service_limits(config: Config) -> dict[str, ServiceLimit]:
    """Return what coordinators need, by the origin of each service."""
    services = services_by_origin(config)
    return {origin: ServiceLimit(name, entry.limit) for origin, (name, entry) in services.items()}


class ServiceCoordination:
    """Construct it inside the loop; call `close` at the end."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """`environ` contains secrets of Redis that are variables."""
        self._environ = environ
        self.coordinators = ServiceCoordinators(scheduler=asyncio.get_running_loop(), random_fraction=random.random)
        self._state: StateSettings | None = None
        self._replica: ReplicaPlaces | None = None
        self._redis: ScriptRunner | None = None
        self._tasks = BackgroundTasks()

    def configure(self, config: Config) -> None:
        """Use the services of a configuration from now on, and share their places in the Redis of its `state`."""
        limits = service_limits(config)
        is_limited = any(limit.calls is not None for limit in limits.values())
        state = config.state if is_limited and config.state is not None and config.state.redis is not None else None
        self.coordinators.configure(limits, has_replicas=state is not None)
        if state != self._state:
            self._state = state
            self._stop_sharing()
            if state is not None and state.redis is not None:
                from gateway.services.replica_places import ReplicaPlaces  # noqa: PLC0415 - only with Redis

                self._redis = ScriptRunner(state, build_secret_reader(self._environ, secret_servers(config)))
                name, prefix = secrets.token_hex(8), state.redis.prefix
                self._replica = ReplicaPlaces(self.coordinators, self._redis.evaluate, replica=name, prefix=prefix)
                self._replica.start()

    async def close(self) -> None:
        """Give up the places, and stop all timers."""
        self._stop_sharing()
        await self._tasks.wait()
        self.coordinators.close()

    def _stop_sharing(self) -> None:
        if self._replica is not None and self._redis is not None:
            self._tasks.start(_close(self._replica, self._redis))
            self._replica = self._redis = None


class ScriptRunner:
    """Runs scripts in the Redis of `state`. Connects at the first one; reads files in a thread."""

    def __init__(self, state: StateSettings, secrets: SecretReader) -> None:
        self._state = state
        self._secrets = secrets
        self._store: RedisStore | None = None

    async def evaluate(self, script: str, name: str, arguments: list[str]) -> object:
        """Run a script on one key. Raise OSError with the cause."""
        if self._store is None:
            files = await in_thread(partial(load_store_files, self._state, self._secrets), owner=self)
            self._store = open_redis(self._state, secrets=self._secrets, files=files)
        try:
            return await self._store.run_script(script, name, arguments)
        except StoreDown as down:
            raise OSError(str(down)) from down

    async def close(self) -> None:
        """Close all connections."""
        if self._store is not None:
            await self._store.close()


async def _close(replica: "ReplicaPlaces", redis: ScriptRunner) -> None:
    await replica.close()
    await redis.close()
