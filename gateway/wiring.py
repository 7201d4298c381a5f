"""From a checked configuration to ready-made objects: credentials become token sources, routes become compiled routes.

`Parts` holds what outlives a change of configuration: the HTTP session to identity domains, the tokens, the meters, and
the sources of credentials that have not changed. `Parts.assemble` makes all the rest anew.
"""

import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from urllib import request as environment
from urllib.parse import unquote, urlsplit

import aiohttp

from gateway.config import secrets
from gateway.config.model import Config, Credential, Proxy, Tls
from gateway.config.settled import SettledRoute, settle
from gateway.oauth.clock import Clock, SystemClock
from gateway.oauth.endpoint import TokenEndpoint, open_session
from gateway.oauth.grants import TokenRequest, build, token_key
from gateway.oauth.source import TokenSource
from gateway.oauth.store import MemoryStore, Store
from gateway.observe.metrics import Metrics
from gateway.proxy.admission import Admission
from gateway.proxy.dialing import EgressProxy, Origin, basic
from gateway.proxy.forward import GENERAL_METHODS, Route, Table
from gateway.proxy.rewriting import Names
from gateway.proxy.routing import Base, Routing
from gateway.proxy.upstream import Upstream
from gateway.watching import Watcher


@dataclass(frozen=True, slots=True)
class Assembly:
    """One configuration, compiled."""

    config: Config
    table: Table
    routes: tuple[Route, ...]
    sources: Mapping[str, TokenSource]
    """By credential; only those that a route uses."""
    upstreams: tuple[Upstream, ...]


