"""Fields of a head: the grammar of lines and names, and the action for each field."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.http.fields import (
    CACHED_LENGTH,
    CACHED_NAMES,
    MALFORMED_BYTES,
    FieldAction,
    FieldRules,
    MalformedMessage,
    _cached_members,
    connection_options,
    field_value,
    is_content_length,
    parse_options,
    remove_fields,
    sort_fields,
    split_lines,
)

TABLE = {
    b"x-drop": FieldAction.DROP,
    b"x-consume": FieldAction.CONSUME,
    b"x-inspect": FieldAction.INSPECT,
    b"x-defer": FieldAction.DEFER,
}
TOKEN = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"  # RFC 9110 §5.6.2


def kinds() -> FieldRules:
    return FieldRules(TABLE, dropped_prefixes=(b"secret-",))


def sort(*lines: bytes) -> tuple[list[bytes], dict[bytes, bytes], list[tuple[bytes, bytes]]]:
    return sort_fields(lines, kinds())


# Lines ----------------------------------------------------------------------------------------------------------------


def test_a_head_is_split_at_crlf() -> None:
    assert split_lines(b"") == [b""]
    assert split_lines(b"GET / HTTP/1.1\r\nA: b\tc\r\nB:\xff") == [b"GET / HTTP/1.1", b"A: b\tc", b"B:\xff"]


@pytest.mark.parametrize("byte", [*range(9), 11, 12, *range(14, 32), 127])
def test_control_bytes_are_malformed(byte: int) -> None:
    with pytest.raises(MalformedMessage):
        split_lines(b"a\r\nX: %cb" % byte)


@pytest.mark.parametrize(
    "block",
    [
        b"a\nb",
        b"a\rb",
        b"\n",
        b"\r",
        b"a\r",
        b"\na",
        b"a\r\r\nb",
        b"a\n\r\nb",
        b"a\r\n\nb",
        b"a\n\rb",
        b"a\r\n\r",
        b"\r\n\n\r",
    ],
)
def test_only_crlf_ends_a_line(block: bytes) -> None:
    with pytest.raises(MalformedMessage):
        split_lines(block)


@given(st.lists(st.sampled_from([b"\r", b"\n", b"a", b"\t", b"\0", b"\r\n", b":"])).map(b"".join))
@example(b"\r\n\r\n")
def test_split_lines_join_to_the_same_head(block: bytes) -> None:
    is_sound = re.fullmatch(rb"(?:[\t -~\x80-\xff]|\r\n)*", block) is not None
    try:
        lines = split_lines(block)
    except MalformedMessage:
        assert not is_sound
        return
    assert is_sound
    assert b"\r\n".join(lines) == block


@given(
    st.lists(st.sampled_from([b"\r", b"\n", b"a", b"\t", b"\0", b"\r\n", b":"])).map(b"".join), st.binary(max_size=3)
)
def test_a_malformed_beginning_is_malformed_with_any_end(beginning: bytes, end: bytes) -> None:
    if MALFORMED_BYTES.search(beginning) is None:
        return
    with pytest.raises(MalformedMessage):
        split_lines(beginning + end)


# Kinds ----------------------------------------------------------------------------------------------------------------


def test_a_field_is_sorted_by_its_action() -> None:
    lines = [
        b"X-Drop: 1",
        b"x-consume: 2 ",
        b"X-INSPECT:\t3",
        b"x-DEFER:4",
        b"X-Pass:  5  ",
        b"Secret-x: 6",
        b"secret: 7",
    ]
    assert sort(*lines) == (
        [b"X-INSPECT:\t3", b"X-Pass:  5  ", b"secret: 7"],
        {b"x-consume": b"2", b"x-inspect": b"3"},
        [(b"x-defer", b"x-DEFER:4")],
    )


@pytest.mark.parametrize(
    ("values", "known"),
    [
        ([b""], b""),
        ([b" \t "], b""),
        ([b"a", b"b"], b"a, b"),
        ([b"a", b"", b"b"], b"a, , b"),
        ([b"", b"a"], b", a"),
        ([b"a:b"], b"a:b"),
    ],
)
def test_repeated_fields_become_one_list(values: list[bytes], known: bytes) -> None:
    lines = [
        name + b": " + value for name, value in zip([b"X-Consume", b"x-consume", b"X-CONSUME"], values, strict=False)
    ]
    assert sort(*lines)[1] == {b"x-consume": known}


def test_repeated_fields_are_deferred_and_forwarded_separately() -> None:
    lines = [b"X-Defer: 1", b"X-A: 1", b"x-defer: 2", b"X-A: 2"]
    assert sort(*lines) == ([b"X-A: 1", b"X-A: 2"], {}, [(b"x-defer", b"X-Defer: 1"), (b"x-defer", b"x-defer: 2")])


@pytest.mark.parametrize(
    "line",
    [
        b"", b"X", b" ", b": x", b"X : x", b"X\t: x", b" X: x", b"\tX: x", b" folded", b" folded: not", b"caf\xe9: x",
        b"X Y: x", b"X,Y: x", b"X;Y: x", b"X/Y: x", b"(X): x", b"X@Y: x", b"[X]: x", b'"X": x', b"X=Y: x",
        b"X-Drop : x", b"X-Consume : x", b"secret-(: x", b"X?: x", b"{X}: x", b"<X>: x", b"X\\Y: x",
    ],
)  # fmt: skip
def test_a_line_without_a_name_is_malformed(line: bytes) -> None:
    with pytest.raises(MalformedMessage):
        sort(b"X-A: 1", line, b"X-B: 2")


@given(st.binary(min_size=1, max_size=3))
def test_a_name_is_a_token(name: bytes) -> None:
    if b":" in name:
        return
    if set(name) <= set(TOKEN):
        assert sort(name + b":x") == ([name + b":x"], {}, [])
        return
    with pytest.raises(MalformedMessage):
        sort(name + b":x")


@given(
    st.lists(
        st.sampled_from([b"X-Drop", b"x-consume", b"X-INSPECT", b"X-Defer", b"X-a", b"x-A", b"Secret-a"]), max_size=9
    )
)
def test_every_field_is_sorted_once_and_in_order(names: list[bytes]) -> None:
    lines = [b"%b: %d" % (name, at) for at, name in enumerate(names)]
    forwarded, known, deferred = sort(*lines)
    where = {
        action: [line for line in lines if line.lower().startswith(b"x-%b:" % action.value.encode())]
        for action in FieldAction
    }
    others = [line for line in lines if line.lower().startswith(b"x-a:")]
    assert forwarded == [line for line in lines if line in where[FieldAction.INSPECT] or line in others]
    assert [line for _, line in deferred] == where[FieldAction.DEFER]
    for action, key in ((FieldAction.CONSUME, b"x-consume"), (FieldAction.INSPECT, b"x-inspect")):
        assert known.get(key, b"") == b", ".join(map(field_value, where[action]))


def test_callers_cannot_fill_the_memory_with_names() -> None:
    known = kinds()
    for number in range(CACHED_NAMES + 100):
        assert known[b"x-%d" % number] is None
    assert len(known) == CACHED_NAMES
    assert known[b"y"] is None
    assert (known[b"X-dROP"] or (b"",))[0] == b"x-drop"
    fresh = kinds()
    assert fresh[b"x" * (CACHED_LENGTH + 1)] is None
    assert len(fresh) == 0
    with pytest.raises(MalformedMessage):
        fresh[b"("]
    assert len(fresh) == 0


def test_callers_cannot_fill_the_memory_with_lists() -> None:
    parse_options(b"x" * CACHED_LENGTH)
    before = _cached_members.cache_info()
    assert len(parse_options(b"a," * CACHED_LENGTH)) == len(connection_options(b"a," * CACHED_LENGTH)) == 2
    assert _cached_members.cache_info() == before


# Values and lists -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [b"0", b"5", b"005", b"9" * 18])
def test_a_length_is_one_number(value: bytes) -> None:
    assert is_content_length(value)


@pytest.mark.parametrize(
    "value",
    [b"", b"+5", b"-5", b"0x5", b"5_0", b"5, 5", b" 5", b"5\n", b"5.0", b"1e3", b"9" * 19, b"\xb2", "٣".encode()],
)
def test_other_values_are_no_length(value: bytes) -> None:
    assert not is_content_length(value)


def test_a_value_is_the_text_after_the_colon() -> None:
    assert [field_value(line) for line in (b"A: b", b"A:b:c ", b"A:\t \t", b"A:")] == [b"b", b"b:c", b"", b""]


def test_fields_are_removed_by_name_in_any_case() -> None:
    lines = [b"X-A: 1", b"x-b: 2", b"X-AB: 3", b"x-a:4"]
    assert remove_fields(frozenset({b"x-a"}), lines) == [b"x-b: 2", b"X-AB: 3"]
    assert remove_fields(frozenset(), lines) == lines


@pytest.mark.parametrize(
    ("value", "options", "named"),
    [
        (b"close", {b"close"}, set()),
        (b"Keep-Alive", {b"keep-alive"}, set()),
        (b"close, X-A", {b"close", b"x-a"}, {b"x-a"}),
        (b"X-A ,\tx-b", {b"x-a", b"x-b"}, {b"x-a", b"x-b"}),
        (b"", {b""}, {b""}),
        (b"a,,b", {b"a", b"", b"b"}, {b"a", b"", b"b"}),
        (
            b"x" * CACHED_LENGTH + b", X-A",
            {b"x" * CACHED_LENGTH, b"x-a"},
            {b"x" * CACHED_LENGTH, b"x-a"},
        ),
    ],
)
def test_the_members_of_a_list_are_in_lower_case(value: bytes, options: set[bytes], named: set[bytes]) -> None:
    assert parse_options(value) == options
    assert connection_options(value) == named
