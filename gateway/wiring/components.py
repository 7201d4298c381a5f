"""From a checked configuration to ready-made objects: credentials become token sources, routes become compiled routes.

`Parts` holds what outlives a change of configuration: the HTTP session to identity domains, the tokens, the meters, and
the sources of credentials that have not changed. `Parts.assemble` makes all the rest anew.
"""

import asyncio
import hashlib
import math
import ssl
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from gateway.config.model import ClientTls, Config, Credential, Signing
from gateway.config.oci_model import Oci
from gateway.config.resolved import budgets, client_secrets, endpoint_of, hosts_of, resolve
from gateway.config.secrets import Secrets
from gateway.config.strict_model import Proxy, SecretRef, Tls
from gateway.config.vault import Vault
from gateway.http.pool import ConnectionBudget, ConnectionPool
from gateway.network.dial import EgressProxy, Origin, basic
from gateway.network.egress_proxy import Environment, read_proxy_url
from gateway.oauth.clock import Clock, SystemClock
from gateway.oauth.endpoint import TokenEndpoint
from gateway.oauth.grants import build, token_key
from gateway.oauth.lifetime import RenewalMargin
from gateway.oauth.rate_limiter import RateLimiter
from gateway.oauth.refresh_rotation import RefreshTokenRotation
from gateway.oauth.store import Store
from gateway.oauth.token_request import TokenRequestBuilder, ValueReader
from gateway.oauth.token_source import TokenSource
from gateway.observe.metrics import Metrics
from gateway.observe.time_slices import work_in_turns
from gateway.proxy.admission import Admission
from gateway.proxy.own_authorities import OwnAuthorities
from gateway.proxy.rewriting import UrlMap
from gateway.proxy.route_table import Route, RouteTable
from gateway.proxy.routing import Router, UpstreamUrl
from gateway.system.files import MAX_BYTES, check_regular, read_file
from gateway.wiring.routes import PreparedRoute, RouteCompiler, TlsContexts, client_tls_context, prepare_route
from gateway.wiring.token_events import TokenEventReporter
from gateway.wiring.token_stores import StoreFiles, TokenStores, load_store_files

_ROTATING = frozenset(("authorization_code", "refresh_token"))


@dataclass(frozen=True, slots=True)
class Runtime:
    """One configuration, compiled."""

    config: Config
    table: RouteTable
    routes: tuple[Route, ...]
    sources: Mapping[str, TokenSource]
    """By credential; only those that a route uses."""
    pools: tuple[ConnectionPool, ...]
    store: Store

    def prefetch(self) -> None:
        """Begins to get the tokens that no caller should wait for."""
        for name, source in self.sources.items():
            if self.config.credentials[name].prefetch:
                source.prefetch()


@dataclass(frozen=True, slots=True)
class LoadedFiles:
    """What `Parts.assemble` needs of files and of the Vault for one configuration, read."""

    secrets: Secrets
    trust: TlsContexts
    routes: tuple[PreparedRoute, ...]
    store: StoreFiles


