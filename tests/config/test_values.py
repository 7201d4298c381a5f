"""Quantities, addresses and names of single values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from gateway.config.values import (
    Duration,
    QuotaSize,
    Rate,
    Size,
    duration_text,
    is_loopback,
    size_text,
    split_address,
)

DURATIONS = TypeAdapter(Duration)
SIZES = TypeAdapter(Size)
RATES, QUOTAS = TypeAdapter(Rate), TypeAdapter(QuotaSize)


@pytest.mark.parametrize(
    ("text", "seconds"), [("330s", 330.0), ("250ms", 0.25), ("1.5m", 90.0), ("2h", 7200.0), ("1d", 86400.0)]
)
def test_durations_become_seconds(text: str, seconds: float) -> None:
    assert DURATIONS.validate_python(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"), [("1B", 1), ("64KiB", 65536), ("25MiB", 26214400), ("2KB", 2000), ("1GB", 10**9), ("0B", 0)]
)
def test_sizes_become_bytes(text: str, size: int) -> None:
    assert SIZES.validate_python(text) == size


@pytest.mark.parametrize(
    "text", ["5", 5, 5.0, None, "5 s", "s", "-5s", "5S", "5s\n", "1e3s", "\u0665s", "9" * 10 + "s"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="needs a number with a unit"):
        DURATIONS.validate_python(text)


@pytest.mark.parametrize(
    ("text", "rate"), [("10/s", (10, 1)), ("600/m", (600, 60)), ("5000/h", (5000, 3600)), ("7/d", (7, 86400))]
)
def test_rates_have_an_amount_and_a_period(text: str, rate: tuple[int, int]) -> None:
    assert RATES.validate_python(text) == rate


@pytest.mark.parametrize("text", ["10", 10, "0/s", "-1/s", "1.5/s", "10/w", "10 /s", "10/s\n", "\u0665/s", None])
def test_what_is_no_rate_is_refused(text: object) -> None:
    with pytest.raises(ValidationError, match="needs a number above 0 and a period; write it like 10/s"):
        RATES.validate_python(text)


def test_quotas_are_of_an_hour_or_a_day() -> None:
    assert QUOTAS.validate_python("5000/h") == (5000, 3600)
    with pytest.raises(ValidationError, match="for shorter periods use `rate`"):
        QUOTAS.validate_python("100/m")


@given(st.integers(1, 999_999_999))
def test_a_written_quantity_reads_back(number: int) -> None:
    assert SIZES.validate_python(size_text(number)) == number
    assert DURATIONS.validate_python(duration_text(float(number))) == number


@pytest.mark.parametrize(
    ("address", "parts", "local"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080), True),
        ("127.8.9.1:1", ("127.8.9.1", 1), True),
        ("[::1]:0", ("::1", 0), True),
        ("localhost:80", ("localhost", 80), True),
        ("unix:/run/g.sock", ("/run/g.sock", 0), True),
        ("0.0.0.0:80", ("0.0.0.0", 80), False),
        ("[::]:80", ("::", 80), False),
        ("gw:80", ("gw", 80), False),
    ],
)
def test_addresses_are_split_and_judged(address: str, parts: tuple[str, int], local: object) -> None:
    assert split_address(address) == parts
    assert is_loopback(address) is local


@pytest.mark.parametrize(
    "address", ["", ":80", "h", "h:", "h:x", "h:65536", "::1:80", "[::1:80", "[x]:1", "a b:1", "h:1\n"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="is not an address; write HOST:PORT"):
        split_address(address)
