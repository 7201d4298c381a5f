"""Remove the caller's WS-Security UsernameTokens from SOAP requests.

The gateway authenticates to OIC with a token of its own: OIC must not receive the caller's password. The tokens are cut
out of the beginning of the body; everything else passes byte for byte. A SOAP message whose beginning cannot be read is
rejected, because it may contain a password.
"""

import re
from collections.abc import Iterator
from functools import lru_cache

from gateway.content.charsets import TextDecoder, UnreadableText
from gateway.content.content_coding import MAX_DECODED_PART, ContentDecoder, parse_content_coding
from gateway.content.media_type import MultipartRoot, is_any_xml, read_media_type
from gateway.content.pieces import coalesce
from gateway.errors import BadRequest
from gateway.oic.ws_security import TOKEN, TOO_LARGE, NotMarkup, NotSoap, UsernameToken, WsSecurityScanner

MAX_SEARCHED = 512 * 1024
"""Bytes that are searched and held back, at most: twice the limit of the header, for UTF-16."""
TRANSFER_ENCODINGS = frozenset({"", "7bit", "8bit", "binary"})
JSON = ("/json", "+json")
MULTIPART_TYPES = frozenset({"multipart/related", "multipart/mixed"})
NOT_SOAP_TYPES = frozenset({"text/html", "application/json"})  # the `type` of a multipart
LENGTH = re.compile(rb"[0-9]{1,15}")
NOT_FORWARDED = "The SOAP message is not forwarded, because credentials in its header could not be removed"


@lru_cache(maxsize=256)
def may_be_soap(content_type: bytes | None, *, soap_action: bool, is_soap_route: bool) -> bool:
    """Return whether a request must be searched: it is or may be SOAP, or its target is a SOAP trigger. JSON is not
    SOAP, although some clients send SOAPAction with every call.
    """
    media = read_media_type(content_type)
    if media.essence.endswith(JSON) and b"," not in (content_type or b""):
        return False
    is_wrapped = media.essence in MULTIPART_TYPES and media.parameters.get("type", "").lower() not in NOT_SOAP_TYPES
    return soap_action or is_soap_route or is_wrapped or is_any_xml(content_type)


