"""The entry type of the catalog, and the paths in Oracle's console that remedies name."""

from typing import NamedTuple

APPLICATION = "Integrated applications → the application"
OAUTH = f"{APPLICATION} → OAuth configuration → Edit OAuth configuration"
RESOURCES = "Token issuance policy → Resources → Add scope"
INSTANCE = "Oracle Cloud Services → the Oracle Integration instance"
ROLES = f"{INSTANCE} → Application roles"
NETWORK = "Developer Services → Integration → the instance → Network Access → Edit"


class CatalogEntry(NamedTuple):
    """One mistake. `NAME` in a remedy is a placeholder for the credential's name."""

    seen: str
    means: str
    remedy: str
