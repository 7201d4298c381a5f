"""Pure: where in a SOAP message's header the caller's own WS-Security UsernameTokens lie (OASIS WSS 1.0 §6.2).

Read by expat up to the Body, in UTF-8. Header, Security and UsernameToken are known by their local names: WSS had a
namespace of its own in each of its drafts, and a password let through is worse than a stranger's element cut out.
"""

import re
from collections.abc import Mapping
from xml.parsers import expat

from gateway.content.charsets import UnreadableText

HEADER_LIMIT = 256 * 1024
"""Bytes, in UTF-8, within which the Body must begin."""
TOO_LARGE = "its header is larger than 256 KiB"
TAG_ROOM = 4 * 1024  # bytes in which the Body's own tag must end
ELEMENTS = 5_000
"""Elements before the Body, at most: each costs more than its bytes."""
TOKEN = b"UsernameToken"
HEADER = re.compile(rb"<(?:[^<>\s/:]+:)?Header[\s/>]")
TAG = re.compile(rb"<(?:[^<>\"']|\"[^\"]*+\"|'[^']*+')++>")
AT_ONCE = 16 * 1024  # bytes up to which every piece is read as it comes
# White space before the root that some readers forgive: a byte order mark, NEL and NBSP in UTF-8, and what
# Java's String.trim removes.
BLANKS = bytes(range(0x21)) + b"\xef\xbb\xbf\xc2\x85\xa0"


class _Done(Exception):
    """All that matters has been read."""


class NotSoap(Exception):
    """What did not say that it is SOAP, and cannot be read."""


class NotMarkup(NotSoap):
    """The text does not begin with `<`: it is no XML, and no envelope."""


