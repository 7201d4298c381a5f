"""Read and write `traceparent` (W3C Trace Context, Level 1 and 2). Pure.

A value that is not exactly as the specification writes it counts as none: a trace must not continue under an id that
other systems read in another way. `tracestate` is never read: it belongs to the systems that wrote it.
"""

import re
from typing import NamedTuple

TRACEPARENT, TRACESTATE = b"traceparent", b"tracestate"
SAMPLED = 0x01
"""Flag: the caller may have recorded the trace (§3.2.2.5.1)."""
RANDOM = 0x02
"""Flag: the last 7 bytes of the trace id are random (Level 2)."""
RANDOM_BITS = 56
"""Number of random bits at the end of a trace id, by which its share is decided."""

_KNOWN_FLAGS = SAMPLED | RANDOM
_TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-[^\x00-\x1f]*)?")
_LENGTH = 55
"""Bytes of a `traceparent` of version 00."""
_NO_TRACE, _NO_SPAN = b"0" * 32, b"0" * 16


class SpanContext(NamedTuple):
    """A span as others refer to it: ids in lower-case hex, and the flags that this gateway knows."""

    trace_id: str
    span_id: str
    flags: int


def read_traceparent(value: bytes | None) -> SpanContext | None:
    """Return the span that a `traceparent` names; None for a missing, repeated or malformed one (§3.2).

    A value of a later version is read as far as version 00 goes (§4.3 of Level 2); flags of later versions are dropped.
    """
    if value is None or (match := _TRACEPARENT.fullmatch(value)) is None:
        return None
    version, trace_id, span_id, flags = match.group(1, 2, 3, 4)
    if version == b"ff" or (version == b"00" and len(value) != _LENGTH):
        return None
    if trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    return SpanContext(trace_id.decode(), span_id.decode(), int(flags, 16) & _KNOWN_FLAGS)


def write_traceparent(context: SpanContext) -> str:
    """Return the `traceparent` of a span, of version 00."""
    return f"00-{context.trace_id}-{context.span_id}-{context.flags:02x}"


def sampling_threshold(share: float) -> int:
    """Return the threshold for `is_in_share`: the share of the traces in [0, 1] that are at or above it."""
    return round((1.0 - share) * (1 << RANDOM_BITS))


def is_in_share(trace_bits: int, threshold: int) -> bool:
    """Return whether a trace is in the share, by the last `RANDOM_BITS` of its id: all gateways that see the trace and
    have the same share decide alike.
    """
    return trace_bits & ((1 << RANDOM_BITS) - 1) >= threshold
