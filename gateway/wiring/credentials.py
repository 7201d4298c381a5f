"""From a configured credential to the objects that obtain its tokens: token source, token requests, token endpoint."""

import hashlib
import math
import ssl
import uuid
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import msgspec
from pydantic_core import to_json

from gateway.config.model import CredentialSettings, SigningSettings
from gateway.config.resolved import client_secrets, endpoint_of, limits_by_endpoint
from gateway.config.secrets import SecretReader
from gateway.config.strict_model import SecretRef
from gateway.network.dial import Origin
from gateway.network.egress_proxy import ProxyEnvironment
from gateway.oauth.clock import Clock
from gateway.oauth.endpoint import TokenEndpoint
from gateway.oauth.fetch_lease import FetchLease
from gateway.oauth.grants import build_token_request, token_key
from gateway.oauth.lifetime import RenewalMargin
from gateway.oauth.rate_limiter import RateLimiter, SlidingWindow
from gateway.oauth.refresh_rotation import RefreshTokenRotation
from gateway.oauth.store import Store
from gateway.oauth.token_fetcher import TokenFetcher
from gateway.oauth.token_request import TokenRequestBuilder, ValueReader
from gateway.oauth.token_source import TokenSource
from gateway.observe.metrics import Metrics
from gateway.proxy.routing import UpstreamUrl
from gateway.system.files import MAX_BYTES, read_file
from gateway.wiring.fetch_log import FetchLog
from gateway.wiring.outbound import EgressSelector, TlsContexts, client_certificate_context
from gateway.wiring.telemetry import Telemetry
from gateway.wiring.token_events import TokenEventReporter

_ROTATING_GRANTS = frozenset(("authorization_code", "refresh_token"))


class RateLimiters:
    """One rate limiter per token endpoint. They outlive a change of configuration, as the endpoint's own limits do."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._limiters: dict[str, RateLimiter] = {}

    def limiter(self, credential: CredentialSettings) -> RateLimiter:
        """Return the limiter that all credentials of the endpoint share."""
        endpoint = endpoint_of(credential)
        if endpoint not in self._limiters:
            self.set_limits([credential])
        return self._limiters[endpoint]

    def set_limits(self, credentials: Iterable[CredentialSettings]) -> None:
        """Apply the limits that the credentials set for their endpoints."""
        for endpoint, limits in limits_by_endpoint(credentials).items():
            if (limiter := self._limiters.get(endpoint)) is not None:
                limiter.window.set_limits(per_second=limits.per_second, per_minute=limits.per_minute)
            else:
                window = SlidingWindow(per_second=limits.per_second, per_minute=limits.per_minute)
                self._limiters[endpoint] = RateLimiter(window, clock=self._clock)


class CredentialBuilder(msgspec.Struct, frozen=True):
    """Builds the objects that obtain the tokens of credentials, with these secrets and this store."""

    secrets: SecretReader
    store: Store
    clock: Clock
    metrics: Metrics
    telemetry: Telemetry
    environment: ProxyEnvironment
    rate_limiters: RateLimiters
    fetch_log: FetchLog

    @property
    def egress(self) -> EgressSelector:
        """Select egress proxies with these secrets."""
        return EgressSelector(self.environment, self.secrets)

    def token_source(
        self, name: str, credential: CredentialSettings, contexts: TlsContexts | None = None
    ) -> TokenSource:
        """Return the token source of a credential."""
        requests = self.token_requests(credential, contexts)
        reporter = TokenEventReporter(name, credential.token_url, self.metrics, self.telemetry, self.fetch_log)
        key, events = credential_key(name, credential), reporter
        is_rotating = credential.grant in _ROTATING_GRANTS
        lease = FetchLease(
            self.store,
            key,
            clock=self.clock,
            authentication_hash=_authentication_hash(credential),
            # Two refreshes at once may end the sign-in: wait for the lease as long as it takes.
            max_wait=math.inf if is_rotating else credential.token_wait + 3 * credential.timeout,
        )
        fetcher = TokenFetcher(
            requests.build,
            requests.send,
            lease=lease,
            clock=self.clock,
            margin=renewal_margin(credential),
            max_wait=credential.token_wait,
            limiter=self.rate_limiters.limiter(credential),
            rotation=self._refresh_rotation(key, credential, events) if is_rotating else None,
            fingerprint=partial(self.secrets.fingerprint, credential),
            changed_at=partial(self.secrets.changed_at, _client_proofs(credential)),
            expire=partial(self.secrets.expire, credential),
            events=events,
        )
        return TokenSource(
            name,
            lease,
            fetcher,
            clock=self.clock,
            token_wait=credential.token_wait,
            min_refresh_interval=credential.renew.refused_every,
            events=events,
        )

    def token_requests(
        self, credential: CredentialSettings, contexts: TlsContexts | None = None
    ) -> TokenRequestBuilder:
        """Return the builder of the token requests of a credential, for its source and for a sign-in."""
        return TokenRequestBuilder(
            partial(
                build_token_request,
                credential.token_url,
                client_id=credential.client_id,
                # After a sign-in the scope is that of the sign-in (RFC 6749 section 6).
                scope=credential.scope if credential.grant != "authorization_code" else None,
                audience=credential.audience,
                resource=tuple(credential.resource or ()),
                params=credential.params,
            ),
            grant=credential.grant,
            client_auth=credential.client_auth,
            endpoint=self.token_endpoint(credential, contexts),
            readers=self._value_readers(credential),
            client_secrets=[self.secrets.reader(ref) for ref in client_secrets(credential)],
            acquire=partial(self.rate_limiters.limiter(credential).acquire, within=credential.token_wait),
        )

    def token_endpoint(self, credential: CredentialSettings, contexts: TlsContexts | None = None) -> TokenEndpoint:
        """Return the endpoint that the token requests of a credential are sent to."""
        contexts = contexts or TlsContexts()
        return TokenEndpoint(
            timeout=credential.timeout,
            connect_timeout=credential.connect_timeout,
            tls=self._tls_loader(credential, contexts),
            proxy=self.egress.proxy_loader(credential.token_url, credential.proxy, credential.tls, contexts),
        )

    def token_endpoint_origin(self, credential: CredentialSettings) -> Origin:
        """Return the origin of the token endpoint of a credential; in a thread, since it reads files. Raise OSError or
        ValueError for a file or a proxy that cannot be used.
        """
        base = UpstreamUrl.parse(credential.token_url)
        contexts = TlsContexts()
        load_proxy = self.egress.proxy_loader(credential.token_url, credential.proxy, credential.tls, contexts)
        tls = self._tls_loader(credential, contexts)() if base.scheme == "https" else None
        return Origin(base.host, base.port, tls, load_proxy() if load_proxy is not None else None)

    def _refresh_rotation(
        self, key: str, credential: CredentialSettings, events: TokenEventReporter
    ) -> RefreshTokenRotation:
        ref = credential.refresh_token
        configured = None if ref is None else self.secrets.reader(ref)
        return RefreshTokenRotation(self.store, key=key, configured=configured, events=events)

    def _tls_loader(self, credential: CredentialSettings, contexts: TlsContexts) -> Callable[[], ssl.SSLContext]:
        """Return a function that makes the TLS context. With a client certificate it is made for each token request, so
        that a changed certificate is used.
        """
        tls = credential.tls
        if tls is None:
            return partial(contexts.context, None)
        password = self.secrets.reader(tls.key_password) if tls.key_password is not None else str
        return partial(client_certificate_context, tls, password)

    def _value_readers(self, credential: CredentialSettings) -> dict[str, ValueReader]:
        """Return readers of the form values that `grants` and `client_auth` need, by name."""
        refs = {"password": credential.password, "refresh_token": credential.refresh_token}
        readers: dict[str, ValueReader] = {
            name: self.secrets.reader(ref) for name, ref in refs.items() if ref is not None
        }
        if credential.username is not None:
            readers["username"] = partial(str, credential.username)
        if credential.signing is not None:
            client, issuer = credential.client_id, credential.signing.issuer or credential.client_id
            sign = partial(_sign_assertion, credential.signing, wall=self.clock.wall, secrets=self.secrets)
            readers["client_assertion"] = partial(sign, client, client)
            readers["assertion"] = partial(sign, issuer, credential.subject or "")
        return readers


def credential_key(name: str, credential: CredentialSettings) -> str:
    """Return the store key of the credential's token. A token from a sign-in or a given refresh token belongs to the
    credential's name. Credentials of different owners of included files never share a token.
    """
    users = {"jwt_bearer": credential.subject, "password": credential.username}
    users |= dict.fromkeys(_ROTATING_GRANTS, name)
    return token_key(
        credential.token_url,
        client_id=credential.client_id,
        grant=credential.grant,
        scope=credential.scope,
        params=credential.params,
        audience=credential.audience,
        resource=tuple(credential.resource or ()),
        user=users.get(credential.grant) or "",
        owner=credential.file_scope,
    )


def renewal_margin(credential: CredentialSettings) -> RenewalMargin:
    """Return when the credential's tokens become stale."""
    return RenewalMargin(share=credential.renew.share, min_seconds=credential.renew.at_least)


