"""From a checked configuration to ready-made objects: credentials become token sources, routes become compiled routes.

`Parts` holds what outlives a change of configuration: the HTTP session to identity domains, the tokens, the meters, and
the sources of credentials that have not changed. `Parts.assemble` makes all the rest anew.
"""

import math
import os
import ssl
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from urllib import request as environment
from urllib.parse import unquote, urlsplit

import aiohttp

from gateway.config import secrets
from gateway.config.model import ClientTls, Config, Credential, Proxy, Signing
from gateway.config.part import SecretRef, Tls
from gateway.config.settled import SettledRoute, budgets, client_secrets, endpoint_of, settle
from gateway.keeping import Keeping
from gateway.oauth.budget import Budget
from gateway.oauth.clock import Clock, SystemClock
from gateway.oauth.endpoint import TokenEndpoint, open_session
from gateway.oauth.grants import build, token_key
from gateway.oauth.lifetime import Lead
from gateway.oauth.requests import Reader, Requests
from gateway.oauth.source import TokenSource
from gateway.oauth.store import Store
from gateway.observe.metrics import Metrics
from gateway.proxy.admission import Admission
from gateway.proxy.dialing import EgressProxy, Origin, basic
from gateway.proxy.forward import GENERAL_METHODS, Route, Table
from gateway.proxy.rewriting import Names
from gateway.proxy.routing import Base, Routing
from gateway.proxy.upstream import Upstream
from gateway.watching import Watcher

_ROTATING = frozenset(("authorization_code", "refresh_token"))
_ALL_METHODS = frozenset(GENERAL_METHODS)


@dataclass(frozen=True, slots=True)
class Assembly:
    """One configuration, compiled."""

    config: Config
    table: Table
    routes: tuple[Route, ...]
    sources: Mapping[str, TokenSource]
    """By credential; only those that a route uses."""
    upstreams: tuple[Upstream, ...]
    store: Store

    def prefetch(self) -> None:
        """Begins to get the tokens that no caller should wait for."""
        for name, source in self.sources.items():
            if self.config.credentials[name].prefetch:
                source.prefetch()


class Parts:
    """What outlives a configuration. Made inside the loop; `close` at the end."""

    def __init__(self, metrics: Metrics, *, environ: Mapping[str, str]) -> None:
        self.metrics = metrics
        self._environ = environ
        self._proxies = environment.getproxies_environment() if environ is os.environ else {}
        self._clock: Clock = SystemClock()
        self._keeping = Keeping(self._clock, environ=environ)
        self._store: Store = self._keeping.memory
        self._session: aiohttp.ClientSession = open_session()
        self._sources: dict[str, tuple[Credential, TokenSource]] = {}
        self._budgets: dict[str, Budget] = {}

    async def close(self) -> None:
        """Closes the session to identity domains, and the stores."""
        await self._session.close()
        await self._keeping.close()

    async def retire(self, store: Store) -> None:
        """Closes the store of an assembly that is no longer used."""
        await self._keeping.retire(store)

    def keep(self, config: Config) -> Store:
        """The store and the budgets that a configuration asks for are those of `source` from now on; OSError where
        their files cannot be used.
        """
        store = self._keeping.store(config.state)
        if store is not self._store:
            self._store, self._sources = store, {}
        self._pace(config)
        return store

    def assemble(self, config: Config) -> Assembly:
        """Compiles a configuration. Raises OSError or ssl.SSLError for a certificate file that cannot be used."""
        trust = Trust()
        store = self.keep(config)
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
        return Assembly(config, table, routes, sources, tuple(upstreams.values()), store)

    def _kept(self, name: str, credential: Credential, trust: "Trust") -> tuple[Credential, TokenSource]:
        """A credential that has not changed keeps its source, its token and the request under way; it is tried at once,
        since reading the configuration again is what a person does who has mended something.
        """
        known = self._sources.get(name)
        if known is None or known[0] != credential:
            return credential, self.source(name, credential, trust)
        known[1].try_again()
        return known

    def source(self, name: str, credential: Credential, trust: "Trust | None" = None) -> TokenSource:
        """The token source of a credential."""
        requests = self.requests(credential, trust)
        renew = credential.renew
        return TokenSource(
            name,
            key=key_of(name, credential),
            request=requests.made,
            endpoint=requests.sent,
            fingerprint=partial(secrets.fingerprint, credential),
            store=self._store,
            clock=self._clock,
            budget=self._budget(credential),
            lead=Lead(share=renew.share, at_least=renew.at_least),
            token_wait=credential.token_wait,
            hold=renew.refused_every,
            # Two refreshes at once may cost the whole sign-in: there the turn is waited for as long as it takes.
            patience=math.inf if credential.grant in _ROTATING else credential.token_wait + 3 * credential.timeout,
            watch=Watcher(name, self.metrics),
        )

    def requests(self, credential: Credential, trust: "Trust | None" = None) -> Requests:
        """What asks for the credential's tokens, for its source and for a sign-in."""
        return Requests(
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
            endpoint=self._endpoint(credential, trust or Trust()),
            readers=self._readers(credential),
            client_secrets=[self._reader(ref) for ref in client_secrets(credential)],
            turn=partial(self._budget(credential).turn, within=credential.token_wait),
        )

    def _budget(self, credential: Credential) -> Budget:
        """The one of all credentials of the endpoint; it outlives a change of configuration, as the limits do."""
        return self._budgets.setdefault(endpoint_of(credential), Budget(clock=self._clock))

    def _pace(self, config: Config) -> None:
        for endpoint, limits in budgets(config.credentials.values()).items():
            budget = self._budgets.setdefault(endpoint, Budget(clock=self._clock))
            budget.bucket.limit(per_second=limits.per_second, per_minute=limits.per_minute)

    def _endpoint(self, credential: Credential, trust: "Trust") -> TokenEndpoint:
        proxy = self._proxy(credential.token_url, credential.proxy)
        is_tls = credential.token_url.lower().startswith("https:")
        return TokenEndpoint(
            self._session,
            timeout=credential.timeout,
            connect_timeout=credential.connect_timeout,
            tls=self._context(credential.tls, trust) if is_tls else None,
            proxy=f"http://{_bracketed(proxy.host)}:{proxy.port}" if proxy is not None else None,
            proxy_auth=(proxy.authorization or None) if proxy is not None else None,
        )

    def _context(self, tls: ClientTls | None, trust: "Trust") -> Callable[[], ssl.SSLContext]:
        """A context with files of its own is made for each token request, so that changed files are used."""
        if tls is None:
            return partial(trust.context, None)
        password = self._reader(tls.key_password) if tls.key_password is not None else str
        return partial(_client_context, tls, password)

    def _readers(self, credential: Credential) -> dict[str, Reader]:
        refs = {"password": credential.password, "refresh_token": credential.refresh_token}
        readers = {name: self._reader(ref) for name, ref in refs.items() if ref is not None}
        if credential.username is not None:
            readers["username"] = partial(str, credential.username)
        if credential.signing is not None:
            client, issuer = credential.client_id, credential.signing.issuer or credential.client_id
            sign = partial(_assertion, credential.signing, wall=self._clock.wall, environ=self._environ)
            readers["client_assertion"] = partial(sign, client, client)
            readers["assertion"] = partial(sign, issuer, credential.subject or "")
        return readers

    def _reader(self, ref: SecretRef) -> Reader:
        return secrets.reader(ref, environ=self._environ)

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
            methods=route.methods or _ALL_METHODS,
            connect_timeout=route.connect_timeout,
            response_timeout=route.response_timeout,
            idle_timeout=route.idle_timeout,
            replay=route.replay,
            idempotent=route.idempotent,
            replay_limit=route.replay_limit,
            origins=_lowered(route.origins),  # browsers write them so
            keep_cookies=route.keep_cookies,
            source=source,
            upstream=upstreams[key],
            meter=self.metrics.route(route.name),
            host_line=f"Host: {base.authority}".encode(),
        )

    def _proxy(self, url: str, configured: Proxy | None) -> EgressProxy | None:
        """The egress proxy for a URL: the configured one, else what HTTPS_PROXY and NO_PROXY say of https URLs."""
        if configured is not None:
            password = ""
            if configured.password is not None:
                password = secrets.read(configured.password, environ=self._environ).get_secret_value()
            return _egress(configured.url, configured.username, password)
        parts = urlsplit(url)
        found = self._proxies.get("https")
        if parts.scheme != "https" or not found or _bypassed(parts.netloc, self._proxies):
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
            self._contexts[ca] = _verifying(ca)
        return self._contexts[ca]


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


