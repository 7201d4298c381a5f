"""Decide by its context whether a URL in XML (XML 1.0) or HTML is rewritten."""

import re

from gateway.proxy.rewriting.contexts import (
    BLANK,
    LINK_CONTEXT,
    QUOTES,
    REACH,
    WINDOW,
    ContextAnswer,
    UrlContext,
    UrlSpan,
    is_rewritten_name,
)
from gateway.proxy.rewriting.link_names import HTML_KEPT_NAMES, HTML_LINK_NAMES, XML_KEPT_NAMES, XML_LINK_NAMES
from gateway.proxy.rewriting.url_syntax import XML

GREATER = 0x3E

TAG = re.compile(rb"""<([^\s<>/!?="']++)""")
ATTRIBUTES = re.compile(rb"""(?:\s++[^\s<>="']++\s*+=\s*+(?:"[^"<]*+"|'[^'<]*+'))*""")
OPENING = re.compile(rb"""\s++([^\s<>="']++)\s*+=\s*+(["'])""")
TAG_REST = re.compile(rb"""(?:[^<>"']++|"[^"<]*+"|'[^'<]*+')*""")
CDATA = b"<![CDATA["
REWRITTEN_BEFORE = re.compile(rb"""(?:\s(?:href|src|location)=["']|[A-Za-z0-9_](?<![cC][tT][iI][oO][nN])>)\Z""")
XML_KEPT_BEFORE = re.compile(
    rb"""(?i)(?:[\s:](?:%b)=["']|\sxmlns:[\w.-]{1,7}=["']|<(?:[\w.-]{1,7}:)?action>)\Z""" % b"|".join(XML_KEPT_NAMES)
)
HTML_KEPT_BEFORE = re.compile(rb"""(?i)(?:[\s:]xmlns|\sxmlns:[\w.-]{1,7})=["']\Z""")
ATTRIBUTE_BEFORE = re.compile(rb"""\s([^\s<>="']++)=["']\Z""")
NEXT_WORD = re.compile(rb"""\s++[^\s"'<]""")


