"""Which run of OIC a reply speaks of."""

import pytest

from gateway.oic.instances import Trace, trace

ID = b"lJrSjUUVEfGXW0tyvl-GZA"


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ([], Trace(None, None)),
        ([(b"x-oracle-ics-instance-id", ID)], Trace(ID.decode(), None)),
        ([(b"X-Oracle-ICS-Instance-Id", b"4711")], Trace("4711", None)),
        ([(b"opc-request-id", b"A/B/C"), (b"x-oracle-ics-instance-id", ID)], Trace(ID.decode(), "A/B/C")),
        ([(b"OPC-Request-ID", b"A/B/C")], Trace(None, "A/B/C")),
        ([(b"x-oracle-ics-instance-id", b"")], Trace(None, None)),
        ([(b"x-oracle-ics-instance-id", ID), (b"x-oracle-ics-instance-id", b"")], Trace(ID.decode(), None)),
        ([(b"x-oracle-ics-instance-id", b""), (b"x-oracle-ics-instance-id", ID)], Trace(ID.decode(), None)),
        ([(b"x-oracle-ics-instance-id", ID), (b"x-oracle-ics-instance-id", b"2")], Trace(ID.decode(), None)),
        ([(b"opc-request-id", b"1"), (b"opc-request-id", b"2")], Trace(None, "1")),
        ([(b"x-oracle-ics-instance-id", b"caf\xe9")], Trace("caf\xe9", None)),
        ([(b"x-oracle-ics-instance-ix", ID), (b"opc-request-ix", b"1"), (b"instance-id", b"1")], Trace(None, None)),
    ],
)
def test_the_ids_are_found_in_the_head(fields: list[tuple[bytes, bytes]], found: Trace) -> None:
    assert trace(fields) == found
