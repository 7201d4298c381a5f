"""Detect the charset of a text (RFC 7303 §3.2, XML 1.0 appendix F) and convert the text to UTF-8.

One detector serves the URL rewriting, the filter of SOAP credentials and the search for instance ids. The bytes decide
first: no reader takes UTF-16 for UTF-8, whatever the sender declares. Next come the charset of the media type and, in
markup, the XML declaration. An unknown name is ignored.
"""

import codecs
import re
import sys
from collections.abc import Sequence
from encodings.aliases import aliases
from functools import lru_cache

DECLARATION_LIMIT = 1024
"""Bytes that an XML declaration may have."""
ASCII = bytes(range(128)).decode()
# XML 1.0 appendix F: byte order marks, then the position of the zeros in the first character, which is ASCII.
CHARSET_SIGNATURES = (
    (re.compile(rb"\xff\xfe\0\0|[^\0]\0\0\0", re.DOTALL), "utf-32-le"),
    (re.compile(rb"\0\0\xfe\xff|\0\0\0[^\0]", re.DOTALL), "utf-32-be"),
    (re.compile(rb"\xff\xfe|[^\0]\0", re.DOTALL), "utf-16-le"),
    (re.compile(rb"\xfe\xff|\0[^\0]", re.DOTALL), "utf-16-be"),
    (re.compile(rb"\xef\xbb\xbf"), "utf-8"),
)
UTF_16_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
UTF_16 = frozenset({"utf-16-le", "utf-16-be"})
# `<` in EBCDIC is the letter L in ASCII, and its blanks are punctuation marks. The next bytes tell text from markup:
# after blanks, `<?xm`, `<!` of a comment or a DOCTYPE, or a tag's name up to its end.
_BLANKS = rb"[\x40\x25\x15\x05\x0d]"
_LETTERS = rb"\x6d\x81-\x89\x91-\x99\xa2-\xa9\xc1-\xc9\xd1-\xd9\xe2-\xe9"
_NAME = rb"[%b][\x4b\x60\x7a\xf0-\xf9%b]{0,200}+" % (_LETTERS, _LETTERS)
EBCDIC_MARKUP = re.compile(
    rb"%b{0,1024}+\x4c(?:\x6f\xa7\x94|[\x5a\x4f](?:\x60\x60|\xc4)|%b(?:%b|[\x6e\x61]))" % (_BLANKS, _NAME, _BLANKS)
)
EBCDIC_PREFIX = re.compile(rb"%b{0,1024}+(?:\x4c(?:\x6f\xa7?|[\x5a\x4f]\x60?|%b)?)?\Z" % (_BLANKS, _NAME))
"""A text that may still become one that `EBCDIC` matches."""
XML_ENCODING = re.compile(r"<\?xml\s[^>]*?\sencoding\s*=\s*[\"']([A-Za-z][A-Za-z0-9._-]{0,39})")
XML_CHARACTERS = (
    "<>&;:=\"'/!?-_.[]()%#+ \t\r\n0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"  # of its syntax
)
KNOWN_NAMES = frozenset({*aliases, *aliases.values()})
"""Names of Python's codecs. A name from outside is never looked up among Python's modules."""
# Senders write more under a name than Python reads: the vendors' code pages, which all other readers accept.
SUPERSETS = {"gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949", "big5": "cp950"}
MULTIBYTE_SUPERSETS = frozenset({"utf-8", "euc_jp", "euc_jis_2004", "euc_jisx0213"})
ISO_2022_ESCAPE = b"\x1b$B!!"
UNDEFINED_BYTE = "\ufffe"


class UnreadableText(Exception):
    """The bytes are not text in their charset, not in their content coding, or not XML. The message is for the log."""


def detect_charset(first: bytes, declared: str, *, last: bool, is_markup: bool = True) -> str | None:
    """Return the name of the codec of a text that begins with `first`.

    `declared` is the charset of the media type, or "". Return None if more bytes are needed, which is never so with
    `last`. Only markup may be in EBCDIC or have an XML declaration.
    """
    if not last and (len(first) < 4 or (is_markup and EBCDIC_PREFIX.match(first))):
        return None
    for signature, codec in CHARSET_SIGNATURES:
        if signature.match(first):
            return codec
    is_ebcdic = is_markup and EBCDIC_MARKUP.match(first) is not None
    default, less_than = ("cp037", b"\x4c") if is_ebcdic else ("utf-8", b"<")
    if named := find_codec(declared, less_than):
        return named
    text = first[:DECLARATION_LIMIT].decode(default, "replace").lstrip(" \t\r\n")
    if not is_markup or (text and not "<?".startswith(text[:2])):
        return default
    if "?>" not in text and len(first) < DECLARATION_LIMIT and not last:
        return None
    declaration = XML_ENCODING.match(text.partition("?>")[0])
    return (find_codec(declaration[1], less_than) if declaration else "") or default


@lru_cache(maxsize=256)
def is_ascii_superset(codec: str) -> bool:
    """Return whether a byte below 128 always is that ASCII character, also behind a lead byte."""
    if codec in MULTIBYTE_SUPERSETS:
        return True
    sample = bytes(range(256)) + ISO_2022_ESCAPE
    try:
        text = sample.decode(codec, "replace")
    except UnicodeError:
        return False
    return len(text) == len(sample) and text.startswith(ASCII)


def is_wide_text(first: bytes) -> bool:
    """Return whether a text begins like UTF-16 or UTF-32: all others contain ASCII as it is."""
    return b"\0" in first[:4] or first[:2] in UTF_16_BOMS


