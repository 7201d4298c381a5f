"""Pure: which charset an XML text is in (RFC 7303 §3.2, XML 1.0 appendix F), and the text as UTF-8, with the way back
from a place in it to the bytes that came.

What the bytes look like counts first: no reader takes UTF-16 for UTF-8, whatever somebody declared. Then the media
type's charset, then the XML declaration.
"""

import codecs
import re
import sys
from collections.abc import Sequence
from encodings.aliases import aliases
from functools import lru_cache

DECLARATION = 1024  # bytes that an XML declaration may have
# Appendix F: byte order marks, then where the zeros of `<` or a blank lie.
MARKS = (
    (re.compile(rb"\xff\xfe\0\0|[^\0]\0\0\0", re.DOTALL), "utf-32-le"),
    (re.compile(rb"\0\0\xfe\xff|\0\0\0[^\0]", re.DOTALL), "utf-32-be"),
    (re.compile(rb"\xff\xfe|[^\0]\0", re.DOTALL), "utf-16-le"),
    (re.compile(rb"\xfe\xff|\0[^\0]", re.DOTALL), "utf-16-be"),
    (re.compile(rb"\xef\xbb\xbf"), "utf-8"),
)
# `<` in EBCDIC is the letter L in ASCII, and its blanks are marks: what follows tells text from markup. After blanks,
# `<?xm`, `<!` of a comment or a DOCTYPE, or a tag's name up to its end.
_BLANKS = rb"[\x40\x25\x15\x05\x0d]"
_LETTERS = rb"\x6d\x81-\x89\x91-\x99\xa2-\xa9\xc1-\xc9\xd1-\xd9\xe2-\xe9"
_NAME = rb"[%b][\x4b\x60\x7a\xf0-\xf9%b]{0,200}+" % (_LETTERS, _LETTERS)
EBCDIC = re.compile(
    rb"%b{0,1024}+\x4c(?:\x6f\xa7\x94|[\x5a\x4f](?:\x60\x60|\xc4)|%b(?:%b|[\x6e\x61]))" % (_BLANKS, _NAME, _BLANKS)
)
EBCDIC_CUT = re.compile(rb"%b{0,1024}+(?:\x4c(?:\x6f\xa7?|[\x5a\x4f]\x60?|%b)?)?\Z" % (_BLANKS, _NAME))
"""A beginning of that."""
DECLARED = re.compile(r"<\?xml\s[^>]*?\sencoding\s*=\s*[\"']([A-Za-z][A-Za-z0-9._-]{0,39})")
SIGNS = "<>&;:=\"'/!?-_.[]()%#+ \t\r\n0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# What Python knows, by name: a stranger's word is never looked up among its modules.
KNOWN = frozenset({*aliases, *aliases.values()})
# What is written under a name is more than Python takes it for: the vendors' code pages, that all others read.
WIDER = {"gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949", "big5": "cp950"}
HOLE = "\ufffe"


class UnreadableText(Exception):
    """The bytes are no text in the charset that they are said to be in, or no XML; the text says how, for the log."""


def charset(first: bytes, told: str, *, last: bool) -> str | None:
    """Settles the charset of the text that begins so, as a codec's name; `told` is the media type's word or "". None
    where it takes more bytes to tell; never with `last`, when there are no more.
    """
    if not last and (len(first) < 4 or EBCDIC_CUT.match(first)):
        return None
    if (marked := next((name for mark, name in MARKS if mark.match(first)), None)) is not None:
        return marked
    home, signs = ("cp037", b"\x4c") if EBCDIC.match(first) else ("utf-8", b"<")
    if codec := _codec(told, signs):
        return codec
    text = first[:DECLARATION].decode(home, "replace").lstrip(" \t\r\n")
    if text and not "<?".startswith(text[:2]):
        return home
    if "?>" not in text and len(first) < DECLARATION and not last:
        return None
    declared = DECLARED.match(text.partition("?>")[0])
    return (_codec(declared[1], signs) if declared else "") or home


