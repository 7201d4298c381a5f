"""Which bodies can be read: content codings, character sets, plans."""

import codecs
import gzip
import json
import tracemalloc
import zlib
from collections.abc import Iterator

import pytest

from gateway.http.fields import MalformedMessage
from gateway.proxy.rewriting import RewritePlan, Rewriter, begins_readable, make_plan
from tests.fakes.documents import ALL, FLOW, GATE, HERE, NAMES, U, rewritten, text

# Content codings ------------------------------------------------------------------------------------------------------

BODY = json.dumps({"items": [{"href": f"{U}/{number}", "é": "ü" * 20} for number in range(500)]}).encode()
NAMED = BODY.replace(U.encode(), f"{GATE}/orders".encode())


def _deflated(body: bytes, window: int) -> bytes:
    packer = zlib.compressobj(wbits=window)
    return packer.compress(body) + packer.flush()


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        ("gzip", gzip.compress(BODY)),
        ("gzip", gzip.compress(BODY[:7000]) + gzip.compress(b"") + gzip.compress(BODY[7000:])),
        ("deflate", zlib.compress(BODY)),
        ("deflate", _deflated(BODY, -zlib.MAX_WBITS)),
    ],
)
def test_codings_are_taken_off_in_any_chunking(coding: str, packed: bytes) -> None:
    for step in (1, 2, 3, 1000, len(packed)):
        assert rewritten(packed, coding=coding, cuts=range(0, len(packed), step)) == NAMED
    assert rewritten(b"", coding=coding) == b""
    assert begins_readable(RewritePlan("json", "", coding), packed[:20])


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_broken_cut_or_continued_codings_are_malformed(coding: str) -> None:
    packed = gzip.compress(BODY) if coding == "gzip" else zlib.compress(BODY)
    broken = packed[:40] + bytes(byte ^ 0xFF for byte in packed[40:60]) + packed[60:]
    more = [packed + b"\x00\x00"] if coding == "deflate" else [packed + b"\x00\x1f", packed + b"\x00x"]
    for body in (packed[:-1], packed[:1], packed[:100], packed + b"x", broken, *more):
        for cuts in ((), range(len(body))):
            with pytest.raises(MalformedMessage):
                rewritten(body, coding=coding, cuts=cuts)


def test_what_a_member_of_gzip_is_filled_up_with_counts_for_nothing() -> None:
    packed = gzip.compress(BODY)
    for body in (packed + b"\x00", packed + b"\x00" * 40000, packed + b"\x00" * 512 + gzip.compress(b"") + b"\x00"):
        for step in (1000, len(body)):
            assert rewritten(body, coding="gzip", cuts=range(0, len(body), step)) == NAMED


def test_what_is_not_compressed_is_seen_at_its_beginning() -> None:
    for coding in ("gzip", "deflate"):
        assert not begins_readable(RewritePlan("json", "", coding), b'{"plain": 1}')
        assert begins_readable(RewritePlan("json", "", coding), b"")
    assert begins_readable(RewritePlan("json", "", ""), b"anything")
    assert not begins_readable(RewritePlan("json", "", "gzip"), b"\x1f\x8c")