class SoapCredentialFilter:
    """Filters one body. It is fed the beginning until that is decided: then `output` replaces everything that was fed,
    without `removed` bytes, and the rest of the body passes as it is.

    A body that does not declare SOAP and cannot be read is held up to the limit of a SOAP header, and rejected if it
    contains the word UsernameToken. A body that is searched only because of its SOAPAction passes at once if it does
    not begin with `<`.
    """

    __slots__ = (
        *(
            "_xml_offset",
            "_claims_soap",
            "_declares_soap",
            "_scanner",
            "_may_be_non_xml",
            "_received",
            "_decoder",
            "_is_unreadable",
        ),
        *("_is_related", "_decoded", "_reads_tokens", "_root", "_searched", "_size", "_text", "output", "removed"),
    )

    def __init__(
        self,
        content_type: bytes | None,
        *,
        soap_action: bool,
        is_soap_route: bool = False,
        coding: bytes | None = None,
        reads_tokens: bool = False,
    ) -> None:
        """Take the Content-Type, whether there is a SOAPAction, whether the target is a SOAP trigger, the
        Content-Encoding, and whether the contents of the tokens are wanted. Raise BadRequest for an unknown content
        coding.
        """
        media = read_media_type(content_type)
        is_wrapped = media.essence in MULTIPART_TYPES
        self._claims_soap = media.is_soap
        self._declares_soap = soap_action or media.is_soap
        self._may_be_non_xml = soap_action and not (is_soap_route or is_wrapped or is_any_xml(content_type))
        self._is_related = media.essence == "multipart/related"
        self._is_unreadable = False
        self._received: list[bytes] = []
        self._decoded: list[bytes] = []
        self._size = self._searched = 0  # bytes fed, and decoded bytes searched
        known_coding = parse_content_coding(coding)
        if known_coding is None:
            raise BadRequest(f"{NOT_FORWARDED}: its content coding is not known.")
        self._decoder = ContentDecoder(known_coding) if known_coding else None
        has_root = media.is_multipart and not self._may_be_non_xml
        self._root = MultipartRoot(media.parameters) if has_root else None
        self._xml_offset = 0  # offset of the XML
        self._text = TextDecoder(media.parameters.get("charset", ""))
        self._reads_tokens = reads_tokens
        self._scanner = WsSecurityScanner(declares_soap=self._declares_soap, reads_tokens=reads_tokens)
        self.output: list[bytes] = []
        self.removed = 0

    @property
    def namespace(self) -> str:
        """The namespace of the SOAP envelope, "" while it is unknown."""
        return self._scanner.namespace

    @property
    def tokens(self) -> list[UsernameToken]:
        """The UsernameTokens that were found, if they are wanted."""
        return self._scanner.tokens

    def feed(self, data: bytes, *, last: bool) -> bool:
        """Search more of the body, and return whether it is decided, which it is with the `last` bytes at the latest.
        Raise BadRequest for a body that cannot be forwarded.
        """
        if data:
            self._size += len(data)
            self._received = coalesce(self._received, [data], size=self._size)
        try:
            if not self._search(data, last=last):
                return False
            self._finish()
        except UnreadableText as error:
            raise BadRequest(f"{NOT_FORWARDED}: {error}.") from error
        return True

    def _search(self, data: bytes, *, last: bool) -> bool:
        """Return whether everything relevant has been searched."""
        if last and not self._size:
            return True
        for piece in self._parts(data):
            part = piece[: MAX_SEARCHED - self._searched]
            self._searched += len(part)
            self._decoded = coalesce(self._decoded, [part], size=self._searched)
            if self._try_read(part, last=False):
                return True
            if len(part) < len(piece):
                return self._pass_unreadable()
        if self._size > MAX_SEARCHED:
            return self._pass_unreadable()
        return last and self._try_read(b"", last=True)

    def _parts(self, data: bytes) -> Iterator[bytes]:
        """Yield the decoded data in parts. Most bodies are decided by the first one."""
        if self._decoder is not None:
            return self._decoder.feed(data)
        return (data[start : start + MAX_DECODED_PART] for start in range(0, len(data), MAX_DECODED_PART))

    def _try_read(self, part: bytes, *, last: bool) -> bool:
        if not self._is_unreadable:
            try:
                return self._read(part, last=last)
            except NotMarkup as error:
                if self._claims_soap:
                    raise UnreadableText("its beginning is not XML") from error
                if self._may_be_non_xml:
                    return True
                self._is_unreadable = True
            except NotSoap:
                self._is_unreadable = True
        return last and self._pass_unreadable()

    def _pass_unreadable(self) -> bool:
        """Return True if an unreadable body may pass. Raise UnreadableText otherwise."""
        if not self._is_unreadable:
            raise UnreadableText(TOO_LARGE)
        text = b"".join(self._decoded)
        # In supersets of ASCII, in UTF-16 and UTF-32 without their zeros, and in EBCDIC.
        if TOKEN in text or TOKEN in text.replace(b"\0", b"") or TOKEN.decode().encode("cp037") in text:
            raise UnreadableText("it cannot be read, and contains the word UsernameToken")
        return True

    def _read(self, part: bytes, *, last: bool) -> bool:
        """Return whether the XML is decided, or there is none. Raise NotSoap."""
        root = self._root
        if root is None:
            return self._read_xml(part, last=last)
        if not root.found:
            known = self._searched - len(part)
            if not root.feed(part):
                if last:
                    self._raise_no_root()
                return False
            self._xml_offset = root.start
            part = part[root.start - known :]
            if self._start_root(root):
                return True
        return self._read_xml(part, last=last)

    def _read_xml(self, part: bytes, *, last: bool) -> bool:
        text = self._text.feed(part, last=last)
        broken = self._text.error
        try:
            return self._scanner.feed(text, last=last or bool(broken))
        except UnreadableText as error:
            raise UnreadableText(broken or str(error)) from error

    def _raise_no_root(self) -> None:
        if self._claims_soap or self._is_related:
            raise UnreadableText("its root part is not found")
        raise NotSoap

    def _start_root(self, root: MultipartRoot) -> bool:
        """Start with the root part. Return True if it cannot be SOAP. Raise NotSoap if it does not declare SOAP."""
        self._claims_soap = self._claims_soap or root.media.is_soap
        self._declares_soap = self._declares_soap or root.media.is_soap
        is_encoded = root.coding not in TRANSFER_ENCODINGS
        if root.media.essence and not root.media.is_xml and not self._claims_soap:
            if root.media.essence.endswith(JSON):
                return True
            if is_encoded or not self._declares_soap:
                raise NotSoap
        if is_encoded:
            raise UnreadableText("its root part has a Content-Transfer-Encoding")
        self._text = TextDecoder(root.media.parameters.get("charset", ""))
        self._scanner = WsSecurityScanner(declares_soap=self._declares_soap, reads_tokens=self._reads_tokens)
        return False

    def _finish(self) -> None:
        """Set the output."""
        cuts = self._scanner.removals
        if not cuts:
            self.output = self._received
            return
        if self._decoder is not None:
            raise UnreadableText("it is compressed; send it without Content-Encoding")
        data, at = b"".join(self._received), 0
        for begin, end, text in self._edits(data, cuts):
            self.output += filter(None, (data[at:begin], text))
            at = end
        self.output += filter(None, (data[at:],))
        self.removed = self._size - sum(map(len, self.output))

    def _edits(self, data: bytes, cuts: list[tuple[int, int]]) -> Iterator[tuple[int, int, bytes]]:
        """Yield (start, end, new bytes) of each replaced range, in order."""
        offsets = [
            self._xml_offset + offset
            for offset in self._text.original_offsets([offset for cut in cuts for offset in cut])
        ]
        spans = list(zip(offsets[::2], offsets[1::2], strict=True))
        if self._root is not None and self._root.length is not None:
            begin, end = self._root.length
            if LENGTH.fullmatch(data, begin, end) is None:
                raise UnreadableText("its root part has a Content-Length that is not a plain number")
            yield begin, end, b"%d" % max(0, int(data[begin:end]) - sum(stop - start for start, stop in spans))
        yield from ((start, stop, b"") for start, stop in spans)
