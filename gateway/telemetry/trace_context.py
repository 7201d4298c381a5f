"""Read and write `traceparent` (W3C Trace Context, Level 1 and 2). Pure.

A value that is not exactly as the specification writes it counts as none: a trace must not continue under an id that
other systems read in another way. `tracestate` is never read: it belongs to the systems that wrote it.
"""

import re

TRACEPARENT, TRACESTATE = b"traceparent", b"tracestate"
SAMPLED = 0x01
"""Flag: the caller may have recorded the trace (§3.2.2.5.1)."""
RANDOM = 0x02
"""Flag: the last 7 bytes of the trace id are random (Level 2)."""
RANDOM_BITS = 56
"""Number of random bits at the end of a trace id, by which its share is decided."""

SpanContext = tuple[str, str, int]
"""A span as others refer to it: trace id and span id in lower-case hex, and the flags that this gateway knows."""

_IDS = r"-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})"
_read_version_00 = re.compile(rf"00{_IDS}").fullmatch
_read_later_version = re.compile(rf"(?!ff|00)[0-9a-f]{{2}}{_IDS}(?:-[^\x00-\x1f]*)?").fullmatch


def read_traceparent(value: bytes | None) -> SpanContext | None:
    """Return the span that a `traceparent` names; None for a missing, repeated or malformed one (§3.2).

    A value of a later version is read as far as version 00 goes (§4.3 of Level 2); flags of later versions are dropped.
    """
    if value is None:
        return None
    text = value.decode("latin-1")
    match = _read_version_00(text) or _read_later_version(text)
    if match is None:
        return None
    trace_id, span_id, flags = match.groups()
    return trace_id, span_id, int(flags, 16) & (SAMPLED | RANDOM)


def sampling_threshold(share: float) -> int:
    """Return the threshold for `is_in_share`: the share of the traces in [0, 1] that are at or above it."""
    return round((1.0 - share) * (1 << RANDOM_BITS))


def is_in_share(trace_bits: int, threshold: int) -> bool:
    """Return whether a trace is in the share, by the last `RANDOM_BITS` of its id: all gateways that see the trace and
    have the same share decide alike.
    """
    return trace_bits & ((1 << RANDOM_BITS) - 1) >= threshold
