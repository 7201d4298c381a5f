"""Content codings: any splitting, small steps, and the tolerance of other readers."""

import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.content.charsets import UnreadableText
from gateway.content.content_coding import (
    MAX_DECODED_PART,
    MEMBERS_PER_STEP,
    ContentDecoder,
    can_be_in_coding,
    decode_beginning,
)

LIMIT = 64 * 1024
TEXT = b'{"oicInstanceId": "abc"}' + bytes(range(256)) * 100


def bare(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def decoded(coding: str, body: bytes, step: int = 0) -> bytes:
    decoder = ContentDecoder(coding)
    pieces = [body[start : start + step] for start in range(0, len(body), step)] if step else [body]
    text = b"".join(part for piece in pieces for part in decoder.feed(piece))
    decoder.end()
    return text


FORMS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "zlib format": ("deflate", zlib.compress),
    "bare deflate": ("deflate", bare),
    "gzip labelled deflate": ("deflate", gzip.compress),
    "NUL padding": ("gzip", lambda data: gzip.compress(data) + bytes(40_000)),
    "padding between members": (
        "gzip",
        lambda data: gzip.compress(data[:99]) + bytes(512) + gzip.compress(data[99:]) + b"\0",
    ),
    "several members": ("gzip", lambda data: gzip.compress(data[:99]) + gzip.compress(b"") + gzip.compress(data[99:])),
    "many members": ("gzip", lambda data: gzip.compress(b"") * 3 * MEMBERS_PER_STEP + gzip.compress(data)),
}


@pytest.mark.parametrize(("coding", "pack"), FORMS.values(), ids=FORMS)
def test_every_format_is_decoded_in_any_splitting(coding: str, pack: Callable[[bytes], bytes]) -> None:
    packed = pack(TEXT)
    for step in (0, 1, 2, 3, 1000):
        assert decoded(coding, packed, step) == TEXT
    assert can_be_in_coding(coding, packed[:20])
    assert decode_beginning(coding.encode(), packed, LIMIT) == TEXT


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_broken_truncated_and_continued_codings_are_unreadable(coding: str) -> None:
    packed = (gzip.compress if coding == "gzip" else zlib.compress)(TEXT)
    broken = packed[:40] + bytes(byte ^ 0xFF for byte in packed[40:60]) + packed[60:]
    more = [packed + b"\0\0"] if coding == "deflate" else [packed + b"\0\x1f", packed + b"\0x"]
    for body in (packed[:-1], packed[:1], packed[:100], packed + b"x", broken, *more):
        for step in (0, 1):
            with pytest.raises(UnreadableText):
                decoded(coding, body, step)
    assert decoded(coding, b"") == b""


def test_an_uncoded_body_with_a_coding_in_its_head_is_detected() -> None:
    for coding in ("gzip", "deflate"):
        assert not can_be_in_coding(coding, b'{"plain": 1}')
        assert can_be_in_coding(coding, b"")
    assert can_be_in_coding("", b"anything")
    assert not can_be_in_coding("gzip", b"\x1f\x8c")


@pytest.mark.parametrize("body", [gzip.compress(bytes(50_000_000)), gzip.compress(b"") * 20_000])
def test_steps_are_small_in_memory_and_work(body: bytes) -> None:
    decoder, empty = ContentDecoder("gzip"), len(gzip.compress(b""))
    tracemalloc.start()
    try:
        sizes = [len(part) for part in decoder.feed(body)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert max(sizes) <= MAX_DECODED_PART
    assert peak < 2 * 1024 * 1024
    assert sum(sizes) or len(sizes) >= len(body) // empty // MEMBERS_PER_STEP


# The beginning of a body ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "pack"),
    [(b"gzip", gzip.compress), (b" X-GZip", gzip.compress), (b"deflate", zlib.compress), (b"Deflate ", bare)],
)
def test_a_cut_body_is_decoded_as_far_as_it_goes(field: bytes, pack: Callable[[bytes], bytes]) -> None:
    packed = pack(TEXT)
    assert decode_beginning(field, packed, LIMIT) == TEXT
    for cut in range(len(packed)):
        assert TEXT.startswith(decode_beginning(field, packed[:cut], LIMIT))
    assert len(decode_beginning(field, packed[:-20], LIMIT)) > 1000


def test_without_a_coding_the_body_stays_the_same_object() -> None:
    for field in (None, b"", b"identity", b" Identity "):
        assert decode_beginning(field, TEXT, LIMIT) is TEXT


@pytest.mark.parametrize("field", [b"br", b"zstd", b"gzip, gzip", b"gzip", b"deflate", b"compress", b"\xff"])
def test_a_body_in_another_coding_has_no_readable_beginning(field: bytes) -> None:
    assert decode_beginning(field, b"{}" * 10, LIMIT) == decode_beginning(field, b"", LIMIT) == b""


def test_the_readable_beginning_of_a_broken_body_counts() -> None:
    packed = gzip.compress(TEXT)
    assert decode_beginning(b"gzip", packed + b"rubbish", LIMIT) == TEXT


def test_the_beginning_is_limited() -> None:
    for packed in (gzip.compress(bytes(50_000_000)), gzip.compress(bytes(LIMIT - 1)) + gzip.compress(b"12")):
        assert len(decode_beginning(b"gzip", packed, LIMIT)) == LIMIT


@given(st.binary(max_size=200), st.sampled_from([b"gzip", b"deflate"]))
def test_decoding_a_beginning_never_raises(data: bytes, field: bytes) -> None:
    for first in (data, gzip.compress(data)[:10] + data, zlib.compress(data)[:2] + data):
        assert len(decode_beginning(field, first, LIMIT)) <= LIMIT
