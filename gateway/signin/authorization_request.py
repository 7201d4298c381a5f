"""One sign-in as it is asked for: where, with which `state`, which PKCE verifier, and where it is to come back to."""

import secrets
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from gateway.config.model import Credential
from gateway.config.resolved import authorize_url_of
from gateway.config.values import is_local
from gateway.oauth.authorization import authorization_url, code_challenge

_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """A sign-in that was asked for at `origin`; `issuer` is who must answer, where that is configured."""

    url: str = field(repr=False)
    redirect_uri: str
    state: str = field(repr=False)
    verifier: str = field(repr=False)
    origin: str
    issuer: str | None = None

    def is_issuer(self, said: str) -> bool:
        """Whether an answer may say so of who it is from: `issuer`, else anyone at the host that was asked."""
        if self.issuer is not None:
            return said.rstrip("/") == self.issuer.rstrip("/")
        return _origin(said) == self.origin


def build_authorization_request(credential: Credential, *, redirect_uri: str) -> AuthorizationRequest:
    """A new one; `state` and verifier have 256 bits of luck each (RFC 7636 §7.1)."""
    state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    where = authorize_url_of(credential)
    url = authorization_url(
        where,
        client_id=credential.client_id,
        redirect_uri=redirect_uri,
        state=state,
        challenge=code_challenge(verifier),
        scope=credential.scope,
        audience=credential.audience,
        resource=tuple(credential.resource or ()),
        params=credential.params,
    )
    return AuthorizationRequest(url, redirect_uri, state, verifier, _origin(where), credential.issuer)


def can_listen(redirect_uri: str) -> bool:
    """Whether a browser on this machine that is sent there reaches a plain listener of ours."""
    parts = urlsplit(redirect_uri)
    return parts.scheme == "http" and is_local(parts.hostname or "")


def _origin(url: str) -> str:
    """Scheme, host and port; empty for what is no such address."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.hostname}:{port}" if port and parts.hostname else ""
