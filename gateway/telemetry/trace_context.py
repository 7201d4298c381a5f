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

TRACE_ID, SPAN_ID = slice(3, 35), slice(36, 52)
"""Where a valid `traceparent` has the id of its trace and that of the caller's span, in lower-case hex (§3.2.2)."""

_IDS = rb"-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
match_traceparent = re.compile(rb"00%b|(?!ff|00)[0-9a-f]{2}%b(?:-[^\x00-\x1f]*)?" % (_IDS, _IDS)).fullmatch
"""Return a match if the value is a valid `traceparent` (§3.2), else None. One of a later version is valid if it begins
like version 00 (§4.3 of Level 2). Calls pay for this, so it is the method of the pattern itself.
"""
FLAGS_DIGIT = 54
"""Where it has the digit of the flags that this gateway knows."""
KNOWN_FLAGS = {ord(digit): int(digit, 16) & (SAMPLED | RANDOM) for digit in "0123456789abcdef"}
"""These flags, by digit; those of later versions are dropped."""


def sampling_threshold(share: float) -> int:
    """Return the threshold for `is_in_share`: the share of the traces in [0, 1] that are at or above it."""
    return round((1.0 - share) * (1 << RANDOM_BITS))


def is_in_share(trace_bits: int, threshold: int) -> bool:
    """Return whether a trace is in the share, by the last `RANDOM_BITS` of its id: all gateways that see the trace and
    have the same share decide alike.
    """
    return trace_bits & ((1 << RANDOM_BITS) - 1) >= threshold
