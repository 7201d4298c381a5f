"""`traceparent` as W3C Trace Context writes it, and nothing else."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.telemetry.trace_context import (
    FLAGS_DIGIT,
    KNOWN_FLAGS,
    RANDOM,
    SAMPLED,
    SPAN_ID,
    TRACE_ID,
    is_in_share,
    match_traceparent,
    sampling_threshold,
)

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
VALID = f"00-{TRACE}-{SPAN}-01"


def read_traceparent(value: bytes) -> tuple[str, str, int] | None:
    """Trace id, span id and flags of a valid value."""
    if not match_traceparent(value):
        return None
    return value[TRACE_ID].decode(), value[SPAN_ID].decode(), KNOWN_FLAGS[value[FLAGS_DIGIT]]


hexadecimal = st.characters(codec="ascii", include_characters="0123456789abcdef", categories=())
ids = st.text(hexadecimal, min_size=32, max_size=32).filter(lambda text: set(text) != {"0"})


@pytest.mark.parametrize(
    ("value", "flags"),
    [
        (VALID, SAMPLED),
        (f"00-{TRACE}-{SPAN}-00", 0),
        (f"00-{TRACE}-{SPAN}-03", SAMPLED | RANDOM),
        (f"00-{TRACE}-{SPAN}-ff", SAMPLED | RANDOM),
        (f"01-{TRACE}-{SPAN}-01", SAMPLED),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like", SAMPLED),
        (f"fe-{TRACE}-{SPAN}-01-", SAMPLED),
    ],
)
def test_a_valid_traceparent_is_read(value: str, flags: int) -> None:
    assert read_traceparent(value.encode()) == (TRACE, SPAN, flags)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "00",
        TRACE,
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN.upper()}-01",
        f"0A-{TRACE}-{SPAN}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}0-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-0x",
        f"00-{TRACE}-{SPAN}-01-",
        f"00-{TRACE}-{SPAN}-01-extra",
        f"01-{TRACE}-{SPAN}-01extra",
        f"00_{TRACE}_{SPAN}_01",
        f" {VALID}",
        f"{VALID}\n",
        f"{VALID}, {VALID}",
        f"00-{TRACE[:-1]}\u0663-{SPAN}-01",
        f"{VALID},",
    ],
)
def test_a_malformed_traceparent_is_none(value: str) -> None:
    assert read_traceparent(value.encode()) is None


@given(st.binary(max_size=80) | st.text(st.sampled_from("0123456789abcdefABCDEFg- ,"), max_size=80).map(str.encode))
def test_any_bytes_are_either_valid_or_none(value: bytes) -> None:
    context = read_traceparent(value)
    if context is not None:
        trace_id, span_id, flags = context
        assert re.fullmatch(r"(?!0{32})[0-9a-f]{32}", trace_id)
        assert re.fullmatch(r"(?!0{16})[0-9a-f]{16}", span_id)
        assert value[3:35].decode() == trace_id
        assert value[36:52].decode() == span_id
        assert flags in range(4)


@given(ids, ids, st.integers(0, 255))
def test_every_version_00_value_with_ids_is_read(trace_id: str, span_id: str, flags: int) -> None:
    span_id = span_id[:15] + "1"
    assert read_traceparent(f"00-{trace_id}-{span_id}-{flags:02x}".encode()) == (trace_id, span_id, flags & 3)


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (1.0, 1024), (0.25, 256), (0.5, 512)])
def test_a_share_of_the_traces_is_sampled(share: float, count: int) -> None:
    threshold = sampling_threshold(share)
    traces = [(0xABCDEF << 104) | number << 46 for number in range(1024)]
    assert sum(is_in_share(trace, threshold) for trace in traces) == count
