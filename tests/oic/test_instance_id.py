"""Which run of OIC a reply speaks of."""

import pytest

from gateway.http.fields import sort_fields
from gateway.oic.instance_id import read_ids
from gateway.proxy.headers import RESPONSE_RULES

ID = b"lJrSjUUVEfGXW0tyvl-GZA"
NAME = b"x-oracle-ics-instance-id: "


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([], (None, None)),
        ([NAME + ID], (ID.decode(), None)),
        ([b"X-Oracle-ICS-Instance-Id: 4711"], ("4711", None)),
        ([b"opc-request-id:A/B/C", NAME + ID + b" "], (ID.decode(), "A/B/C")),
        ([b"OPC-Request-ID: A/B/C"], (None, "A/B/C")),
        ([NAME], (None, None)),
        ([NAME, NAME], (None, None)),
        ([NAME + ID, NAME], (ID.decode(), None)),
        ([NAME, NAME + ID], (ID.decode(), None)),
        ([NAME + ID, NAME + b"2"], (ID.decode(), None)),
        ([b"opc-request-id: 1", b"opc-request-id: 2"], (None, "1")),
        ([NAME + b"caf\xe9"], ("caf\xe9", None)),
        ([b"x-oracle-ics-instance-ix: a", b"opc-request-ix: 1", b"instance-id: 1"], (None, None)),
    ],
)
def test_the_ids_are_found_in_the_head(lines: list[bytes], found: tuple[str | None, str | None]) -> None:
    _, known_fields, _ = sort_fields(lines, RESPONSE_RULES)
    assert read_ids(known_fields) == found
