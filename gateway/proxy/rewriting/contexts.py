"""Where in a document a URL stands, and whether that is a place where a URL is renamed.

What tells is its opening: the quote that its string begins with, the last `<` before it, its line. It is looked for in
a window before the URL, and read with what stands in a reach before it: the same bytes however the body arrived in
pieces. What began longer ago is taken for plain text. A judge is asked about one URL of a text after the other, and
remembers how far it has read: so that many URLs behind one opening cost no more than its bytes.
"""

import json
import re
from abc import ABC, abstractmethod
from typing import NamedTuple

from gateway.proxy.rewriting.decoded_url import LOOK_AHEAD, UrlSyntax, goes_on
from gateway.proxy.rewriting.url_syntax import JSON, YAML

WINDOW = 8 * 1024  # bytes before a URL within which its opening is looked for
REACH = 8 * 1024  # bytes before an opening that tell what it is
BLANK = b" \t\r\n"
LONGEST_ESCAPE = 64  # backslashes in a row
QUOTES = (b'"', b"'")
SLASH, BACKSLASH, COLON = b"/\\:"

# Members and attributes whose whole value may be a path: what their names promise, and nothing that only may be a URL.
LINKS = frozenset(b"href url redirect-url location content-location self".split())
# OAuth endpoints of a description are the identity domain's, wherever they are (OpenAPI 3.0 §4.7.29, Swagger 2.0).
KEPT = frozenset(b"tokenurl authorizationurl refreshurl openidconnecturl".split())


class UrlSpan(NamedTuple):
    """Where a URL is in a text."""

    start: int
    after: int
    """The end of its path."""
    last: int
    """The look behind it goes no further."""
    is_ref: bool = False
    """A slash at the beginning of a value, not a scheme."""
    is_path: bool = False
    """One slash alone: no host."""


ContextAnswer = bool | None
"""True: to be renamed; None: more bytes are needed."""


class UrlContext(ABC):
    """Tells of each URL of a text whether it stands where it is renamed; asked from the beginning to the end."""

    dialect: UrlSyntax

    def __init__(self, text: bytes, *, final: bool) -> None:
        """`final`: nothing follows the text."""
        self.text = text
        self._final = final
        self._run = (0, -1)

    @abstractmethod
    def may_be_reference(self, after: int) -> bool:
        """False where the slash that ends at `after` surely begins no value that is renamed."""

    @abstractmethod
    def should_rewrite(self, url: UrlSpan) -> ContextAnswer:
        """Settles one URL."""

    def is_open(self, url: UrlSpan) -> bool:
        """More of what may be looked at may still arrive."""
        return not self._final and url.last > len(self.text)

    def end_of(self, url: UrlSpan) -> int | None:
        """The end of all of a URL; None where it may go on."""
        start, end = self._run
        if not start <= url.after <= end:
            start = end = url.after
        met = self.dialect.run.match(self.text, end, url.last)
        end = end if met is None else met.end()
        self._run = start, end
        if self.text[url.start - 1 : url.start] == b"'":
            cut = self.text.find(b"'", url.after, end)
            end = end if cut < 0 else cut
        return None if self.is_open(url) and goes_on(self.text, end) else end

    def ends_at(self, url: UrlSpan, end: bytes) -> ContextAnswer:
        """The value is nothing but this URL, as far as may be looked."""
        stop = self.end_of(url)
        return None if stop is None else stop >= url.last or self.text[stop : stop + 1] == end


def may_say(name: bytes, links: frozenset[bytes], kept: frozenset[bytes], *, is_path: bool) -> bool:
    """True where what has such a name may be renamed."""
    return name in links if is_path else name not in kept


# JSON (RFC 8259) ------------------------------------------------------------------------------------------------------

INSIDE = re.compile(rb'(?s)[^"\\]*+(?:\\.[^"\\]*+)*+')
STRING_END = re.compile(rb'"[ \t\r\n]*+')


