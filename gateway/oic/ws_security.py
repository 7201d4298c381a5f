"""Find the caller's WS-Security UsernameTokens in the header of a SOAP message (OASIS WSS 1.0 §6.2).

The message is read by expat up to the Body, in UTF-8. Header, Security and UsernameToken are recognized by their local
names: each draft of WSS had a namespace of its own, and a forwarded password is worse than a removed element.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.parsers import expat

from gateway.content.charsets import UnreadableText

HEADER_LIMIT = 256 * 1024
"""Bytes of UTF-8 within which the Body must begin."""
TOO_LARGE = "its header is larger than 256 KiB"
MAX_BODY_TAG = 4 * 1024  # bytes within which the tag of the Body must end
MAX_ELEMENTS = 5_000
"""Elements before the Body, at most: each costs more than its bytes."""
TOKEN = b"UsernameToken"
HEADER = re.compile(rb"<(?:[^<>\s/:]+:)?Header[\s/>]")
TAG = re.compile(rb"<(?:[^<>\"']|\"[^\"]*+\"|'[^']*+')+>")
UNBUFFERED_SIZE = 16 * 1024  # bytes up to which every piece is read as it comes
# White space before the root that some readers accept: a byte order mark, NEL and NBSP in UTF-8, and everything that
# String.trim of Java removes.
SKIPPED_WHITE_SPACE = bytes(range(0x21)) + b"\xef\xbb\xbf\xc2\x85\xa0"


TOKEN_FIELDS = ("Username", "Password", "Nonce", "Created")
"""Children of a UsernameToken that prove who calls."""


@dataclass(slots=True)
class UsernameToken:
    """One UsernameToken of a message; its repr shows no value (OASIS UsernameToken Profile 1.0 §3). `values` are the
    texts of the children in `TOKEN_FIELDS`. `is_ambiguous`: one of them occurs twice, or contains an element.
    """

    values: dict[str, str] = field(default_factory=dict, repr=False)
    password_type: str = ""
    """The attribute `Type` of the password: a URI that ends in `#PasswordText` or `#PasswordDigest`; or empty."""
    is_ambiguous: bool = False


class _ScanComplete(Exception):
    """Everything relevant has been read."""


class NotSoap(Exception):
    """The text does not declare SOAP, and cannot be read."""


class NotMarkup(NotSoap):
    """The text does not begin with `<`: it is neither XML nor an envelope."""


class WsSecurityScanner:
    """Scans one text. `removals` are the ranges of the tokens, `is_soap` is whether the text is SOAP as far as is
    known, `namespace` is the namespace of the envelope, `tokens` are the contents of the tokens if they are wanted.
    """

    __slots__ = (
        *(
            "_declares_soap",
            "_depth",
            "_elements",
            "_fed",
            "_has_doctype",
            "_in_header",
            "_removals_before_security",
            "_has_other_blocks",
            "_parser",
        ),
        *(
            "_pending",
            "_reads_tokens",
            "_root_namespaces",
            "_security_depth",
            "_security_start",
            "_skipped",
            "_text",
            "_token_depth",
        ),
        *("_token_start", "_token_field", "removals", "is_soap", "namespace", "tokens"),
    )

    def __init__(self, *, declares_soap: bool, reads_tokens: bool = False) -> None:
        """Take whether the request declares SOAP, and whether the contents of its tokens are wanted."""
        self._declares_soap = declares_soap
        self.is_soap = declares_soap
        self._has_doctype = False
        self._root_namespaces: Mapping[str, str] = {}  # the namespaces that the root declares
        self._text = bytearray()
        self._pending = bytearray()
        self._fed = self._skipped = self._elements = 0
        self._depth = self._security_depth = self._token_depth = 0  # depths of the open elements
        self._security_start = self._token_start = self._removals_before_security = 0
        self._in_header = self._has_other_blocks = False
        self.removals: list[tuple[int, int]] = []
        self.namespace = ""
        self.tokens: list[UsernameToken] = []
        self._reads_tokens = reads_tokens
        self._token_field = ""
        self._parser = parser = expat.ParserCreate("UTF-8")
        parser.StartElementHandler = self._on_start
        parser.EndElementHandler = self._on_end
        parser.StartDoctypeDeclHandler = self._on_doctype

    def feed(self, text: bytes, *, last: bool) -> bool:
        """Read more text, and return whether everything relevant has been read.

        Raise NotSoap, or UnreadableText for a SOAP message that is broken, has a DOCTYPE, or has a header that is too
        large or behind its Body.
        """
        self._text += text
        if not self._fed and not self._pending:
            text = text.lstrip(SKIPPED_WHITE_SPACE)
            self._skipped = len(self._text) - len(text)
            if (text or last) and not text.startswith(b"<"):
                raise NotMarkup
        self._pending += text
        # expat before 2.6 reads an unfinished tag again with every piece: the pieces must grow.
        if not last and self._fed > UNBUFFERED_SIZE and len(self._pending) < self._fed >> 6:
            return False
        data, self._pending = bytes(self._pending[: HEADER_LIMIT + MAX_BODY_TAG - self._fed]), bytearray()
        self._fed += len(data)
        try:
            self._parser.Parse(data, last)
        except _ScanComplete:
            self._check_after_body()
            return True
        except expat.ExpatError as error:
            if not self.is_soap:
                raise NotSoap from error
            raise UnreadableText(f"its beginning is not XML: {expat.ErrorString(error.code)}") from error
        if self._fed >= HEADER_LIMIT + MAX_BODY_TAG:
            raise UnreadableText(TOO_LARGE)
        return last

    @property
    def _offset(self) -> int:
        """The offset of the current event."""
        return self._parser.CurrentByteIndex + self._skipped

    def _on_doctype(self, *_: object) -> None:
        if self._declares_soap:
            raise UnreadableText("it has a DOCTYPE")
        self._has_doctype = True

    def _on_start(self, name: str, attributes: Mapping[str, str]) -> None:
        self._depth += 1
        self._elements += 1
        if self._elements > MAX_ELEMENTS:
            raise UnreadableText(f"it has more than {MAX_ELEMENTS} elements before its Body")
        local = name.rpartition(":")[2]
        if self._depth == 1:
            self._root_namespaces = attributes
            self._on_root(local, _element_namespace(name, attributes, {}))
        elif self._depth == 2:
            self._in_header = local == "Header"
            if local == "Body" and _element_namespace(name, attributes, self._root_namespaces) == self.namespace:
                self._finish()
        elif self._in_header and not self._token_depth:
            self._on_block(local)
        elif self._token_depth and self._reads_tokens:
            self._on_token_child(local, attributes)

    def _on_root(self, local: str, namespace: str) -> None:
        # The namespaces of SOAP 1.1, 1.2 and all of their drafts contain the word.
        if local != "Envelope" or not (self._declares_soap or self._has_doctype or "soap" in namespace.lower()):
            raise _ScanComplete
        if self._has_doctype:  # forbidden (SOAP 1.1 §3, SOAP 1.2 §5): its entities could hide a token
            raise UnreadableText("it has a DOCTYPE")
        self.is_soap, self.namespace = True, namespace

    def _on_block(self, local: str) -> None:
        """Read an element of the header that is in no UsernameToken."""
        if local == "UsernameToken":  # in a Security, or anywhere else in the header
            self._token_depth, self._token_start = self._depth, self._offset
            if self._reads_tokens:
                self.tokens.append(UsernameToken())
                self._parser.buffer_text = True  # few events, however the text is written
                self._parser.CharacterDataHandler = self._on_token_text
        elif not self._security_depth:
            if local == "Security":
                self._security_depth, self._security_start = self._depth, self._offset
                self._removals_before_security, self._has_other_blocks = len(self.removals), False
        elif self._depth == self._security_depth + 1 and local != "Timestamp":
            self._has_other_blocks = True

    def _on_token_child(self, local: str, attributes: Mapping[str, str]) -> None:
        token, self._token_field = self.tokens[-1], ""
        if self._depth > self._token_depth + 1:
            token.is_ambiguous = True
        elif local in TOKEN_FIELDS:
            token.is_ambiguous = token.is_ambiguous or local in token.values
            token.values[local] = ""
            self._token_field = local
            if local == "Password":
                token.password_type = attributes.get("Type", "")

    def _on_token_text(self, text: str) -> None:
        if self._token_field:
            self.tokens[-1].values[self._token_field] += text

    def _on_end(self, _: str) -> None:
        depth = self._depth
        self._token_field = ""
        if depth == self._token_depth:
            self._token_depth = 0
            self._parser.CharacterDataHandler = None
            self.removals.append((self._token_start, self._end_of(self._token_start)))
        elif depth == self._security_depth:
            self._security_depth = 0
            # A Security without a token would only be a header that OIC must understand and cannot.
            if len(self.removals) > self._removals_before_security and not self._has_other_blocks:
                self.removals[self._removals_before_security :] = [
                    (self._security_start, self._end_of(self._security_start))
                ]
        elif depth == 1:
            self._finish()
        self._depth -= 1

    def _end_of(self, begin: int) -> int:
        """Return the end of the element that began at this offset and ends now."""
        tag = TAG.match(self._text, begin)
        if tag is not None and self._text.endswith(b"/>", begin, tag.end()):
            return tag.end()
        return self._text.index(b">", self._offset) + 1

    def _finish(self) -> None:
        if self._offset > HEADER_LIMIT:
            raise UnreadableText(TOO_LARGE)
        raise _ScanComplete

    def _check_after_body(self) -> None:
        """Raise UnreadableText if a Header that may contain a token follows the Body, against SOAP 1.1 §4."""
        end = self._parser.CurrentByteIndex + self._skipped
        if self.is_soap and self._text.find(TOKEN, end) >= 0 and HEADER.search(self._text, end):
            ChildOrderCheck().read(bytes(self._text[self._skipped :]))


def _element_namespace(name: str, own: Mapping[str, str], scope: Mapping[str, str]) -> str:
    """Return the namespace of an element, by its own declarations and those in scope."""
    prefix, colon, _ = name.rpartition(":")
    key = f"xmlns{colon}{prefix}"
    return own[key] if key in own else scope.get(key, "")


class ChildOrderCheck:
    """Checks the order of the children of an envelope."""

    __slots__ = ("_depth", "_has_body")

    def __init__(self) -> None:
        self._depth = 0
        self._has_body = False

    def read(self, text: bytes) -> None:
        """Read as far as possible. Raise UnreadableText for a Header behind a Body."""
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
                raise UnreadableText("its Header is behind its Body")
            self._has_body = self._has_body or local == "Body"

    def _on_end(self, _: str) -> None:
        self._depth -= 1
