"""Pure: a SOAP request on its way out, and the credentials in its header that stay here.

A caller's WS-Security UsernameToken is meant for nobody behind the gateway, which authenticates with a token of its
own. It is cut out of the beginning of the body; everything else passes byte for byte. A SOAP message whose beginning
cannot be read goes nowhere: what is not seen cannot be kept back.
"""

import re
from collections.abc import Iterator
from functools import lru_cache

from gateway.content.charsets import TextDecoder, UnreadableText
from gateway.content.content_coding import MAX_PART, ContentDecoder, parse_content_coding
from gateway.content.media_type import MultipartRoot, is_any_xml, read_media
from gateway.content.pieces import coalesce
from gateway.errors import BadRequest
from gateway.oic.ws_security import TOKEN, TOO_LARGE, NotMarkup, NotSoap, WsSecurityScanner

MOST = 512 * 1024
"""Bytes, as they come, that are looked at and held back at most; twice the header's limit, for UTF-16."""
CODINGS = frozenset({"", "7bit", "8bit", "binary"})
JSON = ("/json", "+json")
WRAPPED = frozenset({"multipart/related", "multipart/mixed"})
OTHERS = frozenset({"text/html", "application/json"})  # of a multipart's `type`
LENGTH = re.compile(rb"[0-9]{1,15}")
UNSEEN = "The SOAP message is not passed on, since credentials in its header could not be kept back"


@lru_cache(maxsize=256)
def may_be_soap(content_type: bytes | None, *, soap_action: bool, is_soap_route: bool) -> bool:
    """Whether such a request has to be looked at: it says that it is SOAP, or may be, or goes to a SOAP trigger. JSON
    is none, whatever SOAPAction some clients put on every call.
    """
    media = read_media(content_type)
    if media.kind.endswith(JSON) and b"," not in (content_type or b""):
        return False
    is_wrapped = media.kind in WRAPPED and media.parameters.get("type", "").lower() not in OTHERS
    return soap_action or is_soap_route or is_wrapped or is_any_xml(content_type)