def _verifying(ca: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # as TLS 1.3: a write need never wait for a read
    context.set_alpn_protocols(["http/1.1"])
    return context


def _client_context(tls: ClientTls, password: Reader) -> ssl.SSLContext:
    context = _verifying(tls.ca)
    if tls.cert is not None:
        # A password is always given: without one, OpenSSL asks the terminal for it.
        context.load_cert_chain(tls.cert, tls.key, password=password)
    return context


def _assertion(
    signing: Signing, issuer: str, subject: str, *, wall: Callable[[], float], environ: Mapping[str, str]
) -> str:
    """An assertion signed with what the references say now; OSError or ValueError where they say nothing usable."""
    from gateway.config import keys  # noqa: PLC0415 - brings cryptography, which most credentials never need
    from gateway.oauth import assertions  # noqa: PLC0415 - the same

    pem, lock = (
        None if ref is None else secrets.read(ref, environ=environ).get_secret_value()
        for ref in (signing.private_key, signing.key_password)
    )
    x5t = signing.x5t
    try:
        key = keys.private_key(pem or "", password=lock)
        if signing.cert is not None and not (x5t or signing.kid):
            x5t = keys.thumbprint(keys.certificate(Path(signing.cert).read_bytes(), key=key))
    except ValueError as cause:
        raise ValueError(f"the key or certificate of `signing` {cause}") from None
    said = assertions.claims(
        issuer, subject, audience=signing.audience, now=wall(), life=signing.lifetime, jti=str(uuid.uuid4())
    )
    head = assertions.head(key, kid=signing.kid, x5t=x5t)
    return assertions.signed(said, key, algorithm=keys.algorithm(key, wanted=signing.algorithm), headers=head)


@lru_cache(maxsize=16)
def _lowered(origins: tuple[str, ...]) -> frozenset[str]:
    """Routes that say the same share it."""
    return frozenset(origin.lower() for origin in origins)


def _bypassed(authority: str, proxies: dict[str, str]) -> bool:
    bypass: Callable[[str, dict[str, str]], bool] = environment.proxy_bypass_environment  # type: ignore[attr-defined] # typeshed knows it on Windows only
    return bool(bypass(authority, proxies))


def _egress(url: str, username: str | None, password: str) -> EgressProxy:
    parts = urlsplit(url)
    authorization = basic(username, password) if username else ""
    return EgressProxy(parts.hostname or "", parts.port or 3128, authorization)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
