"""Pure: which run of OIC a reply speaks of.

OIC answers with the id of the run in `x-oracle-ics-instance-id`: 22 base64url characters in OIC 3, decimal digits in
Gen 2; to us an opaque string. `opc-request-id` ties the logs of the OCI services together.
"""

from collections.abc import Mapping

INSTANCE_ID = b"x-oracle-ics-instance-id"
OPC_REQUEST_ID = b"opc-request-id"


def trace(noted: Mapping[bytes, bytes]) -> tuple[str | None, str | None]:
    """Finds instance id and opc-request-id among the fields of a reply's head, by lower-case name; None where there is
    none. An empty value is none, of two the first counts.
    """
    instance_id, opc_request_id = noted.get(INSTANCE_ID), noted.get(OPC_REQUEST_ID)
    return _first(instance_id) if instance_id else None, _first(opc_request_id) if opc_request_id else None


def _first(value: bytes) -> str | None:
    text = value.decode("latin-1")
    # Repeated fields came joined with commas: an empty one before the id must not hide that a flow ran.
    return text if "," not in text else next(filter(None, map(str.strip, text.split(","))), None)
