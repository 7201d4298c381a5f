"""Replace the URLs of our upstreams in a document that passes in pieces.

Most links have their usual spelling (`usual_links`). Other places with a host or path of ours are found by `literals`.
What is before such a place, in any encoding, makes it a URL or not. A decision depends only on a window of fixed size
before a URL and a limit behind its beginning: the output is the same however the document is cut, and never more than
the limit is held back. Pieces without such URLs pass as the same objects.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from heapq import merge
from itertools import groupby
from re import Match, Pattern
from types import MappingProxyType
from typing import NamedTuple

from gateway.proxy.rewriting.contexts import (
    MAX_URL,
    REACH,
    WINDOW,
    JsonContext,
    UrlContext,
    UrlSpan,
    YamlContext,
)
from gateway.proxy.rewriting.decoded_url import (
    CODED_HOST,
    CODED_PATH,
    MAX_START,
    Edit,
    ScanResult,
    decode_url,
    encode_head,
    is_percent_encoded,
    may_continue,
    split_url,
)
from gateway.proxy.rewriting.literals import NEIGHBOURS
from gateway.proxy.rewriting.url_map import Paths, RequestContext, UrlMap
from gateway.proxy.rewriting.usual_links import MAX_CACHED, UsualLinks
from gateway.proxy.rewriting.xml_context import HtmlContext, XmlContext

STEP = 32 * 1024  # bytes that are searched at a time, if they may contain a URL
CONTEXT = WINDOW + REACH  # bytes before a URL that decide whether it is rewritten
MAX_REACH = CONTEXT - NEIGHBOURS - 1
"""Bytes of the beginning of a URL, with which the last `CONTEXT` bytes of a piece decide how many are held back."""
URLS_PER_STEP = 128
"""URLs that are decided one by one before other calls run."""
PLACE_COST = 0.25  # of a URL, for a place without one
MAX_CACHED_SIZE = 300  # bytes of an authority
DELIMITERS = frozenset((b'"', b"'", b">"))
"""The character before a URL that is a value; any other URL is in running text."""

CONTEXTS: Mapping[str, type[UrlContext]] = MappingProxyType(
    {"json": JsonContext, "xml": XmlContext, "html": HtmlContext, "yaml": YamlContext}
)


class UrlStart(NamedTuple):
    """The beginning of a URL."""

    start: int
    after: int
    """The end of its two slashes."""
    scheme: str | None
    is_coded: bool
    """Whether it is percent-encoded."""
    colon_and_slash: tuple[bytes, bytes]
    """Its colon and its first slash."""

    @property
    def has_host(self) -> bool:
        """Whether it is more than a path."""
        return self.after > self.start


class UrlScanner:
    """Replaces the URLs of one body."""

    def __init__(self, kind: str, url_map: UrlMap, context: RequestContext) -> None:
        """Take a kind of `CONTEXTS`."""
        self._context_type = CONTEXTS[kind]
        self._syntax = self._context_type.syntax
        self._literals = url_map.searches[kind, context.upstream]
        self._url_map = url_map
        self._request = context
        new_beginning = partial(url_map.new_beginning, syntax=self._syntax, context=context)
        self._links = UsualLinks(self._context_type, self._literals, new_beginning)
        self._before = b""  # the last bytes of the output's source
        self._held = b""
        self._has_urls = False
        self._cache: dict[tuple[str | None, bool, bytes], Paths] = {}
        self._has_edits = False

    @property
    def changed(self) -> bool:
        """Whether the output differs from its source so far."""
        return self._has_edits or self._links.changed

    def feed(self, piece: bytes) -> Iterator[list[bytes]]:
        """Yield the output that is decided with this piece, in steps of bounded cost."""
        if len(piece) > STEP and not self._has_urls and not self._find(data := self._held + piece):
            yield self._pass(data)
            return
        for start in range(0, len(piece), STEP):
            yield from self._rewrite(piece[start : start + STEP], final=False)

    def pass_unchanged(self, piece: bytes | memoryview) -> tuple[bytes, int] | None:
        """Search a large piece. If nothing in it is replaced, return the bytes that were held back before it, and the
        number of its bytes that are decided; else return None: `feed` must have it.
        """
        held, size = self._held, len(piece)
        if self._has_urls or size < STEP or self._literals.reach > MAX_REACH:
            return None
        # What begins in the bytes that were held back ends in the first bytes of the piece.
        beginning = self._before[-NEIGHBOURS:] + held + piece[:CONTEXT]
        literals = self._literals
        if literals.find(beginning) or (literals.may_be_in(piece) and literals.find(bytes(piece))):
            self._has_urls = True
            self._links.forget()
            return None
        end = size - CONTEXT + literals.open_end(bytes(piece[-CONTEXT:]))
        self._held, self._before = bytes(piece[end:]), bytes(piece[end - CONTEXT : end])
        return held, end

    def end(self) -> Iterator[list[bytes]]:
        """Yield what was held back, in steps of bounded cost."""
        return self._rewrite(b"", final=True) if self._held else iter(())

    def _rewrite(self, piece: bytes, *, final: bool) -> Iterator[list[bytes]]:
        has_more = True
        while has_more:
            data = self._held + piece
            piece, has_more = b"", False
            out, position, links = (
                self._links.replace(self._before, data, final=final) if self._has_urls else ([], 0, [])
            )
            if not (patterns := self._find(data, position)):
                self._has_urls = bool(out)
                yield out + self._pass(data, position, final=final)
                continue
            if not self._has_urls:
                self._has_urls = has_more = True
                self._links.forget()
                self._held = data
                continue
            text, start = self._before + data, len(self._before)
            edits, stop, has_more = self._scan(text, patterns, start + position, links, final=final)
            out += self._apply(text, start + position, stop, edits)
            self._keep(data, stop - start)
            yield out

    def _find(self, data: bytes, position: int = 0) -> list[Pattern[bytes]]:
        """Return the patterns for places of URLs in the next bytes, from a position on."""
        before = self._before[-NEIGHBOURS:] + data[max(0, position - NEIGHBOURS) : position]
        return self._literals.find(data[position:], before[-NEIGHBOURS:])

    def _pass(self, data: bytes, position: int = 0, *, final: bool = False) -> list[bytes]:
        """Return bytes without places from a position on, less those that may be the beginning of one."""
        end = len(data) if final else self._literals.open_end(data, position, self._before)
        self._keep(data, end)
        return [data[position:end]] if end > position else []

    def _keep(self, data: bytes, end: int) -> None:
        """Hold back the data from an offset on, and keep what decides about later URLs."""
        self._held = data[end:]
        self._before = data[end - CONTEXT : end] if end >= CONTEXT else (self._before + data[:end])[-CONTEXT:]

    def _apply(self, text: bytes, start: int, end: int, edits: list[Edit]) -> list[bytes]:
        pieces: list[bytes] = []
        for edit in edits:
            pieces += (text[start : edit.start], edit.new)
            self._has_edits = self._has_edits or text[edit.start : edit.stop] != edit.new
            start = edit.stop
        pieces.append(text[start:end])
        whole = b"".join(pieces)
        return [whole] if whole else []

    def _scan(
        self, text: bytes, patterns: list[Pattern[bytes]], position: int, links: list[Edit], *, final: bool
    ) -> tuple[list[Edit], int, bool]:
        """Return the edits, the offset from which bytes are held back, and whether another step can decide them. Take
        the edits of links that are decided, the last one first.
        """
        edits: list[Edit] = []
        context = self._context_type(text, final=final)
        offset = max(0, position - NEIGHBOURS)
        left: float = URLS_PER_STEP
        for place in _places(text[offset:].lower(), patterns):
            after = offset + place
            while links and links[-1].start < after:
                edits.append(links.pop())
                position = max(position, edits[-1].stop)
            if after <= position:
                continue
            if left <= 0:
                return edits, max(position, after - MAX_START), True
            begin = self._start_at(text, position, after)
            if begin is None:
                left -= PLACE_COST
                continue
            result = self._decide(context, begin, final=final)
            left -= 1
            if result is None:
                return edits, max(position, begin.start()), False
            position, edit = result
            if edit is not None:
                edits.append(edit)
        if links:
            position = max(position, links[0].stop)
            edits += reversed(links)
        return edits, len(text) if final else self._literals.open_end(text, position), False

    def _start_at(self, text: bytes, position: int, after: int) -> Match[bytes] | None:
        """Return the beginning of the URL whose slashes end at `after`, if it is one."""
        search = self._syntax.start.search
        return search(text, max(position, after - NEIGHBOURS), after) or search(
            text, max(position, after - MAX_START), after
        )

    def _decide(self, context: UrlContext, match: Match[bytes], *, final: bool) -> ScanResult | None:
        """Decide one URL; None if more bytes are needed."""
        text, last = context.text, match.start() + MAX_URL
        is_open = not final and last > len(text)
        url = self._read_start(text, match, is_open=is_open)
        if url is None:
            return None
        host_end, paths = self._read_host(text, url, last)
        if is_open and url.has_host and may_continue(text, host_end):
            return None
        if not paths:
            return url.after, None
        quote = text.find(b"'", url.after, last) if text[url.start - 1 : url.start] == b"'" else -1
        pattern = CODED_PATH if url.is_coded else self._syntax.path
        path_end = _match_end(pattern, text, url.after, last if quote < 0 else quote)
        if is_open and may_continue(text, path_end):
            return None
        return self._replace(context, url, host_end, path_end, paths)

    def _replace(
        self, context: UrlContext, url: UrlStart, host_end: int, path_end: int, paths: Paths
    ) -> ScanResult | None:
        """Decide a URL whose authority is known. Only its path is read: the rest may be full of other URLs."""
        text, after = context.text, url.after
        decoded = decode_url(text[after:path_end], self._syntax, is_coded=url.is_coded)
        authority, path = split_url(decoded.text)
        span = UrlSpan(
            url.start,
            after + decoded.raw_size(len(authority) + len(path)),
            url.start + MAX_URL,
            url.scheme is None,
            not url.has_host,
        )
        if after + decoded.raw_size(len(authority)) != host_end:  # an escaped delimiter ends the authority
            return url.after, None
        is_value = text[url.start - 1 : url.start] in DELIMITERS
        replacement = self._url_map.replacement_in_text(
            paths, path, self._request, has_host=url.has_host, is_value=is_value
        )
        answer = False if replacement is None else context.should_rewrite(span)
        if answer is None:
            return None
        if replacement is None or not answer:
            return after, None
        head = encode_head(replacement.head, self._syntax.to_escape, url.colon_and_slash, is_coded=url.is_coded)
        stop = after + decoded.raw_size(len(authority) + replacement.taken)
        return stop, Edit(url.start, stop, head)  # its path may contain other URLs

    def _read_host(self, text: bytes, url: UrlStart, last: int) -> tuple[int, Paths]:
        """Return the end of the authority, and the upstream paths there."""
        if not url.has_host:
            return url.after, self._paths_at(url, b"/")  # a key that is no authority
        end = _match_end(CODED_HOST if url.is_coded else self._syntax.host, text, url.after, last)
        return end, self._paths_at(url, text[url.after : end])

    def _read_start(self, text: bytes, match: Match[bytes], *, is_open: bool) -> UrlStart | None:
        secure, colon, slash, ref = match.groups()
        if ref is None:
            scheme = "https" if secure else "http"
            return UrlStart(match.start(), match.end(), scheme, is_percent_encoded(colon, slash), (colon, slash))
        ref_end = match.start("ref")
        if is_open and may_continue(text, ref_end):
            return None
        second = self._syntax.slash.match(text, ref_end)
        after = match.start() if second is None else second.end()
        return UrlStart(
            match.start(), after, None, is_coded=False, colon_and_slash=(b":", text[match.start() : ref_end])
        )

    def _paths_at(self, url: UrlStart, raw: bytes) -> Paths:
        """Return the upstream paths at an authority. Most URLs of a body have one of few authorities."""
        key = (url.scheme, url.is_coded, raw)
        paths = self._cache.get(key)
        if paths is None:
            authority = decode_url(raw, self._syntax, is_coded=url.is_coded).text
            paths = self._url_map.paths_at(url.scheme, authority if url.has_host else None, self._request)
            if len(self._cache) < MAX_CACHED and len(raw) < MAX_CACHED_SIZE:
                self._cache[key] = paths
        return paths


def _places(text: bytes, patterns: list[Pattern[bytes]]) -> Iterable[int]:
    """Return the positions of the group of all matches, ascending."""
    found = [(match.start(match.lastindex or 0) for match in pattern.finditer(text)) for pattern in patterns]
    return (place for place, _ in groupby(merge(*found))) if len(found) > 1 else found[0]


def _match_end(pattern: Pattern[bytes], text: bytes, start: int, last: int) -> int:
    match = pattern.match(text, start, last)
    return start if match is None else match.end()