class WsSecurityScanner:
    """Takes the text with `feed`. `cuts` are the places to cut, as (from, to); `is_soap` says that it is SOAP as far as
    is known, `space` is the envelope's namespace.
    """

    __slots__ = (
        *("_declared", "_depth", "_elements", "_fed", "_has_doctype", "_in_header", "_mark", "_others", "_parser"),
        *("_pending", "_scope", "_security", "_security_at", "_skipped", "_text", "_token", "_token_at"),
        *("removals", "is_soap", "space"),
    )

    def __init__(self, *, declared: bool) -> None:
        """`declared`: the request says that this is SOAP."""
        self._declared = declared
        self.is_soap = declared
        self._has_doctype = False
        self._scope: Mapping[str, str] = {}  # what the root declares
        self._text = bytearray()
        self._pending = bytearray()
        self._fed = self._skipped = self._elements = 0
        self._depth = self._security = self._token = 0  # the depths of the elements that are open
        self._security_at = self._token_at = self._mark = 0
        self._in_header = self._others = False
        self.removals: list[tuple[int, int]] = []
        self.space = ""
        self._parser = parser = expat.ParserCreate("UTF-8")
        parser.StartElementHandler = self._on_start
        parser.EndElementHandler = self._on_end
        parser.StartDoctypeDeclHandler = self._on_doctype

    def feed(self, text: bytes, *, last: bool) -> bool:
        """Reads on; true once all that matters is read. Raises Unreadable for a SOAP message that cannot be read that
        far, has a DOCTYPE, or a header too large or behind its Body, as far as that is seen; Astray.
        """
        self._text += text
        if not self._fed and not self._pending:
            text = text.lstrip(BLANKS)
            self._skipped = len(self._text) - len(text)
            if (text or last) and not text.startswith(b"<"):
                raise NotMarkup
        self._pending += text
        # An expat before 2.6 reads an unfinished tag again with every piece: pieces must not be small for ever.
        if not last and self._fed > AT_ONCE and len(self._pending) < self._fed >> 6:
            return False
        data, self._pending = bytes(self._pending[: HEADER_LIMIT + TAG_ROOM - self._fed]), bytearray()
        self._fed += len(data)
        try:
            self._parser.Parse(data, last)
        except _Done:
            self._check_behind()
            return True
        except expat.ExpatError as error:
            if not self.is_soap:
                raise NotSoap from error
            raise UnreadableText(f"its beginning is no XML: {expat.ErrorString(error.code)}") from error
        if self._fed >= HEADER_LIMIT + TAG_ROOM:
            raise UnreadableText(TOO_LARGE)
        return last

    @property
    def _here(self) -> int:
        """The place of what is being told."""
        return self._parser.CurrentByteIndex + self._skipped

    def _on_doctype(self, *_: object) -> None:
        if self._declared:
            raise UnreadableText("it has a DOCTYPE")
        self._has_doctype = True

    def _on_start(self, name: str, attributes: Mapping[str, str]) -> None:
        self._depth += 1
        self._elements += 1
        if self._elements > ELEMENTS:
            raise UnreadableText(f"it has more than {ELEMENTS} elements before its Body")
        local = name.rpartition(":")[2]
        if self._depth == 1:
            self._scope = attributes
            self._on_root(local, _space(name, attributes, {}))
        elif self._depth == 2:
            self._in_header = local == "Header"
            if local == "Body" and _space(name, attributes, self._scope) == self.space:
                self._settle()
        elif self._in_header and not self._token:
            self._on_block(local)

    def _on_root(self, local: str, space: str) -> None:
        # The namespaces of SOAP 1.1, 1.2 and all of their drafts have the word.
        if local != "Envelope" or not (self._declared or self._has_doctype or "soap" in space.lower()):
            raise _Done
        if self._has_doctype:  # SOAP 1.1 §3, SOAP 1.2 §5: none; its entities could hide what is looked for
            raise UnreadableText("it has a DOCTYPE")
        self.is_soap, self.space = True, space

    def _on_block(self, local: str) -> None:
        """An element within the header, and in no UsernameToken."""
        if local == "UsernameToken":  # in a Security, or where a stranger puts it
            self._token, self._token_at = self._depth, self._here
        elif not self._security:
            if local == "Security":
                self._security, self._security_at = self._depth, self._here
                self._mark, self._others = len(self.removals), False
        elif self._depth == self._security + 1 and local != "Timestamp":
            self._others = True

    def _on_end(self, _: str) -> None:
        depth = self._depth
        if depth == self._token:
            self._token = 0
            self.removals.append((self._token_at, self._end_of(self._token_at)))
        elif depth == self._security:
            self._security = 0
            if (
                len(self.removals) > self._mark and not self._others
            ):  # one that OIC must understand, and can make nothing of
                self.removals[self._mark :] = [(self._security_at, self._end_of(self._security_at))]
        elif depth == 1:
            self._settle()
        self._depth -= 1

    def _end_of(self, begin: int) -> int:
        """Where the element that began there, and ends now, ends."""
        tag = TAG.match(self._text, begin)
        if tag is not None and self._text.endswith(b"/>", begin, tag.end()):
            return tag.end()
        return self._text.index(b">", self._here) + 1

    def _settle(self) -> None:
        if self._here > HEADER_LIMIT:
            raise UnreadableText(TOO_LARGE)
        raise _Done

    def _check_behind(self) -> None:
        """Raises Unreadable where a Header that may hold a token comes behind the Body; SOAP has none (SOAP 1.1 §4)."""
        behind = self._parser.CurrentByteIndex + self._skipped
        if self.is_soap and self._text.find(TOKEN, behind) >= 0 and HEADER.search(self._text, behind):
            ChildOrder().read(bytes(self._text[self._skipped :]))


def _space(name: str, own: Mapping[str, str], scope: Mapping[str, str]) -> str:
    """The namespace of an element, by the declarations that it sees."""
    prefix, colon, _ = name.rpartition(":")
    key = f"xmlns{colon}{prefix}"
    return own[key] if key in own else scope.get(key, "")


class ChildOrder:
    """The order of an envelope's children."""

    __slots__ = ("_depth", "_has_body")

    def __init__(self) -> None:
        self._depth = 0
        self._has_body = False

    def read(self, text: bytes) -> None:
        """Reads as far as that goes. Raises Unreadable for a Header behind a Body."""
        parser = expat.ParserCreate("UTF-8")
        parser.StartElementHandler, parser.EndElementHandler = self._on_start, self._on_end
        try:
            parser.Parse(text, False)  # noqa: FBT003 - more may follow
        except expat.ExpatError:
            return

    def _on_start(self, name: str, _: object) -> None:
        self._depth += 1
        if self._depth == 2:
            local = name.rpartition(":")[2]
            if local == "Header" and self._has_body:
                raise UnreadableText("its Header stands behind its Body")
            self._has_body = self._has_body or local == "Body"

    def _on_end(self, _: str) -> None:
        self._depth -= 1
