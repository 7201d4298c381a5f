"""Tokens: the claims of an access token as an Oracle identity domain writes them. Pure."""

import uuid
from collections.abc import Sequence
from typing import Any

ISSUER = "https://identity.oraclecloud.com/"
TENANT = "idcs-5a0db0c5a0db0c5a0db0c5a0db0c5a0d"


def make_claims(
    client_id: str, audiences: Sequence[str], *, scope: str, issued: float, lifetime: int, user: str = ""
) -> dict[str, Any]:
    """The claims of one access token; `audiences` becomes a string or a list as given. Lifetime in seconds.

    It speaks for `user`, or for the client itself.

    About as long as a real one, whose token has some 1.4 KB; `iss` is the generic issuer, not the domain's URL.
    """
    return {
        "tok_type": "AT",
        "iss": ISSUER,
        "tenant_iss": f"https://{TENANT}.identity.oraclecloud.com:443",
        "sub": user or client_id,
        "sub_type": "user" if user else "client",
        "client_id": client_id,
        "client_name": f"{client_id} (confidential application)",
        "client_guid": uuid.uuid5(uuid.NAMESPACE_URL, client_id).hex,
        "client_tenantname": TENANT,
        "aud": audiences if isinstance(audiences, str) else list(audiences),
        "scope": scope,
        "iat": int(issued),
        "exp": int(issued) + lifetime,
        "jti": uuid.uuid4().hex,
        "tenant": TENANT,
        "ca_name": "sandbox",
        "region_name": "us-phoenix-idcs-1",
    }


def write_lifetime(lifetime: int, how: str) -> dict[str, Any]:
    """The `expires_in` of a token reply, in the variant that the switch names."""
    variants: dict[str, dict[str, Any]] = {
        "int": {"expires_in": lifetime},
        "string": {"expires_in": str(lifetime)},
        "float": {"expires_in": float(lifetime)},
        "missing": {},
    }
    return variants[how]
