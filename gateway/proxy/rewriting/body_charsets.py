"""Character sets of bodies: most are read as they are, for ASCII is the same in them; UTF-16, UTF-32 and EBCDIC are
written in UTF-8 for the search and back, so that what is not renamed stays byte for byte.
"""

import codecs
import re
from functools import lru_cache
from typing import NamedTuple

ASCII = bytes(range(128)).decode()
# A byte below 128 is always that character, also behind a lead byte.
MULTIBYTE = frozenset({"utf-8", "euc_jp", "euc_jis_2004", "euc_jisx0213", "euc_kr", "gb2312"})
UNICODE = frozenset({"utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"})
BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# The first characters of JSON and XML are ASCII (RFC 4627 §3, XML 1.0 appendix F).
ZEROS = {
    (True, True, True, False): "utf-32-be",
    (False, True, True, True): "utf-32-le",
    (True, False, True, False): "utf-16-be",
    (False, True, False, True): "utf-16-le",
}
EBCDIC = "<?xml".encode("cp037")
DECLARATION = re.compile(r"""<\?xml\s[^>]*?encoding\s*=\s*["']([A-Za-z][A-Za-z0-9._-]*)["']""")
DECLARED_WITHIN = 256  # bytes


LONGEST_NAME = 40
SINGLE_BYTE = re.compile(r"(?:iso8859-|cp|koi8-|mac-|tis-|hp-|ptcp|kz)[a-z0-9]+|ascii")
NOT_SINGLE_BYTE = frozenset({"cp932", "cp949", "cp950", "cp65001"})


class Charset(NamedTuple):
    """How a body's bytes become text that is a superset of ASCII, and back."""

    codec: str
    """Empty where they are already."""

    @property
    def errors(self) -> str:
        """Half surrogate pairs pass: they are the sender's own."""
        return "surrogatepass" if self.codec.startswith("utf") else "strict"


AS_IT_IS = Charset("")


@lru_cache(maxsize=256)
def charset_of(declared: str) -> Charset | None:
    """Gives a declared character set; None where it is not read here: unknown, with states, with ASCII bytes
    behind lead bytes, or not the same again when it is written back. `utf-16` and `utf-32` are as `settle` finds them.
    """
    name = _name(declared)
    if name in MULTIBYTE:
        return AS_IT_IS
    if name in UNICODE:
        return Charset(name)
    if SINGLE_BYTE.fullmatch(name) is None or name in NOT_SINGLE_BYTE:
        return None
    characters = [_character(byte, name) for byte in range(256)]
    if "".join(characters[:128]) == ASCII:
        return AS_IT_IS
    is_same = all(not char or char.encode(name) == bytes((byte,)) for byte, char in enumerate(characters))
    return Charset(name) if is_same else None


def settle(kind: str, declared: str, first: bytes, *, final: bool) -> tuple[Charset | None] | None:
    """Gives the character set of a body that begins so, in a tuple; None in it where it cannot be read. None where more
    bytes are needed. What the head declares counts first, then a byte order mark, then what XML declares (RFC 7303 §3).
    """
    charset = charset_of(declared) if declared else AS_IT_IS
    if charset is None or (declared and charset.codec not in {"utf-16", "utf-32"}):
        return (charset,)
    if len(first) < 4 and not final:
        return None
    codec = next((codec for bom, codec in BOMS if first.startswith(bom)), "") or ZEROS.get(_zeros(first), "")
    if declared:
        return (Charset(codec if codec.startswith(charset.codec) else f"{charset.codec}-be"),)
    if codec:
        return (charset_of(codec),)
    return _declared_inside(first, final=final) if kind in {"xml", "html"} else (AS_IT_IS,)


def _declared_inside(first: bytes, *, final: bool) -> tuple[Charset | None] | None:
    is_ebcdic = first.startswith(EBCDIC)
    if not is_ebcdic and first[:5] != b"<?xml"[: len(first)]:
        return (AS_IT_IS,)
    text = first[:DECLARED_WITHIN].decode("cp037" if is_ebcdic else "latin-1")
    if "?>" not in text and len(first) < DECLARED_WITHIN and not final:
        return None
    found = DECLARATION.match(text)
    charset = charset_of(found[1]) if found else Charset("cp037") if is_ebcdic else AS_IT_IS
    # A declaration of two or four bytes that is read in one: the bytes are right.
    return (AS_IT_IS if charset is not None and charset.codec in UNICODE else charset,)


def is_ascii_json(declared: str, first: bytes) -> bool:
    """True where a JSON text that begins so surely is in a superset of ASCII: a short way of `settle`."""
    if declared:
        return charset_of(declared) is AS_IT_IS
    return len(first) >= 4 and first[0] < 0x80 and b"\0" not in first[:4]


class Transcoding:
    """Writes a body's text in UTF-8, and UTF-8 in the body's character set."""

    def __init__(self, charset: Charset) -> None:
        self._codec, self._errors = charset.codec, charset.errors
        self._decoder = codecs.getincrementaldecoder(self._codec)(self._errors)
        self._encoder = codecs.getincrementaldecoder("utf-8")("surrogatepass")

    def read(self, piece: bytes, *, final: bool = False) -> tuple[bytes, bytes]:
        """Gives the text, and the bytes from the first one on that cannot be decoded."""
        try:
            return self._utf8(self._decoder.decode(piece, final)), b""
        except UnicodeDecodeError as error:
            # `object` is what was kept of earlier pieces and this one.
            whole = bytes(error.object)
            text = whole[: error.start].decode(self._codec, self._errors)
            return self._utf8(text), whole[error.start :]

    def write(self, piece: bytes) -> bytes:
        """Gives UTF-8 in the body's character set."""
        return self._encoder.decode(piece).encode(self._codec, self._errors)

    def _utf8(self, text: str) -> bytes:
        return text.encode("utf-8", "surrogatepass")


def _zeros(first: bytes) -> tuple[bool, bool, bool, bool]:
    one, two, three, four = (byte == 0 for byte in first[:4].ljust(4, b"x"))
    return one, two, three, four


def _character(byte: int, codec: str) -> str:
    try:
        return bytes((byte,)).decode(codec)
    except UnicodeDecodeError:
        return ""


def _name(charset: str) -> str:
    """Python's own name of a character set; empty for what is none."""
    if len(charset) > LONGEST_NAME:
        return ""
    try:
        b"".decode(charset)
        return {"utf-8-sig": "utf-8"}.get(found := codecs.lookup(charset).name, found)
    except (LookupError, ValueError):
        return ""
