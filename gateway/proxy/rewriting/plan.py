"""Decide from Content-Type and Content-Encoding (RFC 9110 §8.3, §8.4) whether a response body is rewritten, and how."""

from functools import lru_cache

import msgspec

from gateway.content.charsets import find_codec, is_ascii_superset
from gateway.content.content_coding import parse_content_coding
from gateway.content.media_type import read_media_type


class RewritePlan(msgspec.Struct, frozen=True):
    """How a body is read."""

    kind: str
    """`json`, `xml`, `yaml` or `html`."""
    charset: str
    """The declared charset in lower case, or ""."""
    coding: str
    """The content coding `gzip` or `deflate`, which the output does not have, or ""."""
    is_lines: bool = False
    """Several JSON texts in a row, as in newline-delimited JSON."""


@lru_cache(maxsize=1024)
def make_plan(content_type: bytes | None, content_encoding: bytes | None, kinds: frozenset[str]) -> RewritePlan | None:
    """Return the plan, or None if the body passes unchanged: it is none of `kinds`, or its charset or content coding
    is not read (Shift_JIS, br, several codings).
    """
    coding = parse_content_coding(content_encoding)
    media = read_media_type(content_type)
    charset = media.parameters.get("charset", "").strip().lower()
    codec = find_codec(charset)
    if coding is None or media.document_kind not in kinds or (codec and not is_ascii_superset(codec)):
        return None
    return RewritePlan(media.document_kind, charset, coding, media.is_json_lines)
