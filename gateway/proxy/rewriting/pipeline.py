"""A body on its way: content coding off, character set read, names changed, character set written."""

from collections.abc import Iterator

from gateway.proxy.rewriting.body_charsets import Transcoding, is_ascii_json, settle
from gateway.proxy.rewriting.body_codings import ContentDecoder
from gateway.proxy.rewriting.plan import RewritePlan
from gateway.proxy.rewriting.scanner import UrlScanner
from gateway.proxy.rewriting.swagger import (
    Description,
    JsonDescription,
    YamlDescription,
    is_clear_of_members,
    is_description,
)
from gateway.proxy.rewriting.url_map import RequestContext, UrlMap
from gateway.proxy.rewriting.url_syntax import JSON

STEP = 16 * 1024
"""Bytes that are searched at a time, if they may hold a URL."""
SHORT_STEP = 2 * 1024
"""Bytes that are searched at a time for members of a description, if there may be many."""
DESCRIPTIONS: dict[str, type[Description]] = {"json": JsonDescription, "yaml": YamlDescription}


SHORTEST = 4
"""Bytes: what is shorter is no URL in quotes."""


def has_no_urls(plan: RewritePlan, pieces: list[bytes]) -> bool:
    """True when a whole body of JSON surely is the same in the gateway's names, as most replies are: it needs no
    Rewriter. A body that this cannot be said of may be the same too.
    """
    if plan.kind != "json" or plan.coding:
        return False
    body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    if len(body) < SHORTEST:
        return True
    is_plain = is_ascii_json(plan.charset, body) and JSON.has_no_urls(body)
    return is_plain and (plan.is_lines or not is_description(body))


class Rewriter:
    """Rewrites one body as its plan says. What cannot be read passes as it is, from where it cannot."""

    def __init__(self, plan: RewritePlan, names: UrlMap, here: RequestContext) -> None:
        self._plan = plan
        self._names = names
        self._here = here
        self._chain: Pipeline | None = None
        self._inflating = ContentDecoder(plan.coding) if plan.coding else None
        self._transcoding: Transcoding | None = None
        self._first: bytes | None = b""
        self._lead = b""
        self._is_passing = False

    @property
    def changed(self) -> bool:
        """The output so far differs from the decoded input."""
        return self._chain is not None and self._chain.changed

    def feed(self, pieces: list[bytes]) -> Iterator[list[bytes]]:
        """Gives what the next pieces become, in steps of bounded size. Raises Malformed for a broken content coding."""
        if self._inflating is not None:
            return self._inflate(self._inflating, pieces)
        if self._first == b"" and len(pieces) == 1 and self._is_clear(pieces[0]):
            return iter((pieces,))
        return (out for piece in pieces for out in self._take(piece))

    def end(self) -> Iterator[list[bytes]]:
        """Gives the rest. Raises Malformed where a content coding is cut short."""
        if self._inflating is not None:
            self._inflating.end()
        if self._first:
            yield from self._begin(b"", final=True)
        if not self._is_passing and self._transcoding is not None:
            yield from self._transcode(self._transcoding, b"", final=True)
        elif not self._is_passing and self._chain is not None:
            yield from self._chain.end()

    def _is_clear(self, piece: bytes) -> bool:
        """True for the whole of a first piece that nothing is to be done with, as most replies are. The rest of the way
        is made ready only when there is more.
        """
        if not piece or self._plan.kind != "json" or not is_ascii_json(self._plan.charset, piece):
            return False
        if not ((self._plan.is_lines or is_clear_of_members(piece)) and JSON.is_clear(piece)):
            return False
        self._first = None
        self._lead = piece
        return True

    def _inflate(self, inflating: ContentDecoder, pieces: list[bytes]) -> Iterator[list[bytes]]:
        for piece in pieces:
            for block in inflating.feed(piece):
                if block:
                    yield from self._take(block)
                else:
                    yield []

    def _take(self, piece: bytes) -> Iterator[list[bytes]]:
        if not piece:
            return iter(())
        if self._first is not None:
            return self._begin(piece)
        if self._is_passing:
            return iter(([piece],))
        return self._rename(piece) if self._transcoding is None else self._transcode(self._transcoding, piece)

    def _begin(self, piece: bytes, *, final: bool = False) -> Iterator[list[bytes]]:
        """The first bytes tell the character set."""
        first = (self._first or b"") + piece
        settled = settle(self._plan.kind, self._plan.charset, first, final=final)
        if settled is None:
            self._first = first
            return iter(())
        self._first = None
        (charset,) = settled
        if charset is None:
            self._is_passing = True
        elif charset.codec:
            self._transcoding = Transcoding(charset)
        return self._take(first)

    def _rename(self, piece: bytes) -> Iterator[list[bytes]]:
        if self._chain is None:
            self._chain = Pipeline(self._plan, self._names, self._here)
            if self._lead:
                for _ in self._chain.feed(self._lead):  # it has been given already, for there is nothing in it
                    pass
                self._lead = b""
        return self._chain.feed(piece)

    def _transcode(self, transcoding: Transcoding, piece: bytes, *, final: bool = False) -> Iterator[list[bytes]]:
        text, unreadable = transcoding.read(piece, final=final)
        for out in self._rename(text) if text else ():
            yield [transcoding.write(part) for part in out]
        if not (unreadable or final):
            return
        self._is_passing = True
        for out in self._chain.end() if self._chain is not None else ():
            yield [transcoding.write(part) for part in out]
        if unreadable:
            yield [unreadable]


class Pipeline:
    """A text on its way: a description's members, then every URL."""

    def __init__(self, plan: RewritePlan, names: UrlMap, here: RequestContext) -> None:
        description = None if plan.is_lines else DESCRIPTIONS.get(plan.kind)
        self._description = description(names, here) if description else None
        self._scanner = UrlScanner(plan.kind, names, here)

    @property
    def changed(self) -> bool:
        """The output so far differs from the input."""
        return self._scanner.changed or (self._description is not None and self._description.changed)

    def feed(self, piece: bytes) -> Iterator[list[bytes]]:
        """Gives what is settled by one more piece, in steps."""
        description = self._description
        if description is None:
            yield from self._scan(piece)
            return
        # One with many members costs more than its bytes, and may give nothing for long: an empty step is a turn too.
        step = SHORT_STEP if len(piece) > SHORT_STEP and description.may_be_slow(piece) else len(piece)
        for start in range(0, len(piece), step):
            if start:
                yield []
            for part in description.feed(piece if step == len(piece) else piece[start : start + step]):
                yield from self._scan(part)

    def end(self) -> Iterator[list[bytes]]:
        """Gives what was held back."""
        for part in () if self._description is None else self._description.end():
            yield from self._scan(part)
        yield from filter(None, self._scanner.end())

    def _scan(self, text: bytes) -> Iterator[list[bytes]]:
        """Others have their turn between the steps: a text that is not clear is taken in short ones."""
        if len(text) > STEP and self._scanner.is_clear(text):
            yield self._scanner.skip(text)
            return
        for start in range(0, len(text), STEP):
            yield from filter(None, self._scanner.feed(text[start : start + STEP]))
