"""Times as text."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from gateway.observe.timestamp import timestamp


def test_milliseconds_are_cut_not_rounded() -> None:
    assert timestamp(1_700_000_000.9996) == "2023-11-14T22:13:20.999Z"


@given(st.integers(min_value=0, max_value=4_000_000_000_000))
def test_every_time_can_be_read_back(milli: int) -> None:
    epoch_seconds = milli / 1000 + 0.0001
    read = datetime.fromisoformat(timestamp(epoch_seconds))
    assert read.tzinfo == UTC
    assert round(read.timestamp() * 1000) == milli