class Parts:
    """What outlives a configuration. Made inside the loop; `close` at the end."""

    def __init__(self, metrics: Metrics, *, environ: Mapping[str, str]) -> None:
        self.metrics = metrics
        self._environ = environ
        self._clock: Clock = SystemClock()
        self._store: Store = MemoryStore(self._clock)
        self._session: aiohttp.ClientSession = open_session()
        self._sources: dict[str, tuple[Credential, TokenSource]] = {}

    async def close(self) -> None:
        """Closes the session to identity domains."""
        await self._session.close()

    def assemble(self, config: Config) -> Assembly:
        """Compiles a configuration. Raises OSError or ssl.SSLError for a certificate file that cannot be used."""
        trust = Trust()
        settled = settle(config)
        used = {route.credential for route in settled}
        self._sources = {name: self._kept(name, config.credentials[name], trust) for name in sorted(used)}
        sources = {name: source for name, (_, source) in self._sources.items()}
        upstreams: dict[tuple[str, int, Tls | None, EgressProxy | None], Upstream] = {}
        routes = tuple(self._route(config, route, sources[route.credential], upstreams, trust) for route in settled)
        table = Table(
            routing=Routing((route.path, route.base, route) for route in routes),
            names=Names.of((route.base, route.path) for route in routes),
            admission=Admission(config.allow, config.hosts),
            body_limit=config.limits.body,
        )
        return Assembly(config, table, routes, sources, tuple(upstreams.values()))

    def _kept(self, name: str, credential: Credential, trust: "Trust") -> tuple[Credential, TokenSource]:
        """A credential that has not changed keeps its source, its token and the request under way; it is tried at once,
        since reading the configuration again is what a person does who has mended something. One with authorities of
        its own is made anew: the file that it names may have changed.
        """
        known = self._sources.get(name)
        if known is None or known[0] != credential or credential.tls is not None:
            return credential, self.source(name, credential, trust)
        known[1].try_again()
        return known

    def source(self, name: str, credential: Credential, trust: "Trust | None" = None) -> TokenSource:
        """The token source of a credential."""
        secret = secrets.reader(credential.client_secret, environ=self._environ)
        proxy = self._proxy(credential.token_url, credential.proxy)
        is_tls = credential.token_url.lower().startswith("https:")
        url = f"http://{_bracketed(proxy.host)}:{proxy.port}" if proxy is not None else None
        endpoint = TokenEndpoint(
            self._session,
            timeout=credential.timeout,
            tls=(trust or Trust()).context(credential.tls) if is_tls else None,
            proxy=url,
            proxy_auth=(proxy.authorization or None) if proxy is not None else None,
        )
        return TokenSource(
            name,
            key=token_key(
                credential.token_url,
                client_id=credential.client_id,
                grant=credential.grant,
                scope=credential.scope,
                params=credential.params,
            ),
            request=partial(_token_request, credential, secret),
            endpoint=endpoint,
            store=self._store,
            clock=self._clock,
            token_wait=credential.token_wait,
            watch=Watcher(name, self.metrics),
        )

    def _route(
        self,
        config: Config,
        route: SettledRoute,
        source: TokenSource,
        upstreams: dict[tuple[str, int, Tls | None, EgressProxy | None], Upstream],
        trust: "Trust",
    ) -> Route:
        base = Base.of(route.upstream)
        proxy = self._proxy(route.upstream, route.proxy)
        tls = trust.context(route.tls) if base.scheme == "https" else None
        key = (base.host, base.port, route.tls if tls else None, proxy)
        if key not in upstreams:
            pool = config.pool
            origin = Origin(base.host, base.port, tls, proxy)
            upstreams[key] = Upstream(origin, size=pool.size, idle=pool.idle, max_age=pool.max_age)
        return Route(
            name=route.name,
            path=route.path,
            base=base,
            credential=route.credential,
            methods=route.methods or frozenset(GENERAL_METHODS),
            connect_timeout=route.connect_timeout,
            response_timeout=route.response_timeout,
            idle_timeout=route.idle_timeout,
            replay=route.replay,
            idempotent=route.idempotent,
            replay_limit=route.replay_limit,
            origins=frozenset(origin.lower() for origin in route.origins),  # browsers write them so
            keep_cookies=route.keep_cookies,
            source=source,
            upstream=upstreams[key],
            meter=self.metrics.route(route.name),
            host_line=f"Host: {base.authority}\r\n".encode(),
        )

    def _proxy(self, url: str, configured: Proxy | None) -> EgressProxy | None:
        """The egress proxy for a URL: the configured one, else what HTTPS_PROXY and NO_PROXY say of https URLs."""
        if configured is not None:
            password = ""
            if configured.password is not None:
                password = secrets.read(configured.password, environ=self._environ).get_secret_value()
            return _egress(configured.url, configured.username, password)
        parts = urlsplit(url)
        proxies = environment.getproxies_environment() if self._environ is os.environ else {}
        found = proxies.get("https")
        if parts.scheme != "https" or not found or _bypassed(parts.netloc, proxies):
            return None
        # As curl reads it: the scheme may be missing, user and password are percent-encoded.
        url = found if "://" in found else f"http://{found}"
        via = urlsplit(url)
        return _egress(url, unquote(via.username or ""), unquote(via.password or ""))


class Trust:
    """TLS contexts, one for each set of authorities."""

    def __init__(self) -> None:
        self._contexts: dict[str | None, ssl.SSLContext] = {}

    def context(self, tls: Tls | None) -> ssl.SSLContext:
        """Verifies against the system's authorities, or those of `ca`. TLS 1.2 at least, as OIC documents."""
        ca = tls.ca if tls is not None else None
        if ca not in self._contexts:
            context = ssl.create_default_context(cafile=ca)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.set_alpn_protocols(["http/1.1"])
            self._contexts[ca] = context
        return self._contexts[ca]


def _bypassed(authority: str, proxies: dict[str, str]) -> bool:
    bypass: Callable[[str, dict[str, str]], bool] = environment.proxy_bypass_environment  # type: ignore[attr-defined] # typeshed knows it on Windows only
    return bool(bypass(authority, proxies))


def _egress(url: str, username: str | None, password: str) -> EgressProxy:
    parts = urlsplit(url)
    authorization = basic(username, password) if username else ""
    return EgressProxy(parts.hostname or "", parts.port or 3128, authorization)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _token_request(credential: Credential, secret: Callable[[], str]) -> TokenRequest:
    return build(
        credential.token_url,
        client_id=credential.client_id,
        client_secret=secret(),
        grant=credential.grant,
        client_auth=credential.client_auth,
        scope=credential.scope,
        params=credential.params,
    )