class SoapCredentialFilter:
    """Takes the beginning of one body with `feed` until it is settled. Then `output` stands for all that was fed, less
    `removed` bytes, and what follows passes as it is.

    What does not say that it is SOAP, and cannot be read, is held for as long as a SOAP header may be, and stays here
    if it has the word UsernameToken. A body that only a SOAPAction brings here, which some clients put on every call,
    passes at once when it does not begin with `<`.
    """

    __slots__ = (
        *("_base", "_claims_soap", "_declared", "_envelope", "_has_other_type", "_held", "_decoder", "_is_astray"),
        *("_is_related", "_plain", "_root", "_seen", "_size", "_text", "output", "removed"),
    )

    def __init__(
        self,
        content_type: bytes | None,
        *,
        soap_action: bool,
        is_soap_route: bool = False,
        coding: bytes | None = None,
    ) -> None:
        """Content-Type, whether there is a SOAPAction, whether the request goes to a SOAP trigger, Content-Encoding.
        Raises BadRequest for a content coding that is not known.
        """
        media = read_media(content_type)
        is_wrapped = media.kind in WRAPPED
        self._claims_soap = media.is_soap
        self._declared = soap_action or media.is_soap
        self._has_other_type = soap_action and not (is_soap_route or is_wrapped or is_any_xml(content_type))
        self._is_related = media.kind == "multipart/related"
        self._is_astray = False
        self._held: list[bytes] = []
        self._plain: list[bytes] = []
        self._size = self._seen = 0  # bytes fed, and looked at
        known_coding = parse_content_coding(coding)
        if known_coding is None:
            raise BadRequest(f"{UNSEEN}: its content coding is not known.")
        self._decoder = ContentDecoder(known_coding) if known_coding else None
        has_root = media.is_multipart and not self._has_other_type
        self._root = MultipartRoot(media.parameters) if has_root else None
        self._base = 0  # where the XML begins
        self._text = TextDecoder(media.parameters.get("charset", ""))
        self._envelope = WsSecurityScanner(declared=self._declared)
        self.output: list[bytes] = []
        self.removed = 0

    @property
    def space(self) -> str:
        """The namespace of the SOAP envelope, "" while none is known."""
        return self._envelope.space

    def feed(self, data: bytes, *, last: bool) -> bool:
        """Takes more of the body; true once it is settled, as it is with the `last` at the latest. Raises BadRequest
        for what cannot be passed on.
        """
        if data:
            self._size += len(data)
            self._held = coalesce(self._held, [data], size=self._size)
        try:
            if not self._look(data, last=last):
                return False
            self._settle()
        except UnreadableText as error:
            raise BadRequest(f"{UNSEEN}: {error}.") from error
        return True

    def _look(self, data: bytes, *, last: bool) -> bool:
        """True once all is seen that matters."""
        if last and not self._size:
            return True
        for piece in self._parts(data):
            part = piece[: MOST - self._seen]
            self._seen += len(part)
            self._plain = coalesce(self._plain, [part], size=self._seen)
            if self._reads(part, last=False):
                return True
            if len(part) < len(piece):
                return self._gives_up()
        if self._size > MOST:
            return self._gives_up()
        return last and self._reads(b"", last=True)

    def _parts(self, data: bytes) -> Iterator[bytes]:
        """The data plain, in slices; most bodies are settled by the first."""
        if self._decoder is not None:
            return self._decoder.feed(data)
        return (data[start : start + MAX_PART] for start in range(0, len(data), MAX_PART))

    def _reads(self, part: bytes, *, last: bool) -> bool:
        if not self._is_astray:
            try:
                return self._read(part, last=last)
            except NotMarkup as error:
                if self._claims_soap:
                    raise UnreadableText("its beginning is no XML") from error
                if self._has_other_type:
                    return True
                self._is_astray = True
            except NotSoap:
                self._is_astray = True
        return last and self._gives_up()

    def _gives_up(self) -> bool:
        """True where what could not be read may pass."""
        if not self._is_astray:
            raise UnreadableText(TOO_LARGE)
        text = b"".join(self._plain)
        # As ASCII and all its kin have it, and UTF-16 and UTF-32 without their zeros, and EBCDIC.
        if TOKEN in text or TOKEN in text.replace(b"\0", b"") or TOKEN.decode().encode("cp037") in text:
            raise UnreadableText("it cannot be read, and has the word UsernameToken")
        return True

    def _read(self, part: bytes, *, last: bool) -> bool:
        """True once the XML in it is settled, or there is none. Raises Astray."""
        root = self._root
        if root is None:
            return self._read_xml(part, last=last)
        if not root.found:
            known = self._seen - len(part)
            if not root.feed(part):
                if last:
                    self._miss()
                return False
            self._base = root.start
            part = part[root.start - known :]
            if self._enter(root):
                return True
        return self._read_xml(part, last=last)

    def _read_xml(self, part: bytes, *, last: bool) -> bool:
        text = self._text.feed(part, last=last)
        broken = self._text.error
        try:
            return self._envelope.feed(text, last=last or bool(broken))
        except UnreadableText as error:
            raise UnreadableText(broken or str(error)) from error

    def _miss(self) -> None:
        if self._claims_soap or self._is_related:
            raise UnreadableText("its root part is not found")
        raise NotSoap

    def _enter(self, root: MultipartRoot) -> bool:
        """The root part is found: true where it cannot be SOAP. Raises Astray where it does not say."""
        self._claims_soap = self._claims_soap or root.media.is_soap
        self._declared = self._declared or root.media.is_soap
        is_encoded = root.coding not in CODINGS
        if root.media.kind and not root.media.is_xml and not self._claims_soap:
            if root.media.kind.endswith(JSON):
                return True
            if is_encoded or not self._declared:
                raise NotSoap
        if is_encoded:
            raise UnreadableText("its root part has a Content-Transfer-Encoding")
        self._text = TextDecoder(root.media.parameters.get("charset", ""))
        self._envelope = WsSecurityScanner(declared=self._declared)
        return False

    def _settle(self) -> None:
        """Makes the output of what was held."""
        cuts = self._envelope.removals
        if not cuts:
            self.output = self._held
            return
        if self._decoder is not None:
            raise UnreadableText("it is compressed; send it without Content-Encoding")
        data, at = b"".join(self._held), 0
        for begin, end, text in self._edits(data, cuts):
            self.output += filter(None, (data[at:begin], text))
            at = end
        self.output += filter(None, (data[at:],))
        self.removed = self._size - sum(map(len, self.output))

    def _edits(self, data: bytes, cuts: list[tuple[int, int]]) -> Iterator[tuple[int, int, bytes]]:
        """What takes the place of which bytes, in their order."""
        places = [self._base + place for place in self._text.original_offsets([place for cut in cuts for place in cut])]
        spans = list(zip(places[::2], places[1::2], strict=True))
        if self._root is not None and self._root.length is not None:
            begin, end = self._root.length
            if LENGTH.fullmatch(data, begin, end) is None:
                raise UnreadableText("its root part has a Content-Length that is no plain number")
            yield begin, end, b"%d" % max(0, int(data[begin:end]) - sum(to - since for since, to in spans))
        yield from ((since, to, b"") for since, to in spans)