class JsonContext(UrlContext):
    """A value or an element, never a member's name."""

    dialect = JSON

    def __init__(self, text: bytes, *, final: bool) -> None:
        super().__init__(text, final=final)
        self._quote = -1
        self._seen = 0
        self._read = -1
        self._name: bytes | None = None
        self._before = b""
        self._inside = 0

    def may_be_reference(self, after: int) -> bool:
        """A member's whole value; with a host, any string."""
        text = self.text
        if text[after : after + 1] in {b"", b"/", b"\\"}:
            return True
        quote = text.rfind(b'"', max(0, after - LOOK_AHEAD), after)
        before = text[max(0, quote - LONGEST_ESCAPE) : quote].rstrip(BLANK)
        if not before.endswith(b":"):
            return not before
        before = before[:-1].rstrip(BLANK)
        if not before.endswith(b'"'):
            return not before
        name = before[:-1].rpartition(b'"')[2]
        return name.lower() in LINKS or (b"\\" in name and not name.endswith(b"\\"))

    def should_rewrite(self, url: UrlSpan) -> ContextAnswer:
        """Settles one URL by what stands before its string, and the colon that may follow it."""
        quote = url.start - 1 if url.is_ref else self._opening(url.start)
        if quote < url.start - WINDOW or quote < 0:
            return not url.is_ref
        self._enter(quote)
        if self._name is not None:
            verdict: ContextAnswer = may_say(self._name, LINKS, KEPT, is_path=url.is_path)
        elif url.is_path or self._before.endswith(b"{"):
            return False
        else:
            verdict = self._is_element(url) if self._before.endswith(b",") else True
        return self.ends_at(url, b'"') if verdict and url.is_ref else verdict

    def _opening(self, start: int) -> int:
        """The last quote before a position that is not escaped, where that is within the window; else any other."""
        position, low = start, max(0, start - WINDOW, self._seen)
        while (position := self.text.rfind(b'"', low, position)) >= 0:
            if not self._is_escaped(position):
                self._quote = position
                break
        self._seen = start
        return self._quote

    def _is_escaped(self, position: int) -> bool:
        before = self.text[max(0, position - LONGEST_ESCAPE) : position]
        return (len(before) - len(before.rstrip(b"\\"))) % 2 == 1

    def _enter(self, quote: int) -> None:
        """Reads what stands before the quote that opens a string."""
        if quote == self._read:
            return
        text, low = self.text, max(0, quote - REACH)
        end = text.rfind(b'"', low, quote)
        self._read, self._inside = quote, 0
        self._before = text[max(end + 1, low) : quote].strip(BLANK)
        self._name = self._name_at(low, end) if self._before == b":" and end >= 0 else None

    def _name_at(self, low: int, end: int) -> bytes:
        start = end
        while (start := self.text.rfind(b'"', low, start)) >= 0 and self._is_escaped(start):
            pass
        name = self.text[start + 1 : end] if start >= 0 else b""
        return (_unescaped(name) if b"\\" in name else name).lower()

    def _is_element(self, url: UrlSpan) -> ContextAnswer:
        """After a comma comes an element or a name: a colon behind the string tells."""
        text = self.text
        limit = min(url.last, len(text))
        inside = INSIDE.match(text, max(url.after, self._inside), limit)
        self._inside = url.after if inside is None else inside.end()
        end = STRING_END.match(text, self._inside, limit)
        if end is None or end.end() == len(text):
            return None if self.is_open(url) else True
        return end.end() >= url.last or text[end.end()] != COLON


def _unescaped(name: bytes) -> bytes:
    try:
        said: str = json.loads(b'"%b"' % name)
    except ValueError:
        return name
    return said.encode("utf-8", "surrogatepass")


# YAML (YAML 1.2) ------------------------------------------------------------------------------------------------------

KEY_REACH = 64  # bytes before a value that hold its key, as far as that matters
KEYED = re.compile(rb"""(?:\A|[\s{,-])["']?([A-Za-z-]+)["']?[ \t]*:[ \t]+["']?\Z""")
BEFORE_ITEM = b" \t\n\r\f\v[{,"


class YamlContext(UrlContext):
    """A value, never a key."""

    dialect = YAML

    def may_be_reference(self, after: int) -> bool:
        """Behind a key; with a host, an item too."""
        text = self.text
        is_plain = text[after - 1] == SLASH and text[after - 2] != BACKSLASH
        start = after - 1 if is_plain else text.rfind(b"\\", max(0, after - LOOK_AHEAD), after)
        line = self._line(start)
        key = _key_of(line)
        if text[after : after + 1] not in {b"", b"/", b"\\"}:
            return key in LINKS
        return key is not None or _begins_item(line)

    def should_rewrite(self, url: UrlSpan) -> ContextAnswer:
        """Settles one URL by what stands before it on its line, and the colon that may follow it."""
        line = self._line(url.start)
        name = _key_of(line)
        if url.is_ref and name is None and not _begins_item(line):
            return False
        if not may_say(name or b"", LINKS, KEPT, is_path=url.is_path):
            return False
        stop = self.end_of(url)
        after = b"" if stop is None else self.text[stop : stop + 3]
        if stop is None or (len(after) < 3 and self.is_open(url)):
            return None
        if self.text[stop - 1 : stop] == b":" and after[:1] in {b"", b" ", b"\t", b"\r", b"\n"}:
            return False
        return after[:2] not in {b'":', b"':"}

    def _line(self, start: int) -> bytes:
        """The end of what stands before a position on its line."""
        low = max(0, start - KEY_REACH)
        return self.text[max(low, self.text.rfind(b"\n", low, start) + 1) : start]


def _key_of(line: bytes) -> bytes | None:
    """The key of a value that begins behind a line."""
    said = line[:-1] if line.endswith(QUOTES) else line
    if not said.endswith((b" ", b"\t")) or not said.rstrip(b" \t").endswith(b":"):
        return None
    key = KEYED.search(line)
    return None if key is None else key[1].lower()


def _begins_item(line: bytes) -> bool:
    """True where what begins behind a line is an item of a sequence."""
    said = line[:-1] if line.endswith(QUOTES) else line
    mark = said.rstrip(b" \t")
    if not mark.endswith((b"[", b",")) and not (mark.endswith(b"-") and len(mark) < len(said)):
        return False
    return len(mark) == 1 or mark[-2] in BEFORE_ITEM
