"""Finds the URLs of a document that goes by in pieces, and gives the gateway's names to those that are ours.

A decision looks at nothing but a window of fixed size before a URL and a bound behind its beginning: so the output is
the same however the document is cut, and what is held back is never more than the bound. Where nothing is ours, pieces
pass as the objects that they came as.
"""

from collections.abc import Iterator, Mapping
from re import Match, Pattern
from types import MappingProxyType
from typing import NamedTuple

from gateway.proxy.rewriting.contexts import REACH, SLASH, WINDOW, JsonContext, UrlContext, UrlSpan, YamlContext
from gateway.proxy.rewriting.decoded_url import (
    CODED_HOST,
    CODED_PATHS,
    TAIL,
    Edit,
    UnitRange,
    goes_on,
    level_of,
    parts_of,
    read,
    write,
)
from gateway.proxy.rewriting.fast_path import DELIMITERS, FastPath
from gateway.proxy.rewriting.url_map import Paths, RequestContext, UrlMap
from gateway.proxy.rewriting.xml_context import HtmlContext, XmlContext

CONTEXT = WINDOW + REACH  # bytes before a URL that tell where it stands
BOUND = 8 * 1024  # bytes from its beginning after which a URL counts as ended
TURN = 128
"""How many URLs are settled before others have their turn; one that goes the long way counts as `LONG_WAY`."""
LONG_WAY = 4
KNOWN = 256  # authorities remembered for one body
LONGEST_KNOWN = 300  # bytes of such a one

PLAIN_MARKS = (b":", b"/")

KINDS: Mapping[str, type[UrlContext]] = MappingProxyType(
    {"json": JsonContext, "xml": XmlContext, "html": HtmlContext, "yaml": YamlContext}
)


class UrlStart(NamedTuple):
    """The beginning of a URL: where it and what follows its slashes begin, and how it is spelt."""

    start: int
    after: int
    scheme: str | None
    level: int
    marks: tuple[bytes, bytes]

    @property
    def has_host(self) -> bool:
        """It is no path."""
        return self.after > self.start


