"""Whether a reply's body can be rewritten, and as what: Content-Type and -Encoding tell (RFC 9110 §8.3, §8.4)."""

import re
import zlib
from functools import lru_cache
from typing import NamedTuple

from gateway.proxy.rewriting.body_charsets import charset_of

TYPE = re.compile(
    r"[ \t]*([!#$%&'*+\-.^_`|~0-9a-z]+)/([!#$%&'*+\-.^_`|~0-9a-z]+)[ \t]*(;.*)?", re.IGNORECASE | re.DOTALL
)
CHARSET = re.compile(r""";[ \t]*charset[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))""", re.IGNORECASE)
LINES = (
    "x-ndjson",
    "ndjson",
    "jsonl",
    "x-jsonl",
    "jsonlines",
    "x-jsonlines",
    "json-seq",
    "x-json-stream",
    "stream+json",
)
"""Subtypes of many JSON texts in a row, none of which is a description."""
SUBTYPES = {
    "json": "json", "xml": "xml", "yaml": "yaml", "x-yaml": "yaml", "html": "html", "x-json": "json",
    "vnd.oai.openapi": "yaml", "xhtml+xml": "html", **dict.fromkeys(LINES, "json"),
}  # fmt: skip
SUFFIXES = {"json": "json", "xml": "xml", "yaml": "yaml"}
TEXTUAL = frozenset({"application", "text"})
CODINGS = {"": "", "identity": "", "gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}
TEXT = re.compile(rb"[\x09\x0a\x0d\x20-\x7e]{8}")  # what no compressed body begins with, though a bare one could
GZIP = b"\x1f\x8b\x08"  # RFC 1952 §2.3.1


class RewritePlan(NamedTuple):
    """How a body is read."""

    kind: str
    """`json`, `xml`, `yaml` or `html`."""
    charset: str
    """As declared, in lower case; empty where the body itself must tell."""
    coding: str
    """Empty, `gzip` or `deflate`: the output is without it."""
    is_lines: bool = False
    """JSON texts in a row, as newline-delimited JSON has them."""


@lru_cache(maxsize=1024)
def make_plan(content_type: bytes | None, content_encoding: bytes | None, kinds: frozenset[str]) -> RewritePlan | None:
    """Gives the plan, or None where the body passes unchanged: it is none of `kinds`, or in a character set or
    content coding that is not read here (br, zstd, several ones).
    """
    coding = CODINGS.get((content_encoding or b"").decode("latin-1").strip(" \t").lower())
    parts = TYPE.fullmatch((content_type or b"").decode("latin-1"))
    if coding is None or parts is None:
        return None
    kind = _kind(parts[1].lower(), parts[2].lower())
    said = CHARSET.search(parts[3] or "")
    charset = "" if said is None else (said[1] or said[2] or "").strip().lower()
    if kind not in kinds or (charset and charset_of(charset) is None):
        return None
    return RewritePlan(kind, charset, coding, parts[2].lower() in LINES)


def begins_readable(plan: RewritePlan, first: bytes) -> bool:
    """True when a body that begins so can be what its head says it is; else it passes unchanged, head and all."""
    if plan.coding == "gzip":
        return first[: len(GZIP)] == GZIP[: len(first)]
    if plan.coding == "deflate" and TEXT.match(first):
        return False
    return plan.coding != "deflate" or any(_inflates(first, window) for window in windows(first))


def windows(first: bytes) -> tuple[int, ...]:
    """For zlib, the ways in which a `deflate` body may be read that begins so: as RFC 9110 §8.4.1.2 says, with the zlib
    format around it, or bare, as some servers send it.
    """
    if len(first) < 2:
        return (zlib.MAX_WBITS, -zlib.MAX_WBITS)
    is_zlib = first[0] & 0x0F == zlib.DEFLATED and int.from_bytes(first[:2], "big") % 31 == 0
    return (zlib.MAX_WBITS,) if is_zlib else (-zlib.MAX_WBITS,)


def _inflates(first: bytes, window: int) -> bool:
    try:
        zlib.decompressobj(window).decompress(first, 1024)
    except zlib.error:
        return False
    return True


def _kind(main: str, sub: str) -> str:
    suffix = SUFFIXES.get(sub.rpartition("+")[2]) if "+" in sub else None
    if main in TEXTUAL:
        return SUBTYPES.get(sub) or suffix or ""
    return suffix or "" if main != "image" else ""