def _client_proofs(credential: CredentialSettings) -> tuple[Sequence[SecretRef], ...]:
    """Return the secrets that authenticate the client and its user, each by its references."""
    key = credential.signing.private_key if credential.signing is not None else None
    single = [(ref,) for ref in (key, credential.password) if ref is not None]
    return client_secrets(credential), *single


def _authentication_hash(credential: CredentialSettings) -> str:
    """Hash how the credential authenticates. Secrets enter it by reference, not by value."""
    # The text of `model_dump_json`, which would first compile the model of credentials a second time.
    names = ("client_secret", "client_auth", "signing", "password", "tls")
    settings = to_json({name: getattr(credential, name) for name in names}, by_alias=False)
    return hashlib.sha256(settings).hexdigest()[:16]


def _sign_assertion(
    signing: SigningSettings, issuer: str, subject: str, *, wall: Callable[[], float], secrets: SecretReader
) -> str:
    """Sign an assertion with the present key. Raise OSError or ValueError for a key that cannot be used."""
    from gateway.config import key_files  # noqa: PLC0415 - imports cryptography, which most credentials do not need
    from gateway.oauth import assertions  # noqa: PLC0415 - likewise

    pem, password = (
        None if ref is None else secrets.read(ref).get_secret_value()
        for ref in (signing.private_key, signing.key_password)
    )
    x5t = signing.x5t
    try:
        key = key_files.private_key(pem or "", password=password)
        if signing.cert is not None and not (x5t or signing.kid):
            x5t = key_files.thumbprint(key_files.certificate(read_file(signing.cert, MAX_BYTES), key=key))
    except ValueError as cause:
        raise ValueError(f"the key or certificate of `signing` {cause}") from None
    claims = assertions.make_claims(
        issuer, subject, audience=signing.audience, now=wall(), life=signing.lifetime, jti=str(uuid.uuid4())
    )
    header = assertions.jose_header(key, kid=signing.kid, x5t=x5t)
    algorithm = key_files.algorithm(key, wanted=signing.algorithm)
    return assertions.sign(claims, key, algorithm=algorithm, headers=header)
