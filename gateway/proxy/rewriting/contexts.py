"""Decide by its context whether a URL in JSON or YAML is rewritten.

The context is the opening of the value: the quote of its string, the last `<` before it, its line. It is searched in a
window of fixed size before the URL, and read with the bytes in a reach before it: the result is the same however the
body is cut. A value that began earlier counts as plain text. A context is asked about one URL of a text after the other
and remembers how far it has read: many URLs behind one opening cost no more than their bytes.
"""

import json
import re
from abc import ABC, abstractmethod
from typing import NamedTuple

from gateway.proxy.rewriting.decoded_url import UrlSyntax, may_continue
from gateway.proxy.rewriting.link_names import KEPT_NAMES, LINK_NAMES
from gateway.proxy.rewriting.url_syntax import JSON, YAML

WINDOW = 8 * 1024  # bytes before a URL in which its opening is searched
REACH = 8 * 1024  # bytes before an opening that are read with it
LINK_CONTEXT = 24
"""Bytes before a link that decide alone whether it is rewritten, if they name its member, key, attribute or element."""
MAX_URL = 8 * 1024  # bytes after which a URL counts as ended
BLANK = b" \t\r\n"
MAX_BACKSLASHES = 64  # in a row
QUOTES = (b'"', b"'")
COLON = b":"[0]
BACKSLASH = b"\\"[0]


class UrlSpan(NamedTuple):
    """The position of a URL in a text."""

    start: int
    path_end: int
    """The end of its path."""
    limit: int
    """The text behind it is read only up to here."""
    is_reference: bool = False
    """Whether it begins with a slash at the beginning of a value, not with a scheme."""
    is_path: bool = False
    """Whether it begins with a single slash: it has no host."""


ContextAnswer = bool | None
"""Whether a URL is rewritten; None if more bytes are needed."""


class UrlContext(ABC):
    """Decides for each URL of a text, from its beginning to its end, whether it is rewritten."""

    syntax: UrlSyntax
    identifier = b""
    """The name of an element whose text is an identifier, in lower case."""
    named_by = frozenset((b'"', b"'", b">"))
    """Bytes that may be before a link that a name decides."""
    between_elements: re.Pattern[bytes] | None = None
    """Matches all that is between two links if they are elements of an array (`is_element`)."""

    def __init__(self, text: bytes, *, final: bool) -> None:
        """Take a text; nothing follows it if it is `final`."""
        self.text = text
        self._final = final
        self._run = (0, -1)

    @classmethod
    @abstractmethod
    def decide_before(cls, before: bytes) -> bool | None:
        """Return whether a usual link behind these last bytes is rewritten, None if they do not decide it."""

    @classmethod
    def decide_in_text(cls, before: bytes) -> bool | None:
        """Return the same of a link that is in no element with an identifier as its text."""
        return cls.decide_before(before)

    @classmethod
    def is_element(cls, _before: bytes, _after: bytes) -> bool:
        """Return whether the last bytes before a link and the text behind its beginning make it an element of an array.
        False if they do not decide it.
        """
        return False

    @abstractmethod
    def should_rewrite(self, url: UrlSpan) -> ContextAnswer:
        """Decide one URL."""

    def is_open(self, url: UrlSpan) -> bool:
        """Return whether more bytes may come that belong to the readable text behind a URL."""
        return not self._final and url.limit > len(self.text)

    def find_end(self, url: UrlSpan) -> int | None:
        """Return the end of the whole URL, None if it may continue."""
        start, end = self._run
        if not start <= url.path_end <= end:
            start = end = url.path_end
        match = self.syntax.whole_url.match(self.text, end, url.limit)
        end = end if match is None else match.end()
        self._run = start, end
        if self.text[url.start - 1 : url.start] == b"'":
            quote = self.text.find(b"'", url.path_end, end)
            end = end if quote < 0 else quote
        return None if self.is_open(url) and may_continue(self.text, end) else end

    def is_whole_value(self, url: UrlSpan, delimiter: bytes) -> ContextAnswer:
        """Return whether this delimiter follows the URL, as far as the text behind it is read."""
        end = self.find_end(url)
        return None if end is None else end >= url.limit or self.text[end : end + 1] == delimiter


