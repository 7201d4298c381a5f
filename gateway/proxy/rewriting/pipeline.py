"""Rewrite one body: undo its content coding, detect its charset, replace its URLs, restore its charset."""

import re
from collections.abc import Iterator

from gateway.content.charsets import UTF_16, Utf16Transcoder, detect_charset, is_ascii_superset, is_wide_text
from gateway.content.content_coding import ContentDecoder
from gateway.proxy.rewriting.plan import RewritePlan
from gateway.proxy.rewriting.scanner import UrlScanner
from gateway.proxy.rewriting.swagger import FIELD, FIELD_SIZE, Description, JsonDescription, YamlDescription
from gateway.proxy.rewriting.url_map import RequestContext, UrlMap
from gateway.proxy.routing import UpstreamUrl

SHORT_STEP = 2 * 1024
"""Bytes that are searched at a time for members of a Swagger document, if there may be many."""
DESCRIPTIONS: dict[str, type[Description]] = {"json": JsonDescription, "yaml": YamlDescription}
MIN_TEXT = 4
"""Bytes: a shorter body contains no URL in quotes."""
_WIDE = rb"\xff\xfe|\xfe\xff|[^\0]{0,3}+\0"
UNUSUAL = {
    "json": re.compile(b"%b|%b" % (_WIDE, FIELD.pattern)).match,
    "xml": re.compile(_WIDE).match,
    "html": re.compile(_WIDE).match,
    "yaml": re.compile(b"").match,
}
"""By kind: matches the beginning of a body that may be a Swagger document or in a wide charset."""


def has_no_urls(plan: RewritePlan, pieces: list[bytes], url_map: UrlMap, upstream: UpstreamUrl) -> bool:
    """Return whether a whole body certainly contains nothing to rewrite, as most responses: it needs no Rewriter.

    False means only that the body must be searched.
    """
    if plan.coding:
        return False
    body = b"".join(pieces)
    if UNUSUAL[plan.kind](body, 0, FIELD_SIZE) is not None and _is_unusual(plan, body):
        return False
    return not url_map.searches[plan.kind, upstream].find(body)


def _is_unusual(plan: RewritePlan, body: bytes) -> bool:
    """Return whether a body may be a Swagger document, or is in a wide charset, given its beginning."""
    if len(body) < MIN_TEXT:
        return False
    may_be_description = plan.kind in DESCRIPTIONS and not plan.is_lines
    return is_wide_text(body) or (may_be_description and body.find(b"swagger") >= 0)


