"""Chunked bodies: a strict grammar, any splitting, and a limit of extensions and trailers."""

import sys
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.chunked import ChunkedDecoder, split_whole_body
from gateway.http.fields import MalformedMessage

LIMIT = 64

GOOD = {
    "nothing": (b"0\r\n\r\n", b"", b""),
    "one": (b"5\r\nhello\r\n0\r\n\r\n", b"hello", b""),
    "two": (b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", b"hello world", b""),
    "sizes in either case, with zeros": (b"00a\r\n0123456789\r\nA\r\n0123456789\r\n00\r\n\r\n", b"0123456789" * 2, b""),
    "a size of fifteen digits": (b"000000000000002\r\nhi\r\n000000000000000\r\n\r\n", b"hi", b""),
    "an extension": (b'2;a=b;c="d, e"\r\nhi\r\n0;e\r\n\r\n', b"hi", b""),
    "an extension without a name": (b"2;\r\nhi\r\n0\r\n\r\n", b"hi", b""),
    "spaces before and in an extension": (b"2 \t; a = b\r\nhi\r\n0\r\n\r\n", b"hi", b""),
    "an extension in Latin-1": (b"2;caf\xe9\r\nhi\r\n0\r\n\r\n", b"hi", b""),
    "a trailer": (b"2\r\nhi\r\n0\r\nX-Late: 1\r\nX-Empty:\r\n\r\n", b"hi", b""),
    "a trailer in Latin-1": (b"0\r\nX: caf\xe9\t\r\n\r\n", b"", b""),
    "a chunk that looks like the end": (b"7\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n\r\n", b""),
    "more after it": (b"2\r\nhi\r\n0\r\n\r\nGET /", b"hi", b"GET /"),
    "a line end after it": (b"0\r\n\r\n\r\n", b"", b"\r\n"),
    "another one after it": (b"0\r\n\r\n2\r\nhi\r\n0\r\n\r\n", b"", b"2\r\nhi\r\n0\r\n\r\n"),
    "extensions up to the limit": (b"0;" + b"x" * (LIMIT - 1) + b"\r\n\r\n", b"", b""),
    "trailers up to the limit": (b"0\r\nX: " + b"x" * (LIMIT - 5) + b"\r\n\r\n", b"", b""),
    "the limit reached and a long size": (
        b"1;" + b"x" * (LIMIT - 1) + b"\r\nx\r\n000000000000001\r\ny\r\n0\r\n\r\n", b"xy", b"",
    ),
}  # fmt: skip
UNFINISHED = {
    "nothing": b"",
    "a size": b"5",
    "a size and CR": b"5\r",
    "a size and a space": b"5 ",
    "an extension": b"5;a",
    "half a chunk": b"5\r\nhel",
    "a chunk without its end": b"5\r\nhello",
    "a chunk with half its end": b"5\r\nhello\r",
    "no last chunk": b"5\r\nhello\r\n",
    "no last line": b"5\r\nhello\r\n0\r\n",
    "half a last line": b"5\r\nhello\r\n0\r\n\r",
    "half a trailer": b"0\r\nX-La",
    "a trailer and no last line": b"0\r\nX-Late: 1\r\n",
}
BAD = {
    "a size of letters": b"zz\r\n",
    "a size with a prefix": b"0x5\r\nhello\r\n0\r\n\r\n",
    "a negative size": b"-5\r\nhello\r\n",
    "a signed size": b"+5\r\nhello\r\n",
    "a size with an underscore": b"1_0\r\n",
    "no size": b"\r\nhello\r\n",
    "no size but an extension": b";a=b\r\n",
    "a space before a size": b" 5\r\nhello\r\n",
    "a space after a size": b"5 \r\nhello\r\n",
    "a tab after a size": b"5\t\r\nhello\r\n",
    "a size of sixteen digits": b"0000000000000005\r\nhello\r\n",
    "a size beyond 64 bits": b"FFFFFFFFFFFFFFFFF\r\n",
    "a second size": b"5 5\r\nhello\r\n",
    "a bare LF after a size": b"5\nhello\r\n0\r\n\r\n",
    "a bare CR after a size": b"5\rhello\r\n0\r\n\r\n",
    "two CR after a size": b"5\r\r\nhello\r\n",
    "a bare LF after a chunk": b"5\r\nhello\n0\r\n\r\n",
    "a bare CR after a chunk": b"5\r\nhello\r0\r\n\r\n",
    "a chunk longer than its size": b"5\r\nhelloX\r\n0\r\n\r\n",
    "no end of a chunk": b"5\r\nhello0\r\n\r\n",
    "a line feed in an extension": b'5;a="\n"\r\nhello\r\n',
    "a CR in an extension": b"5;a\rb\r\nhello\r\n",
    "NUL in an extension": b"5;a\0\r\nhello\r\n",
    "a trailer without a colon": b"0\r\nX y\r\n\r\n",
    "a trailer without a name": b"0\r\n: y\r\n\r\n",
    "a space before a trailer's colon": b"0\r\nX : y\r\n\r\n",
    "a folded trailer": b"0\r\nX: y\r\n z\r\n\r\n",
    "a bare LF after a trailer": b"0\r\nX: y\n\r\n",
    "a bare LF for the last line": b"0\r\n\n",
    "a bare CR in a trailer": b"0\r\nX: y\rz\r\n\r\n",
    "a CR at the end of a trailer": b"0\r\nX: y\r\r\n\r\n",
    "NUL in a trailer": b"0\r\nX: \0\r\n\r\n",
    "a trailer's name outside ASCII": b"0\r\nX\xe9: y\r\n\r\n",
    "an extension beyond the limit": b"0;" + b"x" * LIMIT + b"\r\n\r\n",
    "an endless extension": b"5;" + b"x" * (2 * LIMIT),
    "extensions beyond the limit together": b"1;xxxxxxx\r\nx\r\n" * (LIMIT // 8 + 1),
    "trailers beyond the limit together": b"0\r\n" + b"A: b\r\n" * (LIMIT // 6 + 1),
    "an endless trailer": b"0\r\nX" + b"x" * (2 * LIMIT),
    "an endless trailer of hexadecimal digits": b"0\r\n" + b"a" * (2 * LIMIT),
    "an endless trailer of CR": b"0\r\nX:" + b"\r" * (2 * LIMIT),
}


def chunked(pieces: list[bytes]) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def read(raw: bytes, cuts: list[int]) -> tuple[bytes, bytes, bool] | None:
    """Body, rest, and whether it ended; None if it is malformed."""
    reader = ChunkedDecoder(LIMIT)
    body, rest = b"", b""
    try:
        for start, stop in pairwise([0, *sorted(cuts), len(raw)]):
            pieces, after = reader.feed(raw[start:stop])
            assert all(pieces), "no piece is empty"
            assert not after or reader.has_ended
            body += b"".join(pieces)
            rest += after
    except MalformedMessage:
        return None
    return body, rest, reader.has_ended


def bytewise(raw: bytes) -> list[int]:
    return list(range(len(raw)))


@pytest.mark.parametrize("name", GOOD)
def test_a_body_is_read(name: str) -> None:
    raw, body, rest = GOOD[name]
    assert read(raw, []) == read(raw, bytewise(raw)) == (body, rest, True)


@pytest.mark.parametrize("raw", UNFINISHED.values(), ids=UNFINISHED)
def test_an_incomplete_body_is_awaited(raw: bytes) -> None:
    whole = read(raw, [])
    assert whole is not None
    assert not whole[2]
    assert read(raw, bytewise(raw)) == whole


@pytest.mark.parametrize("raw", BAD.values(), ids=BAD)
def test_an_ambiguous_body_is_malformed(raw: bytes) -> None:
    assert read(raw, []) is None
    assert read(raw, bytewise(raw)) is None


@pytest.mark.parametrize("raw", [b"5\r\nhelloX", b"5\r\nhello\rX", b"z", b"5 x", b"5\rx", b"5;\0", b" "])
def test_a_partial_line_that_cannot_become_valid_is_rejected(raw: bytes) -> None:
    assert read(raw, []) is None


@given(st.data())
def test_any_split_has_the_same_result(data: st.DataObject) -> None:
    raw = data.draw(st.sampled_from([*[raw for raw, _, _ in GOOD.values()], *UNFINISHED.values(), *BAD.values()]))
    assert read(raw, data.draw(st.lists(st.integers(0, len(raw)), max_size=9))) == read(raw, [])


WIRE = st.sampled_from(
    [b"0", b"1", b"a", b"\r\n", b"\r", b"\n", b";", b" ", b"x", b":", b"X: y", b"0\r\n\r\n", b"1\r\nx\r\n"]
)


@given(st.lists(WIRE, max_size=20).map(b"".join), st.data())
def test_any_split_of_any_bytes_has_the_same_result(raw: bytes, data: st.DataObject) -> None:
    assert read(raw, data.draw(st.lists(st.integers(0, len(raw)), max_size=9))) == read(raw, [])


@given(st.lists(st.binary(min_size=1), max_size=6), st.binary(max_size=9), st.lists(st.integers(0, 400), max_size=12))
def test_the_body_and_the_bytes_after_it_are_returned(pieces: list[bytes], after: bytes, cuts: list[int]) -> None:
    raw = chunked(pieces) + after
    assert read(raw, [min(cut, len(raw)) for cut in cuts]) == (b"".join(pieces), after, True)


def test_a_piece_of_only_body_is_not_copied() -> None:
    reader = ChunkedDecoder(LIMIT)
    reader.feed(b"400\r\n")
    piece = b"x" * 500
    assert reader.feed(piece)[0][0] is piece


def test_many_small_chunks_have_no_limit() -> None:
    pieces = [b"x"] * LIMIT * 2
    assert read(chunked(pieces), []) == (b"".join(pieces), b"", True)


def test_the_cost_of_small_chunks_grows_no_faster_than_they_do() -> None:
    def cost(count: int) -> float:
        raw = b"1\r\nx\r\n" * count
        started = time.thread_time()
        ChunkedDecoder(LIMIT).feed(raw)
        return time.thread_time() - started

    assert cost(100_000) < 400 * min(cost(1000) for _ in range(5))


def test_complete_small_chunks_are_cheap() -> None:
    def calls(raw: bytes) -> int:
        """The number of Python functions that are called."""
        entered: list[str] = []
        reader = ChunkedDecoder(1_000_000)
        sys.setprofile(lambda _frame, event, _argument: entered.append(event) if event == "call" else None)
        reader.feed(raw)
        sys.setprofile(None)
        return len(entered)

    assert calls(b"1\r\nx\r\n" * 2000) < 10
    assert calls(b"1;\r\nx\r\n" * 2000) > 2000  # one with an extension is read step by step


@pytest.mark.parametrize("size", [b"00000002", b"000000002", b"2;", b"2 ;a"])
@pytest.mark.parametrize("end", [b"\r\n", b"\rX", b"X\n", b"XX", b"\n\n"])
def test_a_whole_chunk_is_read_as_strictly_as_one_in_parts(size: bytes, end: bytes) -> None:
    raw = size + b"\r\nhi" + end + b"1\r\n!\r\n0\r\n\r\n"
    assert read(raw, []) == read(raw, bytewise(raw)) == ((b"hi!", b"", True) if end == b"\r\n" else None)


def test_nothing_is_read_after_the_end() -> None:
    reader = ChunkedDecoder(LIMIT)
    assert reader.feed(b"0\r\n\r\n") == ([], b"")
    assert reader.feed(b"zz") == ([], b"zz")
    assert reader.has_ended


# Whole bodies -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [data for data, *_ in GOOD.values()], ids=GOOD)
def test_a_body_that_is_split_at_once_is_what_the_decoder_reads(data: bytes) -> None:
    for before in (b"", b"HTTP/1.1 200 OK\r\n\r\n"):
        pieces = split_whole_body(before + data, len(before))
        if pieces is not None:
            assert ChunkedDecoder(LIMIT).feed(data) == (pieces, b"")


def test_usual_bodies_are_split_at_once() -> None:
    assert split_whole_body(b"0\r\n\r\n", 0) == []
    assert split_whole_body(b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", 0) == [b"hello", b" world"]


@pytest.mark.parametrize("data", [*UNFINISHED.values(), *BAD.values()], ids=[*UNFINISHED, *BAD])
def test_an_unfinished_or_broken_body_is_left_to_the_decoder(data: bytes) -> None:
    assert split_whole_body(data, 0) is None


CHUNK_PARTS = (
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b"5\r\n",
    b"hello",
    b"\r\n",
    b"00\r\n",
    b"1;a\r\nx\r\n",
    b"X: y\r\n",
    b"\n",
)


@given(st.lists(st.sampled_from(CHUNK_PARTS), max_size=8).map(b"".join))
def test_random_bodies_split_at_once_are_what_is_decoded(data: bytes) -> None:
    decoder = ChunkedDecoder(LIMIT)
    pieces = split_whole_body(data, 0)
    if pieces is not None:
        assert (decoder.feed(data), decoder.has_ended) == ((pieces, b""), True)
