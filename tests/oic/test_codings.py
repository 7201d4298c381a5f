"""The beginning of a compressed body, plain: as far as it can be read, and never more than is looked at."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.content import content_coding
from gateway.content.content_coding import MEMBERS
from gateway.oic.instance_id import BODY_PART


def peek(coding: bytes | None, first: bytes) -> bytes:
    return content_coding.peek(coding, first, BODY_PART)


TEXT = b'{"oicInstanceId": "abc"}' + bytes(range(256)) * 100


def bare(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKERS = {b"gzip": gzip.compress, b" X-GZip": gzip.compress, b"deflate": zlib.compress, b"Deflate ": bare}


@pytest.mark.parametrize(("coding", "pack"), PACKERS.items())
def test_a_coding_is_taken_off(coding: bytes, pack: object) -> None:
    packed = pack(TEXT)  # type: ignore[operator] # a table of cases
    assert peek(coding, packed) == TEXT
    for cut in range(len(packed)):
        assert TEXT.startswith(peek(coding, packed[:cut]))
    assert len(peek(coding, packed[:-20])) > 1000


def test_without_a_coding_it_is_as_it_came() -> None:
    for coding in (None, b"", b"identity", b" Identity "):
        assert peek(coding, TEXT) is TEXT


@pytest.mark.parametrize("coding", [b"br", b"zstd", b"gzip, gzip", b"gzip", b"deflate", b"compress", b"\xff"])
def test_what_cannot_be_read_is_nothing(coding: bytes) -> None:
    assert peek(coding, b"{}" * 10) == peek(coding, b"") == b""


def test_no_more_than_is_looked_at() -> None:
    for packed in (gzip.compress(bytes(50_000_000)), gzip.compress(bytes(BODY_PART - 1)) + gzip.compress(b"12")):
        assert len(peek(b"gzip", packed)) == BODY_PART
    members = gzip.compress(b"x") * (MEMBERS + 50)
    assert peek(b"gzip", members) == peek(b"gzip", gzip.compress(b"x") + b"rubbish") == b""
    assert peek(b"gzip", gzip.compress(b"x") * MEMBERS) == b"x" * MEMBERS


@given(st.binary(max_size=200), st.sampled_from([b"gzip", b"deflate"]))
def test_nothing_raises(data: bytes, coding: bytes) -> None:
    for first in (data, gzip.compress(data)[:10] + data, zlib.compress(data)[:2] + data):
        assert len(peek(coding, first)) <= BODY_PART
