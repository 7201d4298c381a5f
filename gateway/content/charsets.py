"""Detect the charset of a text (RFC 7303 §3.2, XML 1.0 appendix F) and convert the text to UTF-8.

URL rewriting, the filter of SOAP credentials and the search for instance ids use the same detector. First the bytes
decide: no reader takes UTF-16 for UTF-8, whatever the sender declares. Then the charset of the media type decides, and
in markup the XML declaration. An unknown name is ignored.
"""

import codecs
import re
import sys
from collections.abc import Sequence
from encodings.aliases import aliases
from functools import lru_cache

DECLARATION_LIMIT = 1024
"""Maximum bytes of an XML declaration."""
ASCII = bytes(range(128)).decode()
# XML 1.0 appendix F: a byte order mark, or the position of the zero bytes in the first character, which is ASCII.
CHARSET_SIGNATURES = (
    (re.compile(rb"\xff\xfe\0\0|[^\0]\0\0\0", re.DOTALL), "utf-32-le"),
    (re.compile(rb"\0\0\xfe\xff|\0\0\0[^\0]", re.DOTALL), "utf-32-be"),
    (re.compile(rb"\xff\xfe|[^\0]\0", re.DOTALL), "utf-16-le"),
    (re.compile(rb"\xfe\xff|\0[^\0]", re.DOTALL), "utf-16-be"),
    (re.compile(rb"\xef\xbb\xbf"), "utf-8"),
)
UTF_16_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
UTF_16 = frozenset({"utf-16-le", "utf-16-be"})
# `<` in EBCDIC is the letter L in ASCII, and white space is punctuation. The next bytes distinguish markup from other
# text: white space, and then `<?xm`, `<!` of a comment or a DOCTYPE, or a complete tag name.
_BLANKS = rb"[\x40\x25\x15\x05\x0d]"
_LETTERS = rb"\x6d\x81-\x89\x91-\x99\xa2-\xa9\xc1-\xc9\xd1-\xd9\xe2-\xe9"
_NAME = rb"[%b][\x4b\x60\x7a\xf0-\xf9%b]{0,200}+" % (_LETTERS, _LETTERS)
EBCDIC_MARKUP = re.compile(
    rb"%b{0,1024}+\x4c(?:\x6f\xa7\x94|[\x5a\x4f](?:\x60\x60|\xc4)|%b(?:%b|[\x6e\x61]))" % (_BLANKS, _NAME, _BLANKS)
)
EBCDIC_PREFIX = re.compile(rb"%b{0,1024}+(?:\x4c(?:\x6f\xa7?|[\x5a\x4f]\x60?|%b)?)?\Z" % (_BLANKS, _NAME))
"""The beginning of a text that may match `EBCDIC_MARKUP` with more bytes."""
XML_ENCODING = re.compile(r"<\?xml\s[^>]*?\sencoding\s*=\s*[\"']([A-Za-z][A-Za-z0-9._-]{0,39})")
XML_CHARACTERS = (
    "<>&;:=\"'/!?-_.[]()%#+ \t\r\n0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"  # of its syntax
)
KNOWN_NAMES = frozenset({*aliases, *aliases.values()})
"""Names of Python's codecs. No other name is passed to Python, which would import a module of this name."""
# Senders use the code pages of vendors under these names. Other readers accept them; Python's codecs do not.
SUPERSETS = {"gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949", "big5": "cp950"}
MULTIBYTE_SUPERSETS = frozenset({"utf-8", "euc_jp", "euc_jis_2004", "euc_jisx0213"})
ISO_2022_ESCAPE = b"\x1b$B!!"
UNDEFINED_BYTE = "\ufffe"


class UnreadableText(Exception):
    """The bytes are not valid in their charset, in their content coding, or as XML. The message is for the log."""