class Components:
    """What outlives a configuration. Made inside the loop; `close` at the end."""

    def __init__(
        self, metrics: Metrics, *, environ: Mapping[str, str], upstreams: ConnectionBudget | None = None
    ) -> None:
        """`upstreams` bounds the connections to all of them together."""
        self.metrics = metrics
        self._environ = environ
        self._upstreams = upstreams
        self._environment = Environment.of(environ)
        self._clock: Clock = SystemClock()
        self._secrets = Secrets(environ)
        self._oci = Oci()
        self._token_stores = TokenStores(self._clock)
        self._store: Store = self._token_stores.memory
        self._sources: dict[str, tuple[Credential, TokenSource]] = {}
        self._budgets: dict[str, RateLimiter] = {}

    @property
    def secrets(self) -> Secrets:
        """Reads what the configuration of the moment refers to."""
        return self._secrets

    async def close(self) -> None:
        """Closes the stores."""
        await self._token_stores.close()

    async def retire(self, store: Store) -> None:
        """Closes the store of an assembly that is no longer used."""
        await self._token_stores.retire(store)

    def load(self, config: Config) -> LoadedFiles:
        """Read what `assemble` needs of files and of the Vault; in a thread where callers are served. Changes nothing.
        Raises OSError or ssl.SSLError for a file or a secret that cannot be used.
        """
        secrets = self._secrets_of(config)
        trust = TlsContexts()
        egress = partial(self._egress, secrets=secrets)
        routes = tuple(prepare_route(route, egress=egress, trust=trust) for route in resolve(config))
        return LoadedFiles(secrets, trust, routes, load_store_files(config.state, secrets))

    def _secrets_of(self, config: Config) -> Secrets:
        """The present ones, unless the configuration has another Vault."""
        return self._secrets if config.oci == self._oci else Secrets(self._environ, vault=Vault(config.oci))

    def configure(self, config: Config) -> Store:
        """The store, the Vault and the budgets that a configuration asks for are those of `source` from now on; OSError
        where their files cannot be used.
        """
        secrets = self._secrets_of(config)
        return self._keep(config, secrets, load_store_files(config.state, secrets))

    def _keep(self, config: Config, secrets: Secrets, files: StoreFiles) -> Store:
        if secrets is not self._secrets:
            self._oci, self._secrets, self._sources = config.oci, secrets, {}
        store = self._token_stores.store(config.state, secrets, files)
        if store is not self._store:
            self._store, self._sources = store, {}
        self._set_budgets(config)
        return store

    def assemble(self, config: Config, loaded: LoadedFiles) -> Runtime:
        """Compile a configuration with what `load` has read for it. Opens no file."""
        compiled = _Compiled()
        for _ in self._compile(config, loaded, compiled):
            pass
        return compiled.assembly(config, _table_of(config, compiled.routes))

    async def assemble_in_turns(self, config: Config, loaded: LoadedFiles) -> Runtime:
        """Does the same while callers have their turns: thousands of routes take a second."""
        compiled = _Compiled()
        await work_in_turns(self._compile(config, loaded, compiled))
        table = await asyncio.to_thread(_table_of, config, compiled.routes)  # of values alone
        return compiled.assembly(config, table)

    def _compile(self, config: Config, loaded: LoadedFiles, compiled: "_Compiled") -> Iterator[None]:
        """Compiles a configuration route by route and credential by credential."""
        compiled.store = self._keep(config, loaded.secrets, loaded.store)
        sources: dict[str, tuple[Credential, TokenSource]] = {}
        for name in sorted({route.settled.credential for route in loaded.routes}):
            sources[name] = self._reuse_or_build(name, config.credentials[name], loaded.trust)
            compiled.sources[name] = sources[name][1]
            yield
        self._sources = sources
        maker = RouteCompiler(config, metrics=self.metrics, budget=self._upstreams)
        for route in loaded.routes:
            compiled.routes.append(maker.compile(route, compiled.sources[route.settled.credential]))
            yield
        compiled.upstreams = maker.pools

    def _reuse_or_build(
        self, name: str, credential: Credential, trust: "TlsContexts"
    ) -> tuple[Credential, TokenSource]:
        """A credential that has not changed keeps its source, its token and the request under way; it is tried at once,
        since reading the configuration again is what a person does who has mended something.
        """
        known = self._sources.get(name)
        if known is None or known[0] != credential:
            return credential, self.source(name, credential, trust)
        known[1].try_again()
        return known

    def source(self, name: str, credential: Credential, trust: "TlsContexts | None" = None) -> TokenSource:
        """The token source of a credential."""
        requests = self.requests(credential, trust)
        renew = credential.renew
        key, watch = key_of(name, credential), TokenEventReporter(name, self.metrics)
        return TokenSource(
            name,
            key=key,
            proof=_authentication_hash(credential),
            request=requests.build,
            endpoint=requests.send,
            fingerprint=partial(self._secrets.fingerprint, credential),
            expire=partial(self._secrets.expire, credential),
            store=self._store,
            clock=self._clock,
            budget=self._budget(credential),
            lead=RenewalMargin(share=renew.share, at_least=renew.at_least),
            token_wait=credential.token_wait,
            hold=renew.refused_every,
            # Two refreshes at once may cost the whole sign-in: there the turn is waited for as long as it takes.
            patience=math.inf if credential.grant in _ROTATING else credential.token_wait + 3 * credential.timeout,
            refreshing=self._refreshing(key, credential, watch) if credential.grant in _ROTATING else None,
            watch=watch,
        )

    def _refreshing(self, key: str, credential: Credential, watch: TokenEventReporter) -> RefreshTokenRotation:
        ref = credential.refresh_token
        configured = None if ref is None else self._reader(ref)
        return RefreshTokenRotation(self._store, key=key, configured=configured, watch=watch)

    def requests(self, credential: Credential, trust: "TlsContexts | None" = None) -> TokenRequestBuilder:
        """What asks for the credential's tokens, for its source and for a sign-in."""
        return TokenRequestBuilder(
            partial(
                build,
                credential.token_url,
                client_id=credential.client_id,
                # After a sign-in the scope is the one signed in for (RFC 6749 §6).
                scope=credential.scope if credential.grant != "authorization_code" else None,
                audience=credential.audience,
                resource=tuple(credential.resource or ()),
                params=credential.params,
            ),
            grant=credential.grant,
            client_auth=credential.client_auth,
            endpoint=self.endpoint(credential, trust),
            readers=self._readers(credential),
            client_secrets=[self._reader(ref) for ref in client_secrets(credential)],
            turn=partial(self._budget(credential).acquire, within=credential.token_wait),
        )

    def _budget(self, credential: Credential) -> RateLimiter:
        """The one of all credentials of the endpoint; it outlives a change of configuration, as the limits do."""
        return self._budgets.setdefault(endpoint_of(credential), RateLimiter(clock=self._clock))

    def _set_budgets(self, config: Config) -> None:
        for endpoint, limits in budgets(config.credentials.values()).items():
            budget = self._budgets.setdefault(endpoint, RateLimiter(clock=self._clock))
            budget.bucket.limit(per_second=limits.per_second, per_minute=limits.per_minute)

    def endpoint(self, credential: Credential, trust: "TlsContexts | None" = None) -> TokenEndpoint:
        """What sends the credential's token requests."""
        trust = trust or TlsContexts()
        return TokenEndpoint(
            timeout=credential.timeout,
            connect_timeout=credential.connect_timeout,
            tls=self._context(credential.tls, trust),
            proxy=self._egress(credential.token_url, credential.proxy, credential.tls, trust),
        )

    def token_endpoint_origin(self, credential: Credential) -> Origin:
        """Where the credential's token endpoint is, and how it is reached; in a thread, since it reads files. Raises
        OSError or ValueError for one that cannot be used.
        """
        base = UpstreamUrl.parse(credential.token_url)
        trust = TlsContexts()
        proxy = self._egress(credential.token_url, credential.proxy, credential.tls, trust)
        tls = self._context(credential.tls, trust)() if base.scheme == "https" else None
        return Origin(base.host, base.port, tls, proxy() if proxy is not None else None)

    def _context(self, tls: ClientTls | None, trust: "TlsContexts") -> Callable[[], ssl.SSLContext]:
        """A context with files of its own is made for each token request, so that changed files are used."""
        if tls is None:
            return partial(trust.context, None)
        password = self._reader(tls.key_password) if tls.key_password is not None else str
        return partial(_client_context, tls, password)

    def _readers(self, credential: Credential) -> dict[str, ValueReader]:
        refs = {"password": credential.password, "refresh_token": credential.refresh_token}
        readers = {name: self._reader(ref) for name, ref in refs.items() if ref is not None}
        if credential.username is not None:
            readers["username"] = partial(str, credential.username)
        if credential.signing is not None:
            client, issuer = credential.client_id, credential.signing.issuer or credential.client_id
            sign = partial(_assertion, credential.signing, wall=self._clock.wall, secrets=self._secrets)
            readers["client_assertion"] = partial(sign, client, client)
            readers["assertion"] = partial(sign, issuer, credential.subject or "")
        return readers

    def _reader(self, ref: SecretRef) -> ValueReader:
        return self._secrets.reader(ref)

    def _egress(
        self,
        url: str,
        configured: Proxy | None,
        tls: Tls | None,
        trust: "TlsContexts",
        *,
        secrets: Secrets | None = None,
    ) -> Callable[[], EgressProxy] | None:
        """Find the egress proxy for a URL: the configured one, else what HTTPS_PROXY and NO_PROXY say of https URLs. An
        https proxy's certificate is checked by its own `tls`, else by that of what lies behind it. Opens no file; the
        result reads certificate and password when it is called, in a thread, and may raise OSError.
        """
        if configured is not None:
            found = read_proxy_url(configured.url)
            secrets = secrets or self._secrets
            password = secrets.reader(configured.password) if configured.password is not None else str
            username, tls = configured.username or "", configured.tls or tls
        elif (named := self._environment.proxy_for(url)) is not None:
            found, username, password = named, named.username, partial(str, named.password)
        else:
            return None
        context = partial(trust.context, tls) if found.is_tls else None
        return partial(_egress_proxy, found.host, found.port, username, password, context)