def decode_to_utf8(first: bytes, declared: str, *, is_markup: bool) -> bytes:
    """Return the beginning of a text, cut anywhere, in UTF-8, with U+FFFD for bytes that are not text."""
    codec = detect_charset(first, declared, last=True, is_markup=is_markup) or "utf-8"
    return first.decode(codec, "replace").encode()


@lru_cache(maxsize=256)
def find_codec(name: str, less_than: bytes = b"<") -> str:
    """Return the codec of a charset, or "" if its name is unknown or contradicts the bytes: `less_than` is `<` in the
    text, and the codec must encode the characters of XML's syntax accordingly.
    """
    key = name.strip().lower().replace("-", "_").replace(" ", "_")
    if key.startswith("windows_"):
        key = key.replace("windows_", "cp", 1)
    if key not in KNOWN_NAMES:
        return ""
    try:
        codec = codecs.lookup(key).name
        encoded = XML_CHARACTERS.encode(codec)
    except (LookupError, UnicodeError):
        return ""
    is_same = encoded == XML_CHARACTERS.encode("ascii") if less_than == b"<" else encoded[:1] == less_than
    return SUPERSETS.get(codec, codec) if is_same else ""


@lru_cache(maxsize=64)
def _single_byte_table(codec: str) -> str | None:
    """Return the 256 characters of a single-byte charset, None for any other.

    An undefined byte stands for the control character of its number, as in Latin-1: it hides no character of XML.
    """
    table = getattr(sys.modules.get(f"encodings.{codec.replace('-', '_')}"), "decoding_table", None)
    if table is None:
        return None
    return "".join(
        chr(byte) if letter == UNDEFINED_BYTE else letter
        for byte, letter in enumerate(table.ljust(256, UNDEFINED_BYTE))
    )


def _decode_readable(decoder: codecs.IncrementalDecoder, data: bytes, *, last: bool) -> tuple[str, bytes]:
    """Return the text up to the first bytes that are not text, and the bytes from there on."""
    state = decoder.getstate()
    try:
        return decoder.decode(data, last), b""
    except UnicodeDecodeError as error:
        pending = bytes(error.object)  # the bytes that waited in the decoder, and `data`
        decoder.setstate(state)
        return decoder.decode(data[: max(0, error.start - len(pending) + len(data))]), pending[error.start :]


class Utf16Transcoder:
    """Converts a UTF-16 text to UTF-8 in pieces, and UTF-8 back. Unpaired surrogates pass: they are the sender's."""

    __slots__ = ("_codec", "_decoder", "_utf8")

    def __init__(self, codec: str) -> None:
        """Take a codec of `UTF_16`."""
        self._codec = codec
        self._decoder = codecs.getincrementaldecoder(codec)("surrogatepass")
        self._utf8 = codecs.getincrementaldecoder("utf-8")("surrogatepass")

    def decode(self, data: bytes, *, last: bool = False) -> tuple[bytes, bytes]:
        """Return the text in UTF-8, and the bytes from the first one on that is not UTF-16."""
        text, unreadable = _decode_readable(self._decoder, data, last=last)
        return text.encode("utf-8", "surrogatepass"), unreadable

    def encode(self, data: bytes) -> bytes:
        """Return UTF-8 in UTF-16."""
        return self._utf8.decode(data).encode(self._codec, "surrogatepass")


class TextDecoder:
    """Converts a text to UTF-8 in pieces, and maps offsets in the result to offsets in the original bytes.

    `error` is the reason why nothing more is returned: the bytes from there on are not text in the charset.
    """

    __slots__ = ("_charset", "_declared", "_decoder", "_raw", "_table", "_utf8", "_waiting", "error")

    def __init__(self, declared: str) -> None:
        """Take the charset that the media type declares, or ""."""
        self._declared = declared
        self._charset: str | None = None
        self._waiting = b""
        self._table: str | None = None
        self._decoder: codecs.IncrementalDecoder | None = None
        self._raw = bytearray()
        self._utf8 = bytearray()
        self.error = ""

    def feed(self, data: bytes, *, last: bool) -> bytes:
        """Return the text that is known with these bytes. UTF-8 passes as it is."""
        if self._charset is None:
            data = self._waiting = self._waiting + data
            self._charset = detect_charset(data, self._declared, last=last)
            if self._charset is None:
                return b""
            if self._charset not in {"utf-8", "ascii"}:
                self._table = _single_byte_table(self._charset)
                self._decoder = codecs.getincrementaldecoder(self._charset)()
        if self._decoder is None:
            return data
        if self.error:
            return b""
        if self._table is not None:
            text = codecs.charmap_decode(data, "strict", self._table)[0]
        else:
            text, unreadable = _decode_readable(self._decoder, data, last=last)
            if unreadable:
                self.error = f"its beginning is not text in {self._charset}"
        encoded = text.encode("utf-8", "surrogatepass")
        self._raw += data
        self._utf8 += encoded
        return encoded

    def original_offsets(self, offsets: Sequence[int]) -> list[int]:
        """Map ascending offsets in the UTF-8 text to offsets in the original bytes. Raise UnreadableText if that is
        ambiguous.
        """
        if self._decoder is None or self._charset is None:
            return list(offsets)
        position, original, mapped = 0, 0, []
        for offset in offsets:
            original += self._original_size(self._utf8[position:offset].decode(), original)
            position = offset
            mapped.append(original)
        return mapped

    def _original_size(self, text: str, start: int) -> int:
        """Return how many of the original bytes from `start` on are this text."""
        if self._table is not None:
            return len(text)
        encoded = text.encode(self._charset or "")
        if not self._raw.startswith(encoded, start):  # a stateful charset has several encodings of one text
            raise UnreadableText(f"its beginning is {self._charset} in an unusual spelling")
        return len(encoded)
