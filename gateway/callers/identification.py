"""Pure: decides which caller a request comes from.

Every proof that the request presents must be right, and all must name the same caller: a request with two identities
is ambiguous. A password or key of a kind that no caller uses is not a proof.
"""

from collections.abc import Iterable
from typing import NamedTuple

from gateway.callers.authorization_field import read_authorization
from gateway.callers.client_certificate import certificate_names
from gateway.callers.proof_table import CallerNames, ProofTable


class Identification(NamedTuple):
    """The caller that the proofs name, or None. `problem` is the reason to reject the request, or empty."""

    caller: str | None
    problem: str = ""


NOT_IDENTIFIED = Identification(None)


class ConnectionFacts(NamedTuple):
    """The facts of a connection: the address of the peer, the user of its process, its verified certificate (DER)."""

    address: str | None
    user_id: int | None
    certificate: bytes | None


def identify_head(
    table: ProofTable, connection: ConnectionFacts, *, authorization: bytes | None, api_key: bytes | None
) -> Identification:
    """Return the caller by the connection and the fields Authorization and X-Api-Key."""
    found: list[tuple[str, CallerNames]] = []
    if authorization is not None and (table.uses_basic or table.uses_keys):
        scheme, value = read_authorization(authorization)
        if scheme == "repeated":
            return Identification(None, "the Authorization field is repeated")
        if scheme == "basic" and table.uses_basic:
            found.append(
                ("user and password of Authorization: Basic", () if value is None else table.find_basic(value))
            )
        elif scheme == "bearer" and table.uses_keys:
            found.append(("the key of Authorization: Bearer", () if value is None else table.find_key(value)))
    if api_key is not None and table.uses_keys:
        found.append(("the key of X-Api-Key", table.find_key(api_key)))
    for description, names in found:
        if not names:
            return Identification(None, f"{description}: no caller has this proof")
    named = {name for _, names in found for name in names}.union(_connection_names(table, connection))
    return combine_callers(named)


def combine_callers(names: Iterable[str]) -> Identification:
    """Return the caller that all proofs name, or the problem that they name several."""
    found = sorted(set(names))
    if len(found) > 1:
        return Identification(None, f"the proofs name different callers: {', '.join(found)}")
    return Identification(found[0]) if found else NOT_IDENTIFIED


def _connection_names(table: ProofTable, connection: ConnectionFacts) -> set[str]:
    names: set[str] = set()
    if connection.address:
        names.update(table.find_address(connection.address))
    if connection.user_id is not None:
        names.update(table.find_user(connection.user_id))
    if connection.certificate is not None and table.uses_certificates:
        names.update(table.find_certificate(certificate_names(connection.certificate)))
    return names
