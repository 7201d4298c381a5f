"""The compiled configuration that a gateway uses, and its replacement at a reload."""

from collections.abc import Coroutine, Iterable
from functools import partial
from typing import Any

from gateway.config.model import Config
from gateway.config.resolved import keep_listeners
from gateway.oauth.store import Store
from gateway.oauth.token_source import TokenSource
from gateway.observe.time_slices import free_in_slices
from gateway.system.files import in_thread
from gateway.wiring.components import Components, LoadedFiles, Runtime
from gateway.wiring.history import import_history
from gateway.wiring.telemetry import import_telemetry
from gateway.wiring.token_events import credential_gauges


class ActiveRuntime:
    """The `runtime` of the `config` in use. `prepare` compiles another one, and `adopt` puts it into use.

    The constructor raises OSError as `prepare` does.
    """

    def __init__(self, components: Components, config: Config) -> None:
        self._components = components
        self.config = self._next_config = config
        self.runtime = self._next_runtime = components.build_runtime(config, components.load_files(config))
        self._retiring: set[TokenSource] = set()
        self._apply()

    def _apply(self) -> None:
        self._components.adopt(self.runtime)
        self._components.configure_gates(self.config)
        self._components.keep_fetches(is_on=self.config.console is not None)

    async def prepare(self, config: Config) -> None:
        """Compile another configuration for `adopt`. Raise OSError if a named file or secret cannot be read."""
        loaded = await in_thread(partial(self._load, config), owner=self)
        refused = self._next_runtime  # the one in use, unless its reload was refused by another worker
        self._next_config, self._next_runtime = config, await self._components.build_runtime_in_slices(config, loaded)
        if self._is_unused(refused.store):
            await self._components.retire(refused.store)
        prepared = [*loaded.routes]
        del loaded
        await free_in_slices(prepared)

    def _load(self, config: Config) -> LoadedFiles:
        """Read every file that `prepare` and `adopt` need; blocks, therefore in a thread."""
        import_history(config)
        import_telemetry(config)
        return self._components.load_files(config)

    def adopt(self) -> Runtime:
        """Use the configuration that was prepared last, except for its addresses. Return the former runtime."""
        listeners = keep_listeners(self.config, self._next_config)
        former, self.runtime = self.runtime, self._next_runtime
        self.config = self._next_config.model_copy(update={"listen": listeners})
        self._apply()
        return former

    def retire(self, former: Runtime) -> Coroutine[Any, Any, None]:
        """Return the work that ends what only the former runtime used: wait for the fetches of its token sources, then
        close its store.
        """
        sources = set(former.sources.values()).difference(self.runtime.sources.values())
        self._retiring |= sources
        return self._retire(former.store, sources)

    async def _retire(self, store: Store, sources: set[TokenSource]) -> None:
        for source in sources:
            await source.wait_idle()
            self._retiring.discard(source)
        if self._is_unused(store):
            await self._components.retire(store)

    def _is_unused(self, store: Store) -> bool:
        return store not in {self.runtime.store, self._next_runtime.store}

    async def close(self) -> None:
        """Close the connections to upstreams, and all token sources."""
        for pool in self.runtime.pools:
            pool.close()
        for source in (*self.runtime.sources.values(), *self._retiring):
            await source.close()

    def token_gauges(self) -> Iterable[tuple[str, tuple[str, ...], float]]:
        """Yield the gauges of each credential."""
        for name, source in self.runtime.sources.items():
            yield from credential_gauges(name, source)

    def connection_counts(self) -> Iterable[tuple[str, str, int]]:
        """Yield the origin, the state and the number of connections to upstreams."""
        for pool in self.runtime.pools:
            for state, count in pool.count_by_state().items():
                yield pool.origin.name, state, count