@lru_cache(maxsize=256)
def _codec(name: str, sign: bytes) -> str:
    """The codec of that name, where it writes the signs of XML in the same family; "" for any other."""
    plain = name.strip().lower().replace("-", "_").replace(" ", "_")
    if plain.startswith("windows_"):
        plain = plain.replace("windows_", "cp", 1)
    if plain not in KNOWN:
        return ""
    try:
        codec = codecs.lookup(plain).name
        written = SIGNS.encode(codec)
    except (LookupError, UnicodeError):
        return ""
    is_kin = written == SIGNS.encode("ascii") if sign == b"<" else written[:1] == sign
    return WIDER.get(codec, codec) if is_kin else ""


@lru_cache(maxsize=64)
def _letters(codec: str) -> str | None:
    """The 256 characters of a charset with one byte for each; None for any other. A byte that the charset leaves open
    stands for the control of its number, as in Latin-1: no sign of XML is hidden there.
    """
    table = getattr(sys.modules.get(f"encodings.{codec.replace('-', '_')}"), "decoding_table", None)
    if table is None:
        return None
    return "".join(chr(byte) if letter == HOLE else letter for byte, letter in enumerate(table.ljust(256, HOLE)))


class TextDecoder:
    """Takes bytes with `feed`, and gives them as UTF-8; those that are UTF-8 pass as they are. `broken` says why
    nothing more is given: behind that place there is no text in the charset.
    """

    __slots__ = ("_charset", "_decoder", "_letters", "_raw", "_told", "_utf8", "_waiting", "broken")

    def __init__(self, told: str) -> None:
        """`told`: the charset that the media type names, or ""."""
        self._told = told
        self._charset: str | None = None
        self._waiting = b""
        self._letters: str | None = None
        self._decoder: codecs.IncrementalDecoder | None = None
        self._raw = bytearray()
        self._utf8 = bytearray()
        self.broken = ""

    def feed(self, data: bytes, *, last: bool) -> bytes:
        """Gives what of the text is known by now."""
        if self._charset is None:
            data = self._waiting = self._waiting + data
            self._charset = charset(data, self._told, last=last)
            if self._charset is None:
                return b""
            if self._charset not in {"utf-8", "ascii"}:
                self._letters = _letters(self._charset)
                self._decoder = codecs.getincrementaldecoder(self._charset)()
        if self._decoder is None:
            return data
        if self.broken:
            return b""
        text = self._decoded(self._decoder, data, last=last).encode("utf-8", "surrogatepass")
        self._raw += data
        self._utf8 += text
        return text

    def _decoded(self, decoder: codecs.IncrementalDecoder, data: bytes, *, last: bool) -> str:
        if self._letters is not None:
            return codecs.charmap_decode(data, "strict", self._letters)[0]
        state = decoder.getstate()
        try:
            return decoder.decode(data, last)
        except UnicodeDecodeError as error:
            self.broken = f"its beginning is no text in {self._charset}"
            decoder.setstate(state)
            return decoder.decode(data[: max(0, error.start - len(error.object) + len(data))])

    def origins(self, places: Sequence[int]) -> list[int]:
        """Where those places of the UTF-8, in rising order, lie in the bytes that came. Raises Unreadable where there
        is no telling.
        """
        if self._decoder is None or self._charset is None:
            return list(places)
        at, origin, found = 0, 0, []
        for place in places:
            origin += self._width(self._utf8[at:place].decode(), origin)
            at = place
            found.append(origin)
        return found

    def _width(self, text: str, origin: int) -> int:
        """How many of the bytes from there make that text."""
        if self._letters is not None:
            return len(text)
        step = text.encode(self._charset or "")
        if not self._raw.startswith(step, origin):  # another spelling of the same text: stateful charsets have such
            raise UnreadableText(f"its beginning is {self._charset} in an unusual spelling")
        return len(step)