class Rewriter:
    """Rewrites one body as its plan describes. Bytes that cannot be read pass unchanged, with all that follow them."""

    def __init__(self, plan: RewritePlan, url_map: UrlMap, context: RequestContext) -> None:
        self._plan = plan
        self._url_map = url_map
        self._context = context
        self._pipeline: Pipeline | None = None
        self._decoder = ContentDecoder(plan.coding) if plan.coding else None
        self._transcoder: Utf16Transcoder | None = None
        self._beginning: bytes | None = b""  # None once the charset is known
        self._is_unreadable = False

    @property
    def changed(self) -> bool:
        """Whether the output so far differs from the decoded input."""
        return self._pipeline is not None and self._pipeline.changed

    def feed(self, pieces: list[bytes]) -> Iterator[list[bytes]]:
        """Yield the output for the next pieces in steps of bounded size; an empty step only lets other calls run.

        Raise UnreadableText if the content coding is broken.
        """
        if self._decoder is not None:
            return self._decode(self._decoder, pieces)
        return (out for piece in pieces for out in self._rewrite(piece))

    def pass_unchanged(self, piece: bytes | memoryview) -> tuple[bytes, int] | None:
        """Search a piece of a large body. If nothing in it is rewritten, as in most, return the bytes that were held
        back before it, and the number of its bytes that can be sent now; else return None: `feed` rewrites it.
        """
        if self._decoder is not None:
            return None
        if self._is_unreadable:
            return b"", len(piece)
        if self._pipeline is None or self._transcoder is not None:
            return None
        return self._pipeline.pass_unchanged(piece)

    def end(self) -> Iterator[list[bytes]]:
        """Yield the rest. Raise UnreadableText if the content coding is truncated."""
        if self._decoder is not None:
            self._decoder.end()
        if self._beginning:
            yield from self._begin(b"", last=True)
        if self._is_unreadable:
            return
        if self._transcoder is not None:
            yield from self._transcode(self._transcoder, b"", last=True)
        elif self._pipeline is not None:
            yield from self._pipeline.end()

    def _decode(self, decoder: ContentDecoder, pieces: list[bytes]) -> Iterator[list[bytes]]:
        for piece in pieces:
            for part in decoder.feed(piece):
                if part:
                    yield from self._rewrite(part)
                else:
                    yield []

    def _rewrite(self, piece: bytes) -> Iterator[list[bytes]]:
        if not piece:
            return iter(())
        if self._beginning is not None:
            return self._begin(piece)
        if self._is_unreadable:
            return iter(([piece],))
        if self._transcoder is not None:
            return self._transcode(self._transcoder, piece)
        return self._replace_urls(piece)

    def _begin(self, piece: bytes, *, last: bool = False) -> Iterator[list[bytes]]:
        """Detect the charset in the first bytes."""
        first = (self._beginning or b"") + piece
        is_markup = self._plan.kind in {"xml", "html"}
        charset = detect_charset(first, self._plan.charset, last=last, is_markup=is_markup)
        if charset is None:
            self._beginning = first
            return iter(())
        self._beginning = None
        if charset in UTF_16:
            self._transcoder = Utf16Transcoder(charset)
        else:
            self._is_unreadable = not is_ascii_superset(charset)
        return self._rewrite(first)

    def _replace_urls(self, piece: bytes) -> Iterator[list[bytes]]:
        if self._pipeline is None:
            self._pipeline = Pipeline(self._plan, self._url_map, self._context)
        return self._pipeline.feed(piece)

    def _transcode(self, transcoder: Utf16Transcoder, piece: bytes, *, last: bool = False) -> Iterator[list[bytes]]:
        text, unreadable = transcoder.decode(piece, last=last)
        for out in self._replace_urls(text) if text else ():
            yield [transcoder.encode(part) for part in out]
        if not (unreadable or last):
            return
        self._is_unreadable = True
        for out in self._pipeline.end() if self._pipeline is not None else ():
            yield [transcoder.encode(part) for part in out]
        if unreadable:
            yield [unreadable]


class Pipeline:
    """Rewrites a text: first the members of a Swagger document, then every URL."""

    def __init__(self, plan: RewritePlan, url_map: UrlMap, context: RequestContext) -> None:
        description = None if plan.is_lines else DESCRIPTIONS.get(plan.kind)
        self._description = description(url_map, context) if description else None
        self._scanner = UrlScanner(plan.kind, url_map, context)

    @property
    def changed(self) -> bool:
        """Whether the output so far differs from the input."""
        return self._scanner.changed or (self._description is not None and self._description.changed)

    def feed(self, piece: bytes) -> Iterator[list[bytes]]:
        """Yield the output that is decided with this piece, in steps."""
        description = self._description
        if description is None:
            yield from self._scanner.feed(piece)
            return
        # A piece with many members costs more than its bytes, and may have no output: an empty step lets others run.
        is_slow = (
            len(piece) > SHORT_STEP and isinstance(description, JsonDescription) and description.may_be_slow(piece)
        )
        step = SHORT_STEP if is_slow else len(piece)
        for start in range(0, len(piece), step):
            if start:
                yield []
            for part in description.feed(piece if step == len(piece) else piece[start : start + step]):
                yield from self._scanner.feed(part)

    def pass_unchanged(self, piece: bytes | memoryview) -> tuple[bytes, int] | None:
        """Do what `Rewriter.pass_unchanged` does."""
        if self._description is not None and not self._description.is_done:
            return None
        return self._scanner.pass_unchanged(piece)

    def end(self) -> Iterator[list[bytes]]:
        """Yield what was held back."""
        for part in () if self._description is None else self._description.end():
            yield from self._scanner.feed(part)
        yield from filter(None, self._scanner.end())
