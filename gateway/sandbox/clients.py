"""The applications that the identity domain knows, their roles on the OIC instance, and the users."""

import base64
import hashlib
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

DEFAULT_ID = "sandbox-app"
DEFAULT_SECRET = "idcscs-5f0c1d8e-sandbox-only"
DEFAULT_USER = "jdoe"
DEFAULT_PASSWORD = "Welcome-sandbox-only-1"
_DEFAULT_GRANTS = frozenset({"client_credentials", "authorization_code", "refresh_token", "password"})

TRIGGER_ROLES = frozenset({"ServiceInvoker", "ServiceDeveloper", "ServiceAdministrator"})
DEVELOPER_ROLES = frozenset({"ServiceUser", "ServiceDeveloper", "ServiceAdministrator"})

# RFC 8252 section 7.3: any port of a loopback address.
_LOOPBACK = re.compile(r"http://(?:127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?/[!\"$-~]*")


@dataclass(frozen=True, slots=True)
class RegisteredClient:
    """One application.

    Attributes:
        secret: the client secret, of any characters; empty: the client has none.
        roles: application roles granted on the OIC instance, in place of those of the switch; empty: every call is
            refused.
        scopes: the scopes that the application may request, written in full; empty: all that the domain knows.
        grants: the grants that are enabled in the application and allowed by the switch; another known grant is refused
            as `unauthorized_client`.
        active: an application that is not activated is refused as `invalid_client`. certificates: imported certificates
        in PEM by alias: they verify assertions and prove TLS connections. redirect_uris: the URLs to which a sign-in
        may return, compared letter by letter. allows_loopback: a sign-in may also return to any port and path of
        127.0.0.1 or [::1]; a real application requires
            that each URL is registered.
        is_public: a public application, which does not authenticate.
    """

    secret: str = field(default="", repr=False)
    roles: frozenset[str] | None = None
    scopes: frozenset[str] = frozenset()
    grants: frozenset[str] = frozenset({"client_credentials"})
    active: bool = True
    certificates: Mapping[str, str] = field(default_factory=dict, repr=False)
    redirect_uris: frozenset[str] = frozenset()
    allows_loopback: bool = False
    is_public: bool = False

    def allows_redirect(self, redirect_uri: str) -> bool:
        """Return whether a sign-in may return to that URL."""
        if redirect_uri in self.redirect_uris:
            return True
        return self.allows_loopback and _LOOPBACK.fullmatch(redirect_uri) is not None

    def has_certificate(self, der: bytes) -> bool:
        """Return whether the certificate, in DER, is an imported one."""
        return any(ssl.PEM_cert_to_DER_cert(pem) == der for pem in self.certificates.values())

    def certificate(self, *, kid: str | None, x5t: str | None) -> str | None:
        """Return the imported certificate of that alias, else of that thumbprint (RFC 7515 section 4.1.7)."""
        found = self.certificates.get(kid) if kid else None
        if found is not None or not x5t:
            return found
        return next((pem for pem in self.certificates.values() if thumbprint(pem) == x5t), None)


@dataclass(frozen=True, slots=True)
class User:
    """A person that the identity domain knows."""

    password: str = field(repr=False)


def thumbprint(pem: str) -> str:
    """Return the `x5t` of a certificate in PEM: SHA-1 of its DER, base64url."""
    digest = hashlib.sha1(ssl.PEM_cert_to_DER_cert(pem), usedforsecurity=False).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def default_clients() -> dict[str, RegisteredClient]:
    """Return the default client, with the grants that need no certificate."""
    return {DEFAULT_ID: RegisteredClient(secret=DEFAULT_SECRET, grants=_DEFAULT_GRANTS, allows_loopback=True)}


def default_users() -> dict[str, User]:
    """Return the default user."""
    return {DEFAULT_USER: User(password=DEFAULT_PASSWORD)}
