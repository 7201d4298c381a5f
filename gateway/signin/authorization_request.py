"""The authorization request of one sign-in (RFC 6749 section 4.1.1), with its `state`, PKCE verifier and `nonce`."""

import secrets
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from gateway.config.model import CredentialSettings
from gateway.config.resolved import authorize_url_of
from gateway.config.values import is_local
from gateway.content.untrusted_text import read_origin
from gateway.oauth.authorization import authorization_url, code_challenge


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """The request to the authorization endpoint at `origin`; `issuer` is the configured issuer of the response.

    It has a `nonce` if its scope contains `openid`, so that an ID token follows (OpenID Connect Core section 3.1.2.1).
    """

    url: str = field(repr=False)
    redirect_uri: str
    state: str = field(repr=False)
    verifier: str = field(repr=False)
    origin: str
    issuer: str | None = None
    nonce: str | None = field(default=None, repr=False)

    def is_issuer(self, iss: str) -> bool:
        """Return whether a response may name this issuer: `issuer`, else any at the authorization endpoint's origin."""
        if self.issuer is not None:
            return iss.rstrip("/") == self.issuer.rstrip("/")
        return read_origin(iss) == self.origin


def build_authorization_request(credential: CredentialSettings, *, redirect_uri: str) -> AuthorizationRequest:
    """Return a new request; `state`, verifier and `nonce` have 256 random bits each (RFC 7636 section 7.1)."""
    state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    nonce = secrets.token_urlsafe(32) if "openid" in (credential.scope or "").split() else None
    endpoint = authorize_url_of(credential)
    url = authorization_url(
        endpoint,
        client_id=credential.client_id,
        redirect_uri=redirect_uri,
        state=state,
        challenge=code_challenge(verifier),
        scope=credential.scope,
        audience=credential.audience,
        resource=tuple(credential.resource or ()),
        params={**credential.params, **({"nonce": nonce} if nonce is not None else {})},
    )
    return AuthorizationRequest(
        url, redirect_uri, state, verifier, read_origin(endpoint) or "", credential.issuer, nonce
    )


def can_listen(redirect_uri: str) -> bool:
    """Return whether a browser on this machine reaches a plain-HTTP listener of the gateway at this URI."""
    parts = urlsplit(redirect_uri)
    return parts.scheme == "http" and is_local(parts.hostname or "")