def is_rewritten_name(name: bytes, links: frozenset[bytes], kept: frozenset[bytes], *, is_path: bool) -> bool:
    """Return whether a value with this name is rewritten."""
    return name in links if is_path else name not in kept


# JSON (RFC 8259) ------------------------------------------------------------------------------------------------------

STRING_CONTENT = re.compile(rb'(?s)[^"\\]*+(?:\\.[^"\\]*+)*')
STRING_END = re.compile(rb'"[ \t\r\n]*+')
ELEMENT_REST = re.compile(rb'[A-Za-z0-9_./?=&%-]{0,1000}+"[,\]]')
BEFORE_ELEMENT = re.compile(rb',[ \t\r\n]*"\Z')
BETWEEN_ELEMENTS = re.compile(rb'[A-Za-z0-9_./?=&%-]{0,1000}+",[ \t\r\n]{0,20}"')
BEFORE_TEXT = re.compile(rb'(?:[^\\]"([^"\\]+)"[ \t\r\n]*:|\[)[ \t\r\n]*"[^"\\]*\Z')


def decide_path(before: bytes) -> bool | None:
    """Return whether a path that is the whole string behind these last bytes is a link, None if they do not decide."""
    value = BEFORE_TEXT.search(before)
    return None if value is None else (value[1] or b"").lower() in LINK_NAMES


class JsonContext(UrlContext):
    """Rewrites URLs in member values and array elements, never in member names."""

    syntax = JSON
    named_by = frozenset((b'"', b" "))
    between_elements = BETWEEN_ELEMENTS

    def __init__(self, text: bytes, *, final: bool) -> None:
        super().__init__(text, final=final)
        self._quote = -1
        self._searched = 0
        self._entered = -1
        self._name: bytes | None = None
        self._before = b""
        self._inside = 0

    @classmethod
    def decide_before(cls, before: bytes) -> bool | None:
        """Decide a link in the value of a member, or in the first element of an array."""
        value = BEFORE_TEXT.search(before)
        return None if value is None else (value[1] or b"").lower() not in KEPT_NAMES

    @classmethod
    def is_element(cls, before: bytes, after: bytes) -> bool:
        """Look for a comma before the string of a link, and for a comma or bracket behind it: not for a colon."""
        return BEFORE_ELEMENT.search(before) is not None and ELEMENT_REST.match(after) is not None

    def should_rewrite(self, url: UrlSpan) -> ContextAnswer:
        """Decide by the text before the string of a URL, and the colon that may follow the string."""
        quote = url.start - 1 if url.is_reference else self._opening(url.start)
        if quote < url.start - WINDOW or quote < 0:
            return not url.is_reference
        if quote != self._entered:
            self._enter(quote)
        if self._name is not None:
            answer: ContextAnswer = is_rewritten_name(self._name, LINK_NAMES, KEPT_NAMES, is_path=url.is_path)
        elif url.is_path or self._before.endswith(b"{"):
            return False
        else:
            answer = self._is_element(url) if self._before.endswith(b",") else True
        return self.is_whole_value(url, b'"') if answer and url.is_reference else answer

    def _opening(self, start: int) -> int:
        """Return the last unescaped quote before a position. If it is not in the window, return any other offset."""
        text, position, low = self.text, start, max(0, start - WINDOW, self._searched)
        while (position := text.rfind(b'"', low, position)) >= 0:
            if text[position - 1] != BACKSLASH or not self._is_escaped(position):
                self._quote = position
                break
        self._searched = start
        return self._quote

    def _is_escaped(self, position: int) -> bool:
        before = self.text[max(0, position - MAX_BACKSLASHES) : position]
        return (len(before) - len(before.rstrip(b"\\"))) % 2 == 1

    def _enter(self, quote: int) -> None:
        """Read the text before the opening quote of a string."""
        text, low = self.text, max(0, quote - REACH)
        end = text.rfind(b'"', low, quote)
        self._entered, self._inside = quote, 0
        self._before = text[max(end + 1, low) : quote].strip(BLANK)
        self._name = self._member_name(low, end) if self._before == b":" and end >= 0 else None

    def _member_name(self, low: int, end: int) -> bytes:
        start = end
        text = self.text
        while (start := text.rfind(b'"', low, start)) >= 0 and text[start - 1] == BACKSLASH and self._is_escaped(start):
            pass
        name = text[start + 1 : end] if start >= 0 else b""
        return (_unescape(name) if b"\\" in name else name).lower()

    def _is_element(self, url: UrlSpan) -> ContextAnswer:
        """Return whether a string behind a comma is an element: a colon would follow a member name."""
        text = self.text
        if url.path_end > self._inside and ELEMENT_REST.match(text, url.path_end):
            return True
        limit = min(url.limit, len(text))
        content = STRING_CONTENT.match(text, max(url.path_end, self._inside), limit)
        self._inside = url.path_end if content is None else content.end()
        end = STRING_END.match(text, self._inside, limit)
        if end is None or end.end() == len(text):
            return None if self.is_open(url) else True
        return end.end() >= url.limit or text[end.end()] != COLON


