"""Find the URLs of a document that passes in pieces, and replace those of our upstreams.

A decision depends only on a window of fixed size before a URL and a limit behind its beginning: the output is the same
however the document is cut, and never more than the limit is held back. Pieces without such URLs pass as the same
objects.
"""

from collections.abc import Iterator, Mapping
from re import Match, Pattern
from types import MappingProxyType
from typing import NamedTuple

from gateway.proxy.rewriting.contexts import REACH, SLASH, WINDOW, JsonContext, UrlContext, UrlSpan, YamlContext
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
from gateway.proxy.rewriting.fast_path import DELIMITERS, FastPath
from gateway.proxy.rewriting.url_map import Paths, RequestContext, UrlMap
from gateway.proxy.rewriting.xml_context import HtmlContext, XmlContext

CONTEXT = WINDOW + REACH  # bytes before a URL that decide whether it is rewritten
MAX_URL = 8 * 1024  # bytes after which a URL counts as ended
URLS_PER_STEP = 128
"""URLs that are decided before other calls run. One off the fast path counts as `SLOW_URL`."""
SLOW_URL = 4
MAX_CACHED = 256  # authorities per body
MAX_CACHED_SIZE = 300  # bytes of an authority

PLAIN_MARKS = (b":", b"/")

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
    marks: tuple[bytes, bytes]
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
        self._url_map = url_map
        self._request = context
        self._fast_path = FastPath(kind, url_map, context)
        self._before = b""  # the last bytes of the output's source
        self._held = b""
        self._cache: dict[tuple[str | None, bool, bytes], Paths] = {}
        self.changed = False

    def is_clear(self, piece: bytes) -> bool:
        """Return whether the next piece passes as it is."""
        return not self._held and self._syntax.is_clear(piece)

    def feed(self, piece: bytes) -> Iterator[list[bytes]]:
        """Yield the output that is decided with this piece, in steps of bounded cost."""
        if not piece:
            return iter(())
        return iter((self.skip(piece),)) if self.is_clear(piece) else self._rewrite(piece, final=False)

    def skip(self, piece: bytes) -> list[bytes]:
        """Pass a piece that `is_clear`."""
        self._before = piece[-CONTEXT:] if len(piece) >= CONTEXT else (self._before + piece)[-CONTEXT:]
        return [piece]

    def end(self) -> Iterator[list[bytes]]:
        """Yield what was held back, in steps of bounded cost."""
        return self._rewrite(b"", final=True) if self._held else iter(())

    def _rewrite(self, piece: bytes, *, final: bool) -> Iterator[list[bytes]]:
        has_more = True
        while has_more:
            start = len(self._before)
            text = b"".join((self._before, self._held, piece))
            edits, end, has_more = self._scan(text, start, final=final)
            is_unchanged = not (self._held or edits) and end == len(text)
            self._held = text[end:]
            self._before = text[max(0, end - CONTEXT) : end]
            yield [piece] if is_unchanged else self._apply(text, start, end, edits)
            piece = b""

    def _apply(self, text: bytes, start: int, end: int, edits: list[Edit]) -> list[bytes]:
        pieces: list[bytes] = []
        for edit in edits:
            pieces += (text[start : edit.start], edit.new)
            self.changed = self.changed or text[edit.start : edit.stop] != edit.new
            start = edit.stop
        pieces.append(text[start:end])
        whole = b"".join(pieces)
        return [whole] if whole else []

    def _scan(self, text: bytes, position: int, *, final: bool) -> tuple[list[Edit], int, bool]:
        """Return the edits, the offset from which bytes are held back, and whether another step can decide them."""
        edits: list[Edit] = []
        syntax, fast_path, context = self._syntax, self._fast_path, self._context_type(text, final=final)
        search = (syntax.find if syntax.has_escapes(text[position:]) else syntax.plain).search
        left = URLS_PER_STEP
        while match := search(text, position):
            if left <= 0:
                return edits, position, True
            after = match.end()
            result = self._decide_ref(context, after) if match.lastgroup == "ref" else fast_path.decide(text, after)
            left -= 1
            if result is None and (exact := syntax.find_exact(text, position, match)):
                left -= SLOW_URL
                result = self._decide(context, exact, final=final)
                if result is None:
                    return edits, exact.start(), False
            position, edit = result or (after, None)
            if edit is not None:
                edits.append(edit)
        tail = None if final else syntax.tail.search(text, max(position, len(text) - MAX_START))
        return edits, len(text) if tail is None else tail.start(), False

    def _decide_ref(self, context: UrlContext, after: int) -> ScanResult | None:
        """Decide a slash that may begin a value; None if that needs `_decide`."""
        if context.text[after - 1] == SLASH and (result := self._fast_path.decide_ref(context, after, MAX_URL)):
            return result
        return None if context.may_be_reference(after) else (after, None)

    def _decide(self, context: UrlContext, match: Match[bytes], *, final: bool) -> ScanResult | None:
        """Decide one URL; None if more bytes are needed."""
        if match.group("colon", "slash") == PLAIN_MARKS and (
            result := self._fast_path.decide_anywhere(context, match.start(), match.end(), MAX_URL)
        ):
            return result
        text, last = context.text, match.start() + MAX_URL
        is_open = not final and last > len(text)
        url = self._read_start(text, match, is_open=is_open)
        if url is None:
            return None
        host_end, paths = self._read_host(text, url, last)
        if is_open and url.has_host and may_continue(text, host_end):
            return None
        if not paths:
            return max(host_end, match.end()), None
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
        # If an escaped delimiter ends the authority, another authority was looked up.
        replacement = None
        if after + decoded.raw_size(len(authority)) == host_end:
            is_value = text[url.start - 1 : url.start] in DELIMITERS
            replacement = self._url_map.replacement_in_text(
                paths, path, self._request, has_host=url.has_host, is_value=is_value
            )
        answer = False if replacement is None else context.should_rewrite(span)
        if answer is None:
            return None
        if replacement is None or not answer:
            return (url.start + 1 if span.is_path else span.after), None
        head = encode_head(replacement.head, self._syntax.to_escape, url.marks, is_coded=url.is_coded)
        stop = after + decoded.raw_size(len(authority) + replacement.taken)
        return span.after, Edit(url.start, stop, head)

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
        if is_open and may_continue(text, match.end()):
            return None
        second = self._syntax.slash.match(text, match.end())
        after = match.start() if second is None else second.end()
        return UrlStart(match.start(), after, None, is_coded=False, marks=(b":", match[0]))

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


def _match_end(pattern: Pattern[bytes], text: bytes, start: int, last: int) -> int:
    match = pattern.match(text, start, last)
    return start if match is None else match.end()
