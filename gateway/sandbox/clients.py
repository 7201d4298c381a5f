"""Clients: the confidential applications that the identity domain knows, and their roles on the OIC instance."""

from dataclasses import dataclass, field

DEFAULT_ID = "sandbox-app"
DEFAULT_SECRET = "idcscs-5f0c1d8e-sandbox-only"

TRIGGER_ROLES = frozenset({"ServiceInvoker", "ServiceDeveloper", "ServiceAdministrator"})
DEVELOPER_ROLES = frozenset({"ServiceUser", "ServiceDeveloper", "ServiceAdministrator"})


@dataclass(frozen=True, slots=True)
class Client:
    """One confidential application.

    Attributes:
        secret: the client secret; may hold any character.
        roles: application roles granted on the OIC instance; none: every call is refused with 401.
        scopes: the scopes the application may ask for, written in full; empty: all the domain knows.
        grants: the grants ticked in the application; another known grant gives `unauthorized_client`.
        active: an application that is not activated is refused as `invalid_client`.
    """

    secret: str = field(repr=False)
    roles: frozenset[str] = frozenset({"ServiceInvoker", "ServiceDeveloper"})
    scopes: frozenset[str] = frozenset()
    grants: frozenset[str] = frozenset({"client_credentials"})
    active: bool = True


def default_clients() -> dict[str, Client]:
    """The one client every sandbox knows."""
    return {DEFAULT_ID: Client(secret=DEFAULT_SECRET)}
