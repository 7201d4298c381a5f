"""Bodies that can be rewritten: their content codings, charsets and media types."""

import codecs
import gzip
import json
import tracemalloc
import zlib
from collections.abc import Callable, Iterator

import pytest

from gateway.content.charsets import UnreadableText
from gateway.content.content_coding import decode_beginning
from gateway.oic.instance_id import BODY_PART, DEFAULT_LOCATIONS, InstanceIdFinder, media_kind
from gateway.proxy.rewriting import RewritePlan, Rewriter, make_plan
from tests.fakes.documents import ALL, FLOW, GATE, HERE, NAMES, U, rewrite, text

# Content codings ------------------------------------------------------------------------------------------------------

BODY = json.dumps({"items": [{"href": f"{U}/{number}", "é": "ü" * 20} for number in range(500)]}).encode()
NAMED = BODY.replace(U.encode(), f"{GATE}/orders".encode())


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_compressed_body_is_rewritten_in_any_chunking(coding: str, pack: Callable[[bytes], bytes]) -> None:
    packed = pack(BODY)
    for step in (1, 2, 3, 1000, len(packed)):
        assert rewrite(packed, coding=coding, cuts=range(0, len(packed), step)) == NAMED
    assert rewrite(b"", coding=coding) == b""
    for broken in (packed[:-1], packed + b"x"):
        with pytest.raises(UnreadableText):
            rewrite(broken, coding=coding)


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


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("declared", ["", "utf-16", "utf-16-le", "utf-16-be", "utf-8", "klingon"])
def test_utf_16_is_rewritten_whatever_is_declared(codec: str, bom: str, declared: str) -> None:
    body, expected = ((bom + doc).encode(codec, "surrogatepass") for doc in (DOCUMENT, IN_NAMES))
    for cuts in ((), range(len(body)), (3, 50, 77)):
        assert rewrite(body, charset=declared, cuts=cuts) == expected
    assert rewrite(body + b"\x00", charset=declared, cuts=(5,)) == expected + b"\x00"


def test_bytes_that_are_not_utf_16_pass_with_all_that_follow() -> None:
    body, expected = (doc.encode("utf-16-le", "surrogatepass") for doc in (DOCUMENT, IN_NAMES))
    for end in (b"\x00\xdc", b"\x00"):
        for cuts in ((), range(len(body + end))):
            assert rewrite(body + end, charset="utf-16-le", cuts=cuts) == expected + end


@pytest.mark.parametrize("codec", ["utf-32", "utf-32-le", "utf-32-be", "cp037"])
def test_utf_32_and_ebcdic_pass_unchanged(codec: str) -> None:
    body = f'<?xml version="1.0" encoding="{codec}"?><a b="{U}"/>'.encode(codec)
    for declared in ("", codec, "utf-8"):
        assert rewrite(body, "xml", charset=declared) == body


@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1", "windows-1252", "us-ascii", "koi8-r", "euc-jp", "klingon"])
def test_supersets_of_ascii_are_rewritten_in_their_bytes(charset: str) -> None:
    body = b'{"\xe4\xff": "' + U.encode() + b'"}'
    assert rewrite(body, charset=charset) == body.replace(U.encode(), f"{GATE}/orders".encode())
    assert rewrite(codecs.BOM_UTF8 + body) == codecs.BOM_UTF8 + body.replace(U.encode(), f"{GATE}/orders".encode())


@pytest.mark.parametrize(
    ("declared", "is_read"),
    [("utf-8", True), ("iso-8859-1", True), ("utf-16", True), ("klingon", True), ("shift_jis", False)],
)
def test_xml_may_declare_its_charset_itself(declared: str, *, is_read: bool) -> None:
    body = f'<?xml version="1.0" encoding="{declared}"?><a b="{U}"/>'
    assert (text(body, "xml") != body) == is_read
    assert rewrite(body.encode(), "xml", charset="utf-8") != body.encode()
    assert rewrite(body.encode("utf-16"), "xml") == body.replace(U, f"{GATE}/orders").encode("utf-16")


RUN = "lJrSjUUVEfGXW0tyvl-GZA"
JSON_BODY = f'{{"url": "{U}/1", "oicInstanceId": "{RUN}"}}'
XML_BODY = f'<?xml version="1.0" encoding="%s"?><a href="{U}/1"><b>é</b><oicInstanceId>{RUN}</oicInstanceId></a>'
CHARSETS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "iso-8859-1", "euc-jp", "cp1252")
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "gzip": lambda data: gzip.compress(data) + bytes(9),
    "x-gzip": lambda data: gzip.compress(b"") * 300 + gzip.compress(data),
    "deflate": gzip.compress,
}


@pytest.mark.parametrize("coding", PACKERS)
@pytest.mark.parametrize("media", ["application/json", "application/xml", "application/x-ndjson", "text/xml boundary"])
@pytest.mark.parametrize("declared", ["", *CHARSETS, "klingon"])
def test_the_id_is_found_in_every_rewritten_body(coding: str, media: str, declared: str) -> None:
    head = {b"content-type": f"{media}; charset={declared}".encode(), b"content-encoding": coding.encode()}
    plan = make_plan(head[b"content-type"], head[b"content-encoding"], ALL)
    assert plan is not None
    for real in CHARSETS:
        document = JSON_BODY if plan.kind == "json" else XML_BODY % declared if declared else XML_BODY % real
        body = PACKERS[coding](document.encode(real, "ignore"))
        whole = rewrite(body, plan.kind, charset=plan.charset, coding=plan.coding)
        assert U.encode() not in whole.replace(b"\0", b"")
        first = decode_beginning(head[b"content-encoding"], body, BODY_PART)
        rules = InstanceIdFinder.compile(DEFAULT_LOCATIONS)
        assert rules.find(head, [], media_kind(head[b"content-type"]), first) == RUN


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
        (b"application/json, application/json", None, RewritePlan("json", "", "")),
        (b"application/json charset=utf-8", None, RewritePlan("json", "", "")),
        (b"application/x-ndjson", None, RewritePlan("json", "", "", is_lines=True)),
        (b"application/json; charset=klingon", None, RewritePlan("json", "klingon", "")),
        (b"application/json; charset=base64", None, RewritePlan("json", "base64", "")),
        (b"application/json; charset=shift_jis", None, None),
        (b"application/json; charset=gb2312", None, None),
        (b"application/json; charset=iso-2022-jp", None, None),
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