@dataclass(slots=True)
class _Compiled:
    """What there is so far of an assembly."""

    store: Store | None = None
    sources: dict[str, TokenSource] = field(default_factory=dict)
    routes: list[Route] = field(default_factory=list)
    upstreams: tuple[ConnectionPool, ...] = ()

    def assembly(self, config: Config, table: RouteTable) -> Runtime:
        """All of it, once it is whole."""
        assert self.store is not None
        return Runtime(config, table, tuple(self.routes), self.sources, self.upstreams, self.store)


def _table_of(config: Config, routes: Sequence[Route]) -> RouteTable:
    """What a request is looked up in."""
    return RouteTable(
        routing=Router((route.path, route.base, route) for route in routes),
        url_map=UrlMap.from_routes(
            ((route.base, route.path) for route in routes),
            designs=((route.base, route.design_target.base) for route in routes if route.design_target is not None),
        ),
        admission=Admission(config.allow, hosts_of(config)),
        own=OwnAuthorities(config.listen, hosts=config.hosts, public_url=config.public_url),
        body_limit=config.limits.body,
        body_rate=config.limits.body_rate,
        public_url=(config.public_url or "").rstrip("/"),
    )


def key_of(name: str, credential: Credential) -> str:
    """The key of the credential's token; one that was signed in for, or given from outside, belongs to its name."""
    users = {"jwt_bearer": credential.subject, "password": credential.username}
    users |= dict.fromkeys(("authorization_code", "refresh_token"), name)
    return token_key(
        credential.token_url,
        client_id=credential.client_id,
        grant=credential.grant,
        scope=credential.scope,
        params=credential.params,
        audience=credential.audience,
        resource=tuple(credential.resource or ()),
        who=users.get(credential.grant) or "",
    )