class XmlContext(UrlContext):
    """Rewrites URLs in text, attributes and comments, but not the identifiers of XML and SOAP."""

    syntax = XML
    links = XML_LINK_NAMES
    kept = XML_KEPT_NAMES
    identifier = b"action"
    kept_before = XML_KEPT_BEFORE

    def __init__(self, text: bytes, *, final: bool) -> None:
        super().__init__(text, final=final)
        self._opened = -1
        self._tag = b""
        self._attributes = self._head = -1
        self._value = -1
        self._name = self._quote = b""
        self._counted = self._words = 0

    @classmethod
    def decide_in_text(cls, before: bytes) -> bool | None:
        """Decide by the name of any attribute."""
        attribute = ATTRIBUTE_BEFORE.search(before)
        name = b"xmlns" if attribute is None else attribute[1].lower()
        is_address = not name.startswith(b"xmlns") and _local_name(name) not in {b"schemalocation", *cls.kept}
        return True if is_address else cls.decide_before(before)

    @classmethod
    def decide_before(cls, before: bytes) -> bool | None:
        """Decide by the name of the attribute, or by the element. In the text of an element, it is so too."""
        if REWRITTEN_BEFORE.search(before):
            return True
        return False if cls.kept_before.search(before) else None

    def should_rewrite(self, url: UrlSpan) -> ContextAnswer:
        """Decide by the attribute of a URL, or by the element if the URL is in its first text."""
        if not url.is_reference and self.text[url.start - 1 : url.start] in self.named_by:
            answer = self.decide_before(self.text[max(0, url.start - LINK_CONTEXT) : url.start])
            if answer is not None:
                return answer
        opened = self.text.rfind(b"<", max(0, url.start - WINDOW), url.start)
        if self._in_attribute(opened, url.start):
            return self._decide_attribute(url)
        if url.is_reference:
            return False if url.is_path else self.is_whole_value(url, b"<")
        return self._in_element(url.start)

    def _in_attribute(self, opened: int, start: int) -> bool:
        """Return whether a position is in the value of an attribute, and set `_name`, `_quote` and `_value` to it."""
        text = self.text
        if opened != self._opened:
            self._enter(opened)
        if self._value >= 0 and text.find(self._quote, self._value, start) < 0:
            return True
        self._value = -1
        if not 0 <= self._attributes < start or not self._is_quoted(start):
            return False
        read = ATTRIBUTES.match(text, self._attributes, start)
        self._attributes = start if read is None else read.end()
        opening = OPENING.match(text, self._attributes, start)
        if opening is not None:
            self._name, self._quote, self._value = opening[1].lower(), opening[2], opening.end()
            self._counted, self._words = opening.end(), 0
        elif self._is_quoted(start):
            self._attributes = -1  # the text before the quote is no attribute, and more text does not make it one
        return opening is not None

    def _is_quoted(self, start: int) -> bool:
        text, attributes = self.text, self._attributes
        return text.find(b'"', attributes, start) >= 0 or text.find(b"'", attributes, start) >= 0

    def _enter(self, opened: int) -> None:
        tag = None if opened < 0 else TAG.match(self.text, opened)
        self._opened, self._value = opened, -1
        self._tag, self._attributes = b"", -1
        if tag is not None:
            self._tag, self._attributes = _local_name(tag[1]), tag.end()
        elif opened >= 0 and self.text.startswith(CDATA, opened):
            self._tag = self._tag_before(opened)
        self._head = self._attributes

    def _tag_before(self, opened: int) -> bytes:
        """Return the element of a CDATA section that is its first text."""
        before = self.text.rfind(b"<", max(0, opened - REACH), opened)
        tag = None if before < 0 else TAG.match(self.text, before, opened)
        head = None if tag is None else TAG_REST.match(self.text, tag.end(), opened)
        is_closed = head is not None and head.end() < opened and self.text[head.end()] == GREATER
        return b"" if tag is None or not is_closed else _local_name(tag[1])

    def _in_element(self, start: int) -> bool:
        if self._tag != b"action" or self._tag not in self.kept:
            return True
        if self._head < 0:  # in a CDATA section
            return False
        text, head = self.text, self._head
        quote = text[head : head + 1]
        if quote in QUOTES and text.find(quote, head + 1, start) < 0:
            return True
        read = TAG_REST.match(text, head, start)
        self._head = head if read is None else read.end()
        return not (self._head < start and text[self._head] == GREATER)

    def _decide_attribute(self, url: UrlSpan) -> ContextAnswer:
        if self._name.startswith(b"xmlns:") or (url.is_reference and url.start != self._value):
            return False
        local = _local_name(self._name)
        if local == b"schemalocation" and not url.is_path:
            answer = self._is_schema_address(url)
        else:
            answer = is_rewritten_name(local, self.links, self.kept, is_path=url.is_path)
        return self.is_whole_value(url, self._quote) if answer and url.is_reference else answer

    def _is_schema_address(self, url: UrlSpan) -> ContextAnswer:
        """Return whether a URL in `schemaLocation` is an address: every second word of `xsi:schemaLocation`, behind its
        namespace (XML Schema 1 §4.3.2), or the single word of an import.
        """
        self._count_words(url.start)
        if self._words % 2 == 1:
            return True
        if b":" in self._name or self._words:
            return False
        text, stop = self.text, self.find_end(url)
        if stop is None:
            return None
        if NEXT_WORD.match(text, stop, min(url.limit, len(text))):
            return False
        return None if self.is_open(url) and not text[stop : url.limit].strip(BLANK) else True

    def _count_words(self, start: int) -> None:
        text, counted = self.text, self._counted
        words = len(text[counted:start].split())
        if words and counted > self._value and not (text[counted - 1 : counted].isspace() or text[counted] in BLANK):
            words -= 1  # the first one continues a word
        self._words += words
        self._counted = start


class HtmlContext(XmlContext):
    """Rewrites URLs in HTML: `action` is the target of a form (HTML §4.10.18.6)."""

    links = HTML_LINK_NAMES
    kept = HTML_KEPT_NAMES
    identifier = b""
    kept_before = HTML_KEPT_BEFORE


def _local_name(name: bytes) -> bytes:
    return name.rpartition(b":")[2].lower()
