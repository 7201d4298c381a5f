"""Clients: the applications that the identity domain knows, their roles on the OIC instance; and the users."""

import base64
import hashlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

DEFAULT_ID = "sandbox-app"
DEFAULT_SECRET = "idcscs-5f0c1d8e-sandbox-only"
DEFAULT_USER = "jdoe"
DEFAULT_PASSWORD = "Welcome-sandbox-only-1"

TRIGGER_ROLES = frozenset({"ServiceInvoker", "ServiceDeveloper", "ServiceAdministrator"})
DEVELOPER_ROLES = frozenset({"ServiceUser", "ServiceDeveloper", "ServiceAdministrator"})


@dataclass(frozen=True, slots=True)
class Client:
    """One application.

    Attributes:
        secret: the client secret; may hold any character; empty: nobody can use one.
        roles: application roles granted on the OIC instance; none: every call is refused with 401.
        scopes: the scopes the application may ask for, written in full; empty: all the domain knows.
        grants: the grants ticked in the application; another known grant gives `unauthorized_client`.
        active: an application that is not activated is refused as `invalid_client`.
        certificates: imported certificates in PEM by alias: they verify assertions and prove TLS connections.
        redirect_uris: where a sign-in may come back to, compared letter by letter.
        is_public: a public application: it shows no proof.
    """

    secret: str = field(default="", repr=False)
    roles: frozenset[str] = frozenset({"ServiceInvoker", "ServiceDeveloper"})
    scopes: frozenset[str] = frozenset()
    grants: frozenset[str] = frozenset({"client_credentials"})
    active: bool = True
    certificates: Mapping[str, str] = field(default_factory=dict, repr=False)
    redirect_uris: frozenset[str] = frozenset()
    is_public: bool = False

    def has_certificate(self, der: bytes) -> bool:
        """True when the certificate, in DER, is one of the imported ones."""
        return any(ssl.PEM_cert_to_DER_cert(pem) == der for pem in self.certificates.values())

    def certificate(self, *, kid: str | None, x5t: str | None) -> str | None:
        """The imported certificate of that alias, else that of that thumbprint (RFC 7515 section 4.1.7)."""
        found = self.certificates.get(kid) if kid else None
        if found is not None or not x5t:
            return found
        return next((pem for pem in self.certificates.values() if thumbprint(pem) == x5t), None)


@dataclass(frozen=True, slots=True)
class User:
    """A person whom the identity domain knows."""

    password: str = field(repr=False)


def thumbprint(pem: str) -> str:
    """The `x5t` of a certificate in PEM: SHA-1 over its DER, base64url."""
    digest = hashlib.sha1(ssl.PEM_cert_to_DER_cert(pem), usedforsecurity=False).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def default_clients() -> dict[str, Client]:
    """The one client every sandbox knows."""
    return {DEFAULT_ID: Client(secret=DEFAULT_SECRET)}


def default_users() -> dict[str, User]:
    """The one user every sandbox knows."""
    return {DEFAULT_USER: User(password=DEFAULT_PASSWORD)}
