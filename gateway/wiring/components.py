"""From a checked configuration to a `Runtime`: compiled routes, token sources and the store of tokens.

`Components` holds what outlives a change of configuration: the metrics, the stores, the rate limiters, and the token
sources of credentials that did not change. It builds everything else for each configuration.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from gateway.callers.directory import CallerDirectory
from gateway.callers.replay_cache import ReplayCache
from gateway.config.model import Config, CredentialSettings
from gateway.config.resolved import hosts_of, resolve
from gateway.config.secrets import SecretReader
from gateway.history.usage_buckets import UsageBuckets
from gateway.http.pool import ConnectionBudget, ConnectionPool
from gateway.limits.limit_gates import LimitGates
from gateway.network.egress_proxy import ProxyEnvironment
from gateway.oauth.clock import SystemClock
from gateway.oauth.store import Store
from gateway.oauth.token_source import TokenSource
from gateway.observe.metrics import Metrics
from gateway.observe.time_slices import run_in_slices
from gateway.proxy.admission import Admission
from gateway.proxy.gateway_authorities import GatewayAuthorities
from gateway.proxy.rewriting import UrlMap
from gateway.proxy.route_table import Route, RouteTable
from gateway.proxy.routing import Router, UpstreamUrl
from gateway.services.service_gates import ServiceGates
from gateway.wiring.callers import CallerProofReader, ConfiguredCallers, LoadedProofs, build_callers, new_digest_key
from gateway.wiring.credentials import CredentialBuilder, RateLimiters
from gateway.wiring.fetch_log import FetchLog
from gateway.wiring.limit_coordination import Limits, caller_limits
from gateway.wiring.outbound import EgressSelector, TlsContexts
from gateway.wiring.routes import PreparedRoute, RouteCompiler, prepare_route
from gateway.wiring.secret_reader import SecretServers, build_secret_reader, secret_servers
from gateway.wiring.services import Services
from gateway.wiring.telemetry import Telemetry
from gateway.wiring.token_stores import StoreFiles, TokenStores, load_store_files


class Runtime(msgspec.Struct, frozen=True):
    """One configuration, compiled."""

    config: Config
    table: RouteTable
    routes: tuple[Route, ...]
    sources: Mapping[str, TokenSource]
    """By credential; only those that a route uses."""
    pools: tuple[ConnectionPool, ...]
    credential_builder: CredentialBuilder
    callers: ConfiguredCallers

    @property
    def store(self) -> Store:
        """Return the store of the tokens."""
        return self.credential_builder.store

    def prefetch(self) -> None:
        """Start to fetch the tokens of credentials with `prefetch`."""
        for name, source in self.sources.items():
            if self.config.credentials[name].prefetch:
                source.prefetch()


class LoadedFiles(msgspec.Struct, frozen=True):
    """The content of the files and of the secrets that `Components.build_runtime` needs for one configuration."""

    secrets: SecretReader
    contexts: TlsContexts
    routes: tuple[PreparedRoute, ...]
    store: StoreFiles
    proofs: LoadedProofs


class ProcessGates(NamedTuple):
    """The gates of a process whose coordinators are in another one."""

    services: ServiceGates
    limits: LimitGates


class Components:
    """The objects that outlive a configuration. Construct it inside the loop; call `close` at the end.

    `build_runtime` changes nothing that is in use; `adopt` puts its result into use.
    """

    def __init__(
        self,
        metrics: Metrics,
        *,
        environ: Mapping[str, str],
        upstreams: ConnectionBudget | None = None,
        gates: ProcessGates | None = None,
        instance_id: str = "",
    ) -> None:
        """`upstreams` bounds the connections to all upstreams together. With `gates` another process coordinates the
        places of services and the limits of callers. `instance_id` is the gateway's in `telemetry`.
        """
        self.metrics = metrics
        self.telemetry = Telemetry(environ, instance_id=instance_id, meters=metrics)
        self.services = Services(environ, None if gates is None else gates.services)
        self.limits = Limits(environ, None if gates is None else gates.limits)
        self.usage = UsageBuckets()
        self._environ = environ
        self._upstreams = upstreams
        self._servers: SecretServers | None = None
        clock = SystemClock()
        self._token_stores = TokenStores(clock)
        self._adopted: Runtime | None = None
        self._digest_key = new_digest_key()
        self._seen_tokens = ReplayCache()
        self.credential_builder = CredentialBuilder(
            secrets=SecretReader(environ),
            store=self._token_stores.memory,
            clock=clock,
            metrics=metrics,
            telemetry=self.telemetry,
            environment=ProxyEnvironment.from_environ(environ),
            rate_limiters=RateLimiters(clock),
            fetch_log=FetchLog(),
        )

    @property
    def secrets(self) -> SecretReader:
        """Return the reader of the secrets of the present configuration."""
        return self.credential_builder.secrets

    async def close(self) -> None:
        """Close the stores, and stop the timers."""
        await self.services.close()
        await self.limits.close()
        await self._token_stores.close()

    def configure_gates(self, config: Config) -> None:
        """Use the services and the limits of callers of a configuration from now on."""
        self.services.configure(config)
        self.limits.configure(config)

    def keep_fetches(self, *, is_on: bool) -> None:
        """Keep the last token requests of each credential from now on, or keep none."""
        self.credential_builder.fetch_log.is_on = is_on

    async def retire(self, store: Store) -> None:
        """Close the store of a runtime that is no longer used."""
        await self._token_stores.retire(store)

    def load_files(self, config: Config) -> LoadedFiles:
        """Read the files and the secrets that `build_runtime` needs; in a thread where callers are served.
        Changes nothing. Raise OSError or ssl.SSLError for a file or a secret that cannot be used.
        """
        secrets = self._secret_reader_for(config)
        contexts = TlsContexts()
        egress = EgressSelector(self.credential_builder.environment, secrets)
        routes = tuple(prepare_route(route, egress=egress, contexts=contexts) for route in resolve(config))
        reader = CallerProofReader(config.callers, secrets, key=self._digest_key)
        store = load_store_files(config.state, secrets)
        return LoadedFiles(secrets, contexts, routes, store, reader.load())

    def configure(self, config: Config) -> Store:
        """Use the store, the secrets and the rate limits of a configuration without routes; return the store. Raise
        OSError for a file that cannot be used.
        """
        secrets = self._secret_reader_for(config)
        self._apply(config, self._builder_for(config, secrets, load_store_files(config.state, secrets)))
        return self.credential_builder.store

    def build_runtime(self, config: Config, loaded: LoadedFiles) -> Runtime:
        """Compile a configuration with the files that `load_files` has read for it. Opens no file."""
        draft = self._draft(config, loaded)
        for _ in self._compile(config, loaded, draft):
            pass
        callers = build_callers(loaded.proofs, seen=self._seen_tokens)
        table = _route_table(config, draft.routes, callers.directory, self.limits.gates)
        return draft.runtime(config, table, callers)

    async def build_runtime_in_slices(self, config: Config, loaded: LoadedFiles) -> Runtime:
        """Compile a configuration as `build_runtime` does, while callers are served: thousands of routes take a
        second.
        """
        draft = self._draft(config, loaded)
        await run_in_slices(self._compile(config, loaded, draft))
        callers = build_callers(loaded.proofs, seen=self._seen_tokens)
        arguments = config, draft.routes, callers.directory, self.limits.gates
        table = await asyncio.to_thread(_route_table, *arguments)  # it only computes
        return draft.runtime(config, table, callers)

    def adopt(self, runtime: Runtime) -> None:
        """Use the store, the secrets, the rate limits and the token sources of a runtime from now on. A source that was
        in use before retries at once: operators reload the configuration after they fix a problem.
        """
        self._apply(runtime.config, runtime.credential_builder)
        self._adopted = runtime
        for source in runtime.sources.values():
            source.reset_back_off()

    def _secret_reader_for(self, config: Config) -> SecretReader:
        """Return the present secrets, or new ones if the configuration names other servers of secrets."""
        servers = secret_servers(config)
        return self.secrets if servers == self._servers else build_secret_reader(self._environ, servers)

    def _builder_for(self, config: Config, secrets: SecretReader, files: StoreFiles) -> CredentialBuilder:
        """Return the present builder, or a new one if the store or the secrets differ."""
        store, present = self._token_stores.store(config.state, secrets, files), self.credential_builder
        if secrets is present.secrets and store is present.store:
            return present
        return replace(present, secrets=secrets, store=store)

    def _apply(self, config: Config, builder: CredentialBuilder) -> None:
        self._servers, self.credential_builder = secret_servers(config), builder
        builder.rate_limiters.set_limits(config.credentials.values())

    def _draft(self, config: Config, loaded: LoadedFiles) -> "_RuntimeDraft":
        return _RuntimeDraft(self._builder_for(config, loaded.secrets, loaded.store))

    def _compile(self, config: Config, loaded: LoadedFiles, draft: "_RuntimeDraft") -> Iterator[None]:
        """Compile a configuration route by route and credential by credential."""
        for name in sorted({prepared.route.credential for prepared in loaded.routes}):
            draft.sources[name] = self._reuse_or_build(name, config.credentials[name], draft, loaded.contexts)
            yield
        compiler = RouteCompiler(config, metrics=self.metrics, budget=self._upstreams, gates=self.services.gates)
        for prepared in loaded.routes:
            draft.routes.append(compiler.compile(prepared, draft.sources[prepared.route.credential]))
            yield
        draft.pools = compiler.pools

    def _reuse_or_build(
        self, name: str, credential: CredentialSettings, draft: "_RuntimeDraft", contexts: TlsContexts
    ) -> TokenSource:
        """Reuse the source of a credential that did not change, with its token and its pending fetch."""
        builder, adopted = draft.credential_builder, self._adopted
        if (
            adopted is not None
            and adopted.credential_builder is builder
            and name in adopted.sources
            and adopted.config.credentials[name] == credential
        ):
            return adopted.sources[name]
        return builder.token_source(name, credential, contexts)


@dataclass(slots=True)
class _RuntimeDraft:
    """The compiled parts of an unfinished runtime."""

    credential_builder: CredentialBuilder
    sources: dict[str, TokenSource] = field(default_factory=dict)
    routes: list[Route] = field(default_factory=list)
    pools: tuple[ConnectionPool, ...] = ()

    def runtime(self, config: Config, table: RouteTable, callers: ConfiguredCallers) -> Runtime:
        """Return the finished runtime."""
        return Runtime(config, table, tuple(self.routes), self.sources, self.pools, self.credential_builder, callers)


def _route_table(
    config: Config, routes: Sequence[Route], callers: CallerDirectory, limit_gates: LimitGates
) -> RouteTable:
    return RouteTable(
        router=Router(
            ((route.path, route.upstream_url, route) for route in routes), scope_of=lambda route: route.file_scope
        ),
        url_maps=_url_maps(routes),
        admission=Admission(config.allow, hosts_of(config)),
        gateway_authorities=GatewayAuthorities(hosts=config.hosts, public_url=config.public_url),
        callers=callers,
        body_limit=config.limits.body,
        body_rate=config.limits.body_rate,
        public_url=(config.public_url or "").rstrip("/"),
        shares={name: caller.share for name, caller in config.callers.items() if caller.share != 1},
        limits={name: limit_gates.gate(name) for name in caller_limits(config)},
    )


def _url_maps(routes: Sequence[Route]) -> dict[str, UrlMap]:
    """Return the map of each scope: its own routes, then those of the main file, never those of another scope."""
    kinds = sorted({kind for route in routes for kind in route.rewrite})
    complete = UrlMap.from_routes(_upstream_paths(routes), design_urls=_design_urls(routes), kinds=kinds)
    grouped: dict[str, list[Route]] = {"": []}
    for route in routes:
        grouped.setdefault(route.file_scope, []).append(route)
    own = grouped.pop("")
    main = complete.for_scope(_upstream_paths(own), design_urls=_design_urls(own))
    return {"": main} | {
        scope: complete.for_scope(_upstream_paths(own), design_urls=_design_urls(own), main=main)
        for scope, own in grouped.items()
    }


def _upstream_paths(routes: Iterable[Route]) -> Iterator[tuple[UpstreamUrl, str]]:
    return ((route.upstream_url, route.path) for route in routes)


def _design_urls(routes: Iterable[Route]) -> Iterator[tuple[UpstreamUrl, UpstreamUrl]]:
    return ((route.upstream_url, route.design_upstream.url) for route in routes if route.design_upstream is not None)
