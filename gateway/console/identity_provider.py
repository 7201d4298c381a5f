"""The provider of logins: fetches its metadata and keys, and exchanges a code for the claims of a person."""

import asyncio
import secrets
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlencode

from gateway.config.console_model import SignInSettings
from gateway.config.secrets import SecretReader
from gateway.console.login_sessions import Identity
from gateway.console.openid_connect import (
    LoginRejected,
    ProviderKey,
    ProviderMetadata,
    UnknownKey,
    discovery_url,
    person_name,
    read_groups,
    read_id_token,
    read_keys,
    read_metadata,
    read_object,
)
from gateway.content.redaction import safe_text
from gateway.errors import TokenUnavailable
from gateway.network.egress_proxy import ProxyEnvironment
from gateway.oauth.authorization import authorization_url, code_challenge
from gateway.oauth.client_auth import CLIENT_AUTH
from gateway.oauth.clock import Clock
from gateway.oauth.endpoint import TokenEndpoint
from gateway.oauth.grants import HEADERS, TokenRequest
from gateway.signin.authorization_response import NotSignedIn, UnrelatedRequest, read_authorization_response
from gateway.system.files import in_thread
from gateway.wiring.outbound import EgressSelector, TlsContexts, client_tls_context

METADATA_AGE = 3600.0  # seconds that metadata and keys are used
RETRY_AFTER = 5.0  # seconds until they are fetched again after a failure, or for an unknown key
_UNREACHABLE = "Check that the gateway reaches `console.sign_in.issuer`; its log has the cause."
_CONFIGURATION = (
    "Compare the application of the console in the identity domain with `console.sign_in`; its log may help."
)


@dataclass(frozen=True, slots=True)
class LoginAttempt:
    """What binds a login to one browser: `state` (RFC 6749 §10.12), `nonce` (OpenID Connect Core §15.5.2), and the code
    `verifier` (RFC 7636); 256 random bits each.
    """

    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)


def new_attempt() -> LoginAttempt:
    """Return a new attempt."""
    return LoginAttempt(*(secrets.token_urlsafe(32) for _ in range(3)))


@dataclass(slots=True)
class _Known:
    """What is known of the provider, and when it was fetched; `failure` is that of the last try."""

    metadata: ProviderMetadata | None = None
    keys: tuple[ProviderKey, ...] = ()
    fetched_at: float = -METADATA_AGE
    failure: LoginRejected | None = None