def _unescape(name: bytes) -> bytes:
    try:
        text: str = json.loads(b'"%b"' % name)
    except ValueError:
        return name
    return text.encode("utf-8", "surrogatepass")


# YAML (YAML 1.2) ------------------------------------------------------------------------------------------------------

KEY_REACH = 64  # bytes before a value in which its key is read
KEY_AND_COLON = re.compile(rb"""(?:\A|[\s{,-])["']?([A-Za-z-]+)["']?[ \t]*:[ \t]+["']?\Z""")
BEFORE_ITEM = b" \t\n\r\f\v[{,"


class YamlContext(UrlContext):
    """Rewrites URLs in values, never in keys."""

    syntax = YAML
    named_by = frozenset((b" ", b"\t", b'"', b"'"))

    @classmethod
    def decide_before(cls, before: bytes) -> bool | None:
        """Decide by the key, if it is complete."""
        _, newline, line = before.rpartition(b"\n")
        opening = line[:-1] if line.endswith(QUOTES) else line
        mark = opening.rstrip(b" \t")
        if not mark and not newline:
            return None
        if mark == opening or not mark.endswith(b":"):
            return True
        key = KEY_AND_COLON.search(line)
        if not newline and (key is None or not key.start()):
            return None
        return key is None or key[1].lower() not in KEPT_NAMES

    def should_rewrite(self, url: UrlSpan) -> ContextAnswer:
        """Decide by the text before a URL on its line, and the colon that may follow it."""
        line = self._line_before(url.start)
        name = _key_before(line)
        if url.is_reference and name is None and not _begins_item(line):
            return False
        if not is_rewritten_name(name or b"", LINK_NAMES, KEPT_NAMES, is_path=url.is_path):
            return False
        end = self.find_end(url)
        after = b"" if end is None else self.text[end : end + 3]
        if end is None or (len(after) < 3 and self.is_open(url)):
            return None
        if self.text[end - 1 : end] == b":" and after[:1] in {b"", b" ", b"\t", b"\r", b"\n"}:
            return False
        return after[:2] not in {b'":', b"':"}

    def _line_before(self, start: int) -> bytes:
        """Return the end of the text before a position on its line."""
        low = max(0, start - KEY_REACH)
        return self.text[max(low, self.text.rfind(b"\n", low, start) + 1) : start]


def _key_before(line: bytes) -> bytes | None:
    """Return the key of a value that begins behind this part of a line."""
    opening = line[:-1] if line.endswith(QUOTES) else line
    if not opening.endswith((b" ", b"\t")) or not opening.rstrip(b" \t").endswith(b":"):
        return None
    key = KEY_AND_COLON.search(line)
    return None if key is None else key[1].lower()


def _begins_item(line: bytes) -> bool:
    """Return whether an item of a sequence begins behind this part of a line."""
    opening = line[:-1] if line.endswith(QUOTES) else line
    mark = opening.rstrip(b" \t")
    if not mark.endswith((b"[", b",")) and not (mark.endswith(b"-") and len(mark) < len(opening)):
        return False
    return len(mark) == 1 or mark[-2] in BEFORE_ITEM