def detect_charset(first: bytes, declared: str, *, last: bool, is_markup: bool = True) -> str | None:
    """Return the codec of a text that begins with `first`; None if more bytes are needed, but never with `last`.

    `declared` is the charset of the media type, or "". Only markup may be in EBCDIC or have an XML declaration.
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
    """Return whether each byte below 128 is that ASCII character, even after a lead byte."""
    if codec in MULTIBYTE_SUPERSETS:
        return True
    sample = bytes(range(256)) + ISO_2022_ESCAPE
    try:
        text = sample.decode(codec, "replace")
    except UnicodeError:
        return False
    return len(text) == len(sample) and text.startswith(ASCII)


def is_wide_text(first: bytes) -> bool:
    """Return whether a text begins like UTF-16 or UTF-32."""
    return first.find(b"\0", 0, 4) >= 0 or first[:2] in UTF_16_BOMS


def decode_to_utf8(first: bytes, declared: str, *, is_markup: bool) -> bytes:
    """Return the beginning of a text, which may be cut anywhere, in UTF-8, with U+FFFD for invalid bytes."""
    codec = detect_charset(first, declared, last=True, is_markup=is_markup) or "utf-8"
    return first.decode(codec, "replace").encode()


@lru_cache(maxsize=256)
def find_codec(name: str, less_than: bytes = b"<") -> str:
    """Return the codec of a charset; "" if its name is unknown or contradicts the text.

    `less_than` is the byte of `<` in the text; the codec must encode it so. For ASCII, this applies to all characters
    of XML's syntax.
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
    """Return the 256 characters of a single-byte charset; None for other charsets.

    An undefined byte is read as the control character of its number, as in Latin-1: this hides no character of XML.
    """
    table = getattr(sys.modules.get(f"encodings.{codec.replace('-', '_')}"), "decoding_table", None)
    if table is None:
        return None
    return "".join(
        chr(byte) if letter == UNDEFINED_BYTE else letter
        for byte, letter in enumerate(table.ljust(256, UNDEFINED_BYTE))
    )


def _decode_readable(decoder: codecs.IncrementalDecoder, data: bytes, *, last: bool) -> tuple[str, bytes]:
    """Return the text before the first invalid bytes, and the bytes from there on."""
    state = decoder.getstate()
    try:
        return decoder.decode(data, last), b""
    except UnicodeDecodeError as error:
        pending = bytes(error.object)  # the bytes that were buffered in the decoder, and `data`
        decoder.setstate(state)
        return decoder.decode(data[: max(0, error.start - len(pending) + len(data))]), pending[error.start :]


class Utf16Transcoder:
    """Converts a UTF-16 text to UTF-8 in pieces, and UTF-8 back to UTF-16. Unpaired surrogates are not changed."""

    __slots__ = ("_codec", "_decoder", "_utf8")

    def __init__(self, codec: str) -> None:
        """`codec` is one of `UTF_16`."""
        self._codec = codec
        self._decoder = codecs.getincrementaldecoder(codec)("surrogatepass")
        self._utf8 = codecs.getincrementaldecoder("utf-8")("surrogatepass")

    def decode(self, data: bytes, *, last: bool = False) -> tuple[bytes, bytes]:
        """Return the text in UTF-8, and the bytes from the first invalid one on."""
        text, unreadable = _decode_readable(self._decoder, data, last=last)
        return text.encode("utf-8", "surrogatepass"), unreadable

    def encode(self, data: bytes) -> bytes:
        """Convert UTF-8 to UTF-16."""
        return self._utf8.decode(data).encode(self._codec, "surrogatepass")


class TextDecoder:
    """Converts a text to UTF-8 in pieces, and maps offsets in the result to offsets in the original bytes.

    `error` is set at the first bytes that are invalid in the charset: nothing more is returned after that.
    """

    __slots__ = ("_charset", "_declared", "_decoder", "_raw", "_table", "_utf8", "_waiting", "error")

    def __init__(self, declared: str) -> None:
        """Set the charset that the media type declares, or ""."""
        self._declared = declared
        self._charset: str | None = None
        self._waiting = b""
        self._table: str | None = None
        self._decoder: codecs.IncrementalDecoder | None = None
        self._raw = bytearray()
        self._utf8 = bytearray()
        self.error = ""

    def feed(self, data: bytes, *, last: bool) -> bytes:
        """Decode more bytes, and return the text that is complete with them. UTF-8 is not changed or checked."""
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
        """Map ascending offsets in the UTF-8 text to offsets in the original bytes. Raise UnreadableText if the mapping
        is ambiguous.
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
        """Return the number of original bytes, from `start` on, that encode this text."""
        if self._table is not None:
            return len(text)
        encoded = text.encode(self._charset or "")
        if not self._raw.startswith(encoded, start):  # a stateful charset has several encodings of one text
            raise UnreadableText(f"its beginning is {self._charset} in an unusual encoding")
        return len(encoded)
