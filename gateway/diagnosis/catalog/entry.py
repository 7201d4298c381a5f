"""What a row says, and where Oracle's console has what its remedies name."""

from typing import NamedTuple

APPLICATION = "Integrated applications → the application"
OAUTH = f"{APPLICATION} → OAuth configuration → Edit OAuth configuration"
RESOURCES = "Token issuance policy → Resources → Add scope"
INSTANCE = "Oracle Cloud Services → the Oracle Integration instance"
ROLES = f"{INSTANCE} → Application roles"
NETWORK = "Developer Services → Integration → the instance → Network Access → Edit"


class CatalogEntry(NamedTuple):
    """One row. `NAME` in a remedy stands for the credential's name."""

    seen: str
    means: str
    remedy: str