@pytest.mark.parametrize(("filling", "count"), [(b" ", 80), (b'"/', 1), (b"https://x/ ", 1)])
def test_a_bomb_stays_small(filling: bytes, count: int) -> None:
    packer = zlib.compressobj(wbits=31)
    block = filling * (256 * 1024 // len(filling))
    packed = b"".join(packer.compress(block) for _ in range(count)) + packer.flush()
    rewriter = Rewriter(RewritePlan("xml", "utf-8", "gzip"), NAMES, HERE)
    size = largest = 0
    tracemalloc.start()
    try:
        for step in _steps(rewriter, packed):
            largest = max(largest, sum(map(len, step)))
            size += sum(map(len, step))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size == count * len(block)
    assert largest <= 128 * 1024
    assert peak < 4 * 1024 * 1024


def _steps(rewriter: Rewriter, body: bytes) -> Iterator[list[bytes]]:
    yield from rewriter.feed([body])
    yield from rewriter.end()


# Character sets -------------------------------------------------------------------------------------------------------

DOCUMENT = f'{{"ä": "{U}/1", "b": "\U0001f600 \ud800 {U}"}}'
IN_NAMES = DOCUMENT.replace(U, f"{GATE}/orders")


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("declares", [True, False])
def test_wide_characters_are_read_and_written(codec: str, bom: str, *, declares: bool) -> None:
    body, names = ((bom + doc).encode(codec, "surrogatepass") for doc in (DOCUMENT, IN_NAMES))
    for charset in (codec, codec[:6]) if declares else ("",):
        for cuts in ((), range(len(body)), (3, 50, 77)):
            assert rewritten(body, charset=charset, cuts=cuts) == names
    spoilt = body + b"\x00"
    assert rewritten(spoilt, charset=codec, cuts=(5,)) == names + b"\x00"


def test_what_cannot_be_decoded_passes_with_all_that_follows() -> None:
    start, end = DOCUMENT.encode("utf-16-le", "surrogatepass"), b"\x00\xdc"
    body = IN_NAMES.encode("utf-16-le", "surrogatepass")
    broken = DOCUMENT.encode("utf-32-le", "surrogatepass") + b"\xff\xff\xff\xff" + U.encode("utf-32-le")
    expected = IN_NAMES.encode("utf-32-le", "surrogatepass") + b"\xff\xff\xff\xff" + U.encode("utf-32-le")
    for cuts in ((), range(len(broken))):
        assert rewritten(broken, charset="utf-32-le", cuts=cuts) == expected
    assert rewritten(start + end, charset="utf-16-le") == body + end


def test_ebcdic_is_read_and_written() -> None:
    body = f'<?xml version="1.0" encoding="cp037"?><a b="{U}">ä</a>'
    for charset in ("cp037", ""):
        assert rewritten(body.encode("cp037"), "xml", charset=charset) == body.replace(U, f"{GATE}/orders").encode(
            "cp037"
        )


@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1", "windows-1252", "us-ascii", "koi8-r", "euc-jp"])
def test_supersets_of_ascii_are_left_in_their_bytes(charset: str) -> None:
    body = b'{"\xe4\xff": "' + U.encode() + b'"}'
    assert rewritten(body, charset=charset) == body.replace(U.encode(), f"{GATE}/orders".encode())
    assert rewritten(codecs.BOM_UTF8 + body) == codecs.BOM_UTF8 + body.replace(U.encode(), f"{GATE}/orders".encode())


@pytest.mark.parametrize(
    ("declared", "is_read"),
    [("utf-8", True), ("iso-8859-1", True), ("utf-16", True), ("shift_jis", False), ("klingon", False)],
)
def test_xml_may_declare_its_character_set_itself(declared: str, *, is_read: bool) -> None:
    body = f'<?xml version="1.0" encoding="{declared}"?><a b="{U}"/>'
    assert (text(body, "xml") != body) == is_read
    assert rewritten(body.encode(), "xml", charset="utf-8") != body.encode()
    assert rewritten(body.encode("utf-16"), "xml") == body.replace(U, f"{GATE}/orders").encode("utf-16")


# Plans ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "coding", "expected"),
    [
        (b"application/json", None, RewritePlan("json", "", "")),
        (b"Application/JSON ; charset=UTF-8", b"", RewritePlan("json", "utf-8", "")),
        (b'application/problem+json; x=1; charset="utf-16"', b"identity", RewritePlan("json", "utf-16", "")),
        (b"text/xml;charset=ISO-8859-1", b"gzip", RewritePlan("xml", "iso-8859-1", "gzip")),
        (b"application/soap+xml", b"X-GZIP", RewritePlan("xml", "", "gzip")),
        (b"application/wsdl+xml", b"deflate", RewritePlan("xml", "", "deflate")),
        (b"application/yaml", None, RewritePlan("yaml", "", "")),
        (b"application/vnd.oai.openapi", None, RewritePlan("yaml", "", "")),
        (b"application/vnd.oai.openapi+json;version=3.0", None, RewritePlan("json", "", "")),
        (b"text/html", None, None),
        (b"text/plain", None, None),
        (b"image/svg+xml", None, None),
        (b"multipart/mixed; boundary=a", None, None),
        (None, None, None),
        (b"json", None, None),
        (b"application/json", b"br", None),
        (b"application/json", b"gzip, gzip", None),
        (b"application/json; charset=klingon", None, None),
        (b"application/json; charset=utf-7", None, None),
        (b"application/json; charset=shift_jis", None, None),
        (b"application/json; charset=base64", None, None),
        (b"application/json; charset=" + b"x" * 4000, None, None),
        (b"\xff/\xff", b"\xff", None),
    ],
)
def test_a_body_has_a_plan_where_it_can_be_read(
    content_type: bytes | None, coding: bytes | None, expected: RewritePlan | None
) -> None:
    assert make_plan(content_type, coding, frozenset({"json", "xml", "yaml"})) == expected
    assert make_plan(content_type, coding, frozenset()) is None


def test_html_has_one_where_it_is_asked_for() -> None:
    assert make_plan(b"text/html; charset=utf-8", None, ALL) == RewritePlan("html", "utf-8", "")
    assert text(f'<form action="{FLOW}/x"><a href={U}>', "html") == f'<form action="/orders/x"><a href={GATE}/orders>'