class UrlScanner:
    """Renames the URLs of one body."""

    def __init__(self, kind: str, names: UrlMap, here: RequestContext) -> None:
        """`kind` as in KINDS."""
        self._judge = KINDS[kind]
        self._dialect = self._judge.dialect
        self._names = names
        self._here = here
        self._shortcut = FastPath(kind, names, here)
        self._context = b""
        self._held = b""
        self._known: dict[tuple[str | None, int, bytes], Paths] = {}
        self.changed = False

    def is_clear(self, piece: bytes) -> bool:
        """True when the next piece passes as it is."""
        return not self._held and self._dialect.is_clear(piece)

    def feed(self, piece: bytes) -> Iterator[list[bytes]]:
        """Gives what is settled by one more piece, in turns of bounded cost."""
        if not piece:
            return iter(())
        return iter((self.skip(piece),)) if self.is_clear(piece) else self._read(piece, final=False)

    def skip(self, piece: bytes) -> list[bytes]:
        """Passes a piece that `is_clear`."""
        self._context = piece[-CONTEXT:] if len(piece) >= CONTEXT else (self._context + piece)[-CONTEXT:]
        return [piece]

    def end(self) -> Iterator[list[bytes]]:
        """Gives what was held back, in turns of bounded cost."""
        return self._read(b"", final=True) if self._held else iter(())

    def _read(self, piece: bytes, *, final: bool) -> Iterator[list[bytes]]:
        is_behind = True
        while is_behind:
            start = len(self._context)
            text = b"".join((self._context, self._held, piece))
            swaps, held, is_behind = self._scan(text, start, final=final)
            is_whole = not (self._held or swaps) and held == len(text)
            self._held = text[held:]
            self._context = text[max(0, held - CONTEXT) : held]
            yield [piece] if is_whole else self._put(text, start, held, swaps)
            piece = b""

    def _put(self, text: bytes, start: int, end: int, swaps: list[Edit]) -> list[bytes]:
        pieces: list[bytes] = []
        for swap in swaps:
            pieces += (text[start : swap.start], swap.spelt)
            self.changed = self.changed or text[swap.start : swap.stop] != swap.spelt
            start = swap.stop
        pieces.append(text[start:end])
        whole = b"".join(pieces)
        return [whole] if whole else []

    def _scan(self, text: bytes, position: int, *, final: bool) -> tuple[list[Edit], int, bool]:
        """Gives what is to be replaced, from where on bytes are held back, and whether that is for another turn."""
        swaps: list[Edit] = []
        dialect, shortcut, judge = self._dialect, self._shortcut, self._judge(text, final=final)
        search = (dialect.find if dialect.has_escapes(text[position:]) else dialect.plain).search
        left = TURN
        while met := search(text, position):
            if left <= 0:
                return swaps, position, True
            after = met.end()
            settled = self._settle_ref(judge, after) if met.lastgroup == "ref" else shortcut.settle(text, after)
            left -= 1
            if settled is None and (exact := dialect.exact(text, position, met)):
                left -= LONG_WAY
                settled = self._settle(judge, exact, final=final)
                if settled is None:
                    return swaps, exact.start(), False
            position, swap = settled or (after, None)
            if swap is not None:
                swaps.append(swap)
        tail = None if final else self._dialect.tail.search(text, max(position, len(text) - TAIL))
        return swaps, len(text) if tail is None else tail.start(), False

    def _settle_ref(self, judge: UrlContext, after: int) -> UnitRange | None:
        """The same for a slash that begins a value."""
        if judge.text[after - 1] == SLASH and (settled := self._shortcut.settle_ref(judge, after, BOUND)):
            return settled
        return None if judge.may_be_reference(after) else (after, None)

    def _settle(self, judge: UrlContext, met: Match[bytes], *, final: bool) -> UnitRange | None:
        """Settles one URL; None where bytes are missing."""
        if met.group("colon", "slash") == PLAIN_MARKS and (
            settled := self._shortcut.settle_anywhere(judge, met.start(), met.end(), BOUND)
        ):
            return settled
        text, last = judge.text, met.start() + BOUND
        is_open = not final and last > len(text)
        found = self._begin(text, met, is_open=is_open)
        if found is None:
            return None
        end, paths = self._host(text, found, last)
        if is_open and found.has_host and goes_on(text, end):
            return None
        if not paths:
            return max(end, met.end()), None
        cut = text.find(b"'", found.after, last) if text[found.start - 1 : found.start] == b"'" else -1
        path = CODED_PATHS[found.level - 1] if found.level else self._dialect.path
        stop = _end(path, text, found.after, last if cut < 0 else cut)
        if is_open and goes_on(text, stop):
            return None
        return self._rename(judge, found, end, stop, paths)

    def _rename(self, judge: UrlContext, found: UrlStart, host: int, stop: int, paths: Paths) -> UnitRange | None:
        """Settles one whose authority, up to `host`, is known. Of the rest only the path is read: what follows it may
        be full of URLs.
        """
        text, after = judge.text, found.after
        spelt = read(text[after:stop], self._dialect, found.level)
        authority, path = parts_of(spelt.text)
        url = UrlSpan(
            found.start,
            after + spelt.end(len(authority) + len(path)),
            found.start + BOUND,
            found.scheme is None,
            not found.has_host,
        )
        # A mark that ends what was looked up may be one of the authority's own: it is another one then.
        name = None
        if after + spelt.end(len(authority)) == host:
            is_value = text[found.start - 1 : found.start] in DELIMITERS
            name = self._names.name_in_text(paths, path, self._here, has_host=found.has_host, is_value=is_value)
        verdict = False if name is None else judge.should_rewrite(url)
        if verdict is None:
            return None
        if name is None or not verdict:
            return (found.start + 1 if url.is_path else url.after), None
        head = write(name.head, self._dialect.written, found.level, found.marks)
        return url.after, Edit(found.start, after + spelt.end(len(authority) + name.taken), head)

    def _host(self, text: bytes, found: UrlStart, last: int) -> tuple[int, Paths]:
        """Gives the end of the authority, and what is there."""
        if not found.has_host:
            return found.after, self._at(found, b"/")  # which no authority is
        end = _end(CODED_HOST if found.level else self._dialect.host, text, found.after, last)
        return end, self._at(found, text[found.after : end])

    def _begin(self, text: bytes, met: Match[bytes], *, is_open: bool) -> UrlStart | None:
        secure, colon, slash, ref = met.groups()
        if ref is None:
            scheme = "https" if secure else "http"
            return UrlStart(met.start(), met.end(), scheme, level_of(colon, slash), (colon, slash))
        if is_open and goes_on(text, met.end()):
            return None
        second = self._dialect.slash.match(text, met.end())
        after = met.start() if second is None else second.end()
        return UrlStart(met.start(), after, None, 0, (b":", met[0]))

    def _at(self, found: UrlStart, raw: bytes) -> Paths:
        """What is at the authority of a URL: most of them in a body have one of few."""
        key = (found.scheme, found.level, raw)
        paths = self._known.get(key)
        if paths is None:
            authority = read(raw, self._dialect, found.level).text
            paths = self._names.prefixes_at(found.scheme, authority if found.has_host else None, self._here)
            if len(self._known) < KNOWN and len(raw) < LONGEST_KNOWN:
                self._known[key] = paths
        return paths


def _end(pattern: Pattern[bytes], text: bytes, start: int, last: int) -> int:
    met = pattern.match(text, start, last)
    return start if met is None else met.end()
