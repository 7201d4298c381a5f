"""A token in writing means the same instants to a reader with other clocks."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.oauth.lifetime import Token
from gateway.oauth.stores.encrypted import decode_token, encode_token

TOKEN = Token("a.b.c", obtained_at=100.0, stale_at=2000.0, usable_until=3000.0, usable_until_wall=1_800_002_900.0)
WALL = 1_800_000_000.0
STORED_KEYS = {
    "value": "value",
    "obtained_at": "obtained_at",
    "stale_at": "stale_at",
    "usable_until": "dead_at",
    "usable_until_wall": "dead_wall",
}


def written(**changes: Any) -> bytes:
    document = json.loads(encode_token(TOKEN, now=100.0, wall=WALL)) | changes
    return json.dumps({name: value for name, value in document.items() if value is not None}).encode()


def test_instants_are_those_of_the_reader_s_clock() -> None:
    """The reader has been up for ten seconds, and reads half a minute later."""
    read = decode_token(encode_token(TOKEN, now=100.0, wall=WALL), now=10.0, wall=WALL + 30)
    assert read == Token(
        "a.b.c", obtained_at=-20.0, stale_at=1880.0, usable_until=2880.0, usable_until_wall=TOKEN.usable_until_wall
    )


def test_a_token_of_a_clock_ahead_of_ours_ends_so_much_earlier() -> None:
    read = decode_token(encode_token(TOKEN, now=100.0, wall=WALL), now=10.0, wall=WALL - 30)
    assert read == Token(
        "a.b.c", obtained_at=10.0, stale_at=1910.0, usable_until=2910.0, usable_until_wall=TOKEN.usable_until_wall - 30
    )


def test_a_clock_that_was_set_back_makes_no_token_live_longer() -> None:
    with pytest.raises(ValueError, match="future"):
        decode_token(encode_token(TOKEN, now=100.0, wall=WALL), now=10.0, wall=WALL - 61)


def test_what_a_newer_release_adds_is_passed_over() -> None:
    assert decode_token(written(colour="blue"), now=100.0, wall=WALL) == TOKEN


def test_stored_keys_are_those_of_older_releases() -> None:
    assert list(json.loads(written())) == list(STORED_KEYS.values())


@pytest.mark.parametrize("name", STORED_KEYS)
@pytest.mark.parametrize("value", [None, "x" * 3, 1, True, [], {}, float("nan"), float("inf"), 10**400, "1"])
def test_a_field_that_is_missing_or_senseless_is_an_error(name: str, value: object) -> None:
    key = STORED_KEYS[name]
    good = isinstance(value, str) if name == "value" else type(value) is int and value == 1
    if good and name != "obtained_at":
        assert getattr(decode_token(written(**{key: value}), now=100.0, wall=WALL), name) is not None
    elif not good:
        with pytest.raises(ValueError, match=key):
            decode_token(written(**{key: value}), now=100.0, wall=WALL)


@given(st.binary() | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(json.dumps).map(str.encode))
def test_anything_else_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json has its own words
        decode_token(data, now=0.0, wall=WALL)
