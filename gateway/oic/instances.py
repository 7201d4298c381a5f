"""Pure: which run of OIC a reply speaks of.

OIC answers with the id of the run in `x-oracle-ics-instance-id`: 22 base64url characters in OIC 3, decimal digits in
Gen 2; to us an opaque string. `opc-request-id` ties the logs of the OCI services together.
"""

from collections.abc import Iterable
from typing import NamedTuple

INSTANCE_ID = b"x-oracle-ics-instance-id"
OPC_REQUEST_ID = b"opc-request-id"


class Trace(NamedTuple):
    """The ids of one reply; None where it carries none."""

    instance_id: str | None
    opc_request_id: str | None


def trace(fields: Iterable[tuple[bytes, bytes]]) -> Trace:
    """Finds the ids in the fields of a reply's head; an empty value is none, of two the first counts."""
    instance_id = opc_request_id = None
    for name, value in fields:
        # The lengths tell nearly every other field apart without folding its case.
        if len(name) == len(INSTANCE_ID) and name.lower() == INSTANCE_ID:
            instance_id = instance_id or value.decode("latin-1") or None
        elif len(name) == len(OPC_REQUEST_ID) and name.lower() == OPC_REQUEST_ID:
            opc_request_id = opc_request_id or value.decode("latin-1") or None
    return Trace(instance_id, opc_request_id)