class IdentityProvider:
    """Logs people in by OpenID Connect at the provider of `settings`. `redirect_uri` is that of the application."""

    def __init__(
        self,
        settings: SignInSettings,
        *,
        redirect_uri: str,
        environ: Mapping[str, str],
        secrets: SecretReader,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._redirect_uri = redirect_uri
        self._clock = clock
        self._secrets = secrets
        egress = EgressSelector(ProxyEnvironment.from_environ(environ), self._secrets)
        self._endpoint = TokenEndpoint(
            tls=partial(client_tls_context, settings.tls.ca if settings.tls is not None else None),
            proxy=egress.proxy_loader(settings.issuer, settings.proxy, settings.tls, TlsContexts()),
        )
        self._known = _Known()
        self._fetching = asyncio.Lock()

    async def authorization_url(self, attempt: LoginAttempt) -> str:
        """Return the URL where the person signs in. Raise LoginRejected if the provider cannot be used."""
        known = await self._provider()
        assert known.metadata is not None
        return authorization_url(
            known.metadata.authorization_endpoint,
            client_id=self._settings.client_id,
            redirect_uri=self._redirect_uri,
            state=attempt.state,
            challenge=code_challenge(attempt.verifier),
            scope=self._settings.scope,
            params={"nonce": attempt.nonce},
        )

    async def describe(self) -> str:
        """Return what was found at the provider, in one line. Raise LoginRejected."""
        known = await self._provider()
        assert known.metadata is not None
        if not known.keys:
            raise LoginRejected("the provider publishes no key for signatures", "Check `jwks_uri` of the provider.")
        count = len(known.keys)
        issuer = safe_text(known.metadata.issuer)
        return f"metadata of {issuer}, {count} {'key' if count == 1 else 'keys'}; redirect URI {self._redirect_uri}"

    async def identify(self, query: str, attempt: LoginAttempt) -> Identity:
        """Return who signed in, from the query of the redirection (OpenID Connect Core §3.1.2.5). Raise LoginRejected,
        or UnrelatedRequest for a response to something else.
        """
        known = await self._provider()
        assert known.metadata is not None
        code = self._read_code(query, attempt, known.metadata)
        document = await self._exchange(code, attempt, known.metadata)
        id_token = document.get("id_token")
        if not isinstance(id_token, str):
            raise LoginRejected("the provider issued no ID token", "Add `openid` to `console.sign_in.scope`.")
        claims = await self._read_id_token(id_token, attempt, known)
        groups = read_groups(claims, self._settings.groups_claim)
        if groups is None:
            claims = {**await self._userinfo(known.metadata, document.get("access_token"), claims), **claims}
            groups = read_groups(claims, self._settings.groups_claim)
        name = person_name(claims, self._settings.name_claim)
        return Identity(name, "openid", groups or (), proof=self.proof)

    @property
    def proof(self) -> tuple[str, str]:
        """What a session by this provider depends on."""
        return self._settings.issuer, self._settings.client_id

    def _read_code(self, query: str, attempt: LoginAttempt, metadata: ProviderMetadata) -> str:
        if metadata.names_itself and "iss" not in parse_qs(query):
            raise UnrelatedRequest("it does not name its issuer")
        try:
            return read_authorization_response(query, state=attempt.state, is_issuer=metadata.issuer.__eq__)
        except NotSignedIn as error:
            raise LoginRejected(error.seen, _CONFIGURATION) from None

    async def _exchange(self, code: str, attempt: LoginAttempt, metadata: ProviderMetadata) -> dict[str, Any]:
        """Exchange the code at the token endpoint (OpenID Connect Core §3.1.3.1)."""
        secret = await self._client_secret()
        proof = CLIENT_AUTH[metadata.client_auth].make_proof(self._settings.client_id, secret)
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": attempt.verifier,
        }
        body = urlencode(form | proof.form).encode()
        request = TokenRequest(metadata.token_endpoint, headers=HEADERS | proof.headers, body=body)
        status, answer = await self._call(self._endpoint.post(request))
        if status == 200:
            return read_object(answer)
        try:
            error = str(read_object(answer).get("error", ""))
        except LoginRejected:
            error = ""
        seen = f"the provider refused the code ({status} {safe_text(error, secret_texts=proof.secret_texts, limit=80)})"
        raise LoginRejected(seen, _CONFIGURATION)

    async def _client_secret(self) -> str:
        reference = self._settings.client_secret
        if reference is None:
            return ""
        try:
            return await in_thread(self._secrets.reader(reference), owner=self)
        except OSError as cause:  # SecretProblem names the reference
            raise LoginRejected(f"cannot read the client secret: {cause}", "Correct the secret.") from cause

    async def _read_id_token(self, token: str, attempt: LoginAttempt, known: _Known) -> dict[str, Any]:
        """Return the claims. If the key is unknown, fetch the keys again first: providers change them."""
        assert known.metadata is not None
        read = partial(
            read_id_token, token, metadata=known.metadata, client_id=self._settings.client_id, nonce=attempt.nonce
        )
        try:
            return read(known.keys, now=self._clock.wall())
        except UnknownKey:
            known = await self._provider(newer_than=known.fetched_at)
            return read(known.keys, now=self._clock.wall())

    async def _userinfo(
        self, metadata: ProviderMetadata, access_token: object, claims: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the claims of the UserInfo endpoint, for the same subject (OpenID Connect Core §5.3)."""
        if metadata.userinfo_endpoint is None or not isinstance(access_token, str):
            return {}
        headers = {"Authorization": f"Bearer {access_token}", "Accept": "application/json"}
        status, body = await self._call(self._endpoint.get(metadata.userinfo_endpoint, headers))
        if status != 200:
            return {}
        document = read_object(body)
        if document.get("sub") != claims["sub"]:
            raise LoginRejected("the UserInfo endpoint answers about another person", "Check the provider.")
        return document

    async def _provider(self, *, newer_than: float = -METADATA_AGE) -> _Known:
        """Return what is known of the provider, fetched after `newer_than` and not too old; one fetch at a time, and at
        most one in `RETRY_AFTER` seconds.
        """
        async with self._fetching:
            age = self._clock.monotonic() - self._known.fetched_at
            is_usable = self._known.failure is None and self._known.fetched_at > newer_than and age < METADATA_AGE
            if is_usable or age < RETRY_AFTER:
                if (failure := self._known.failure) is not None:
                    raise LoginRejected(failure.seen, failure.remedy)
                return self._known
            try:
                self._known = await self._fetch()
            except LoginRejected as failure:
                self._known = _Known(fetched_at=self._clock.monotonic(), failure=failure)
                raise
            return self._known

    async def _fetch(self) -> _Known:
        body = await self._document(discovery_url(self._settings.issuer), "metadata")
        has_secret = self._settings.client_secret is not None
        metadata = read_metadata(body, issuer=self._settings.issuer, has_secret=has_secret)
        keys = read_keys(await self._document(metadata.jwks_uri, "keys"))
        return _Known(metadata, tuple(keys), self._clock.monotonic())

    async def _document(self, url: str, what: str) -> bytes:
        status, body = await self._call(self._endpoint.get(url, {"Accept": "application/json"}))
        if status != 200:
            remedy = "Let the identity domain publish its signing certificate (Settings, Access signing certificate)."
            raise LoginRejected(
                f"the provider answers {status} for its {what}", remedy if what == "keys" else _UNREACHABLE
            )
        return body

    @staticmethod
    async def _call(exchange: Awaitable[tuple[int, bytes]]) -> tuple[int, bytes]:
        try:
            return await exchange
        except TokenUnavailable as cause:
            raise LoginRejected(f"the provider cannot be reached ({cause.reason})", _UNREACHABLE) from cause