def _egress_proxy(
    host: str, port: int, username: str, password: Callable[[], str], tls: Callable[[], ssl.SSLContext] | None
) -> EgressProxy:
    authorization = basic(username, password()) if username else ""
    return EgressProxy(host, port, authorization, tls() if tls is not None else None)


def _authentication_hash(credential: Credential) -> str:
    """How the credential proves itself, by reference: no secret is in it."""
    shown = credential.model_dump_json(include={"client_auth", "client_secret", "signing", "tls", "password"})
    return hashlib.sha256(shown.encode()).hexdigest()[:16]


def _client_context(tls: ClientTls, password: ValueReader) -> ssl.SSLContext:
    context = client_tls_context(tls.ca)
    if tls.cert is not None:
        # A password is always given: without one, OpenSSL asks the terminal for it.
        check_regular(tls.cert)
        check_regular(tls.key or tls.cert)
        context.load_cert_chain(tls.cert, tls.key, password=password)
    return context


def _assertion(signing: Signing, issuer: str, subject: str, *, wall: Callable[[], float], secrets: Secrets) -> str:
    """An assertion signed with what the references say now; OSError or ValueError where they say nothing usable."""
    from gateway.config import key_files  # noqa: PLC0415 - brings cryptography, which most credentials never need
    from gateway.oauth import assertions  # noqa: PLC0415 - the same

    pem, lock = (
        None if ref is None else secrets.read(ref).get_secret_value()
        for ref in (signing.private_key, signing.key_password)
    )
    x5t = signing.x5t
    try:
        key = key_files.private_key(pem or "", password=lock)
        if signing.cert is not None and not (x5t or signing.kid):
            x5t = key_files.thumbprint(key_files.certificate(read_file(signing.cert, MAX_BYTES), key=key))
    except ValueError as cause:
        raise ValueError(f"the key or certificate of `signing` {cause}") from None
    said = assertions.claims(
        issuer, subject, audience=signing.audience, now=wall(), life=signing.lifetime, jti=str(uuid.uuid4())
    )
    head = assertions.head(key, kid=signing.kid, x5t=x5t)
    return assertions.signed(said, key, algorithm=key_files.algorithm(key, wanted=signing.algorithm), headers=head)
