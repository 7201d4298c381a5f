"""The URL syntax of JSON (RFC 8259 §7), XML (XML 1.0 §4.1), HTML and YAML (YAML 1.2 §5.7)."""

import re
from collections.abc import Iterable, Mapping

from gateway.proxy.rewriting.decoded_url import (
    BORDER,
    CODED_COLON,
    CODED_SLASH,
    PATH_ENDS,
    UrlSyntax,
    decode_unit,
    hex_pattern,
)

HEX = b"0123456789abcdefABCDEF"
CODES = {b"h": (b"68", b"48"), b"t": (b"74", b"54"), b"p": (b"70", b"50"), b"s": (b"73", b"53")}
NUMBERS = {b"h": b"104|72", b"t": b"116|84", b"p": b"112|80", b"s": b"115|83"}
MAX_DECODED = 8
"""Different character references of a text that are decoded one after the other."""

# A letter, a digit or one of `-._~`, by its code in hexadecimal or decimal; few others too.
_HEX = rb"(?:[4-7][0-9a-f]|3[0-9]|2[de])"
_DECIMAL = rb"(?:4[5-9]|[5-9][0-9]|1[012][0-9])"
_NO_URL = rb'"\x00-\x20<>'
# Not in a path: `PATH_ENDS` as bytes, in \u escapes, and in character references (decimal, hexadecimal).
_NO_PATH = _NO_URL + rb"?#\x85\xa0"
_REFERENCE_ENDS = b"0*(?:%b)|[xX]0*(?:%b)" % ("|".join(map(str, PATH_ENDS)).encode(), hex_pattern(PATH_ENDS, 1))


def _patterns(
    first: bytes, starts: bytes, letters: Mapping[bytes, bytes], marks: tuple[bytes, bytes], refs: tuple[bytes, bytes]
) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """Return `UrlSyntax.start` and `.slashes`. A URL begins with a byte of the set `first`. Behind it, `starts` matches
    the rest of an `h`, and the first of `refs` the rest of a slash that begins a value; the second one is a slash.
    """
    ref, slash = refs
    colon, any_slash = (b"(?:%b)" % mark for mark in marks)
    scheme = b"%b(?:%b)%b%b%b(?P<s>%b)?(?P<colon>%b)(?P<slash>%b)%b" % (
        BORDER, starts, letters[b"t"], letters[b"t"], letters[b"p"], letters[b"s"], colon, any_slash, any_slash,
    )  # fmt: skip
    return (
        re.compile(rb"(?s)[%b](?:%b|(?:%b)(?P<ref>)(?:%b)?)\Z" % (first, scheme, ref, slash)),
        re.compile(rb"%b%b()(?=[0-9A-Za-z_\[]|\\[ux]|&#|%%5[bB])|[%b](?:%b)()" % (any_slash, any_slash, first, ref)),
    )


# JSON and YAML --------------------------------------------------------------------------------------------------------

_WIDTHS = {b"u": 4, b"x": 2}
_AUTHORITY_ENDS = tuple(b"#/?")


def _hex_escape(letters: Iterable[bytes], excluded: Iterable[int] = ()) -> bytes:
    r"""Return a pattern for escapes like \u0041 or \x41 of all characters but these codes."""
    patterns = []
    for letter in letters:
        ends = hex_pattern((code for code in excluded if code < 16 ** _WIDTHS[letter]), _WIDTHS[letter])
        patterns.append(rb"\\%b%b[0-9a-fA-F]{%d}" % (letter, b"(?!%b)" % ends if ends else b"", _WIDTHS[letter]))
    return b"|".join(patterns)


def _unescape(text: bytes) -> bytes:
    codes = text.replace(rb"\x", rb"\u00")
    return codes.decode("raw_unicode_escape", "replace").encode("latin-1", "replace")


def _backslash_syntax(letters: tuple[bytes, ...], ref: bytes, quote: bytes, contexts: Mapping[str, bytes]) -> UrlSyntax:
    """Return the syntax of texts with escapes that begin with a backslash and one of these letters.

    `ref` is a pattern for what is before a slash that begins a value, `quote` a delimiter of strings beside `"`.
    """
    prefixes = [{b"u": b"u00", b"x": b"x"}[letter] for letter in letters]
    code = b"(?:%b)" % b"|".join(prefixes)
    slash = rb"\\?/|\\%b2[fF]" % code
    any_slash = rb"\\{0,3}/|\\%b2[fF]|%b" % (code, CODED_SLASH)
    start, slashes = _patterns(
        rb"hH\\/",
        rb"(?<=[hH])|(?<=\\)%b[46]8" % code,
        {letter: rb"(?:[%b%b]|\\%b(?:%b|%b))" % (letter, letter.upper(), code, *CODES[letter]) for letter in CODES},
        (rb":|\\%b3[aA]|%b" % (code, CODED_COLON), any_slash),
        (ref % code, slash),
    )
    no_url, no_path = _NO_URL + rb"\\", _NO_PATH + rb"\\" + quote
    in_path = rb"\\{1,3}/|" + _hex_escape(letters, PATH_ENDS) + (rb"|%b(?![ \t\r\n])" % quote if quote else b"")
    in_url = rb"\\{1,3}/|" + _hex_escape(letters)
    groups = zip(letters, (b"x", b"y"), strict=False)
    unit = b"|".join(rb"\\%b(?P<%b>[0-9a-fA-F]{%d})" % (letter, group, _WIDTHS[letter]) for letter, group in groups)
    return UrlSyntax(
        start=start,
        first_bytes=rb"hH\/",
        start_bytes=rb"hHtTpPsS:/\%%%b" % b"".join(letters) + HEX,
        slashes=slashes,
        escapes=rb"\\%b(?:%b)" % (code, _HEX),
        escape_bytes=rb"\%",
        slash=re.compile(slash),
        coded_slashes=tuple(prefix + b"2f" for prefix in prefixes),
        **contexts,
        path=re.compile(b"[^%b]*+(?:(?:%b)[^%b]*+)*" % (no_path, in_path, no_path)),
        host=re.compile(b"(?:[^%b/?#]|%b)*" % (no_url + quote, _hex_escape(letters, _AUTHORITY_ENDS))),
        whole_url=re.compile(b"[^%b]*+(?:(?:%b)[^%b]*+)*" % (no_url, in_url, no_url)),
        units=re.compile(rb"%b|\\{1,3}(?P<slash>/)" % unit),
        escape_start=b"\\",
        escape_prefix=b"\\" + (prefixes[0] if len(prefixes) == 1 else b""),
        escape_pattern=b"|".join(rb"\\%b(?:XX)" % prefix for prefix in prefixes),
        unescape=_unescape,
        to_escape=(('"', '\\"'), ("\\", "\\\\")),
    )


JSON = _backslash_syntax(
    (b"u",),
    rb'(?<="/)(?<!\\"/)|(?<="\\)(?<!\\"\\)(?:/|%b2[fF])',
    b"",
    {
        "before_path": rb'(?:(?:href|self|tion|[-"]url)"[\s:]*|^[^"]{0,3}"?[\s:]{8,})"',
        "link_end": rb'[?#"<> \t\r\n]|\\["bfnrt]',
        "reference_end": rb'"[ \t\r\n]{0,64}+[,\]}]',
    },
)

YAML = _backslash_syntax(
    (b"u", b"x"),
    rb"""(?<=[ \t"'\[{,]/)|(?<="\\)(?:/|%b2[fF])""",
    b"'",
    {
        "before_path": rb"""(?:[fln]["']?[ \t]*:|^["']?[ \t:]{8,})[ \t]+["']?""",
        "link_end": rb"""[<> \t\r\n]|["'](?=\r?\n)|[?#][^\x00-\x20"'<>\\:]{0,1000}+["']?\r?\n""",
        "reference_end": b"",
    },
)

# XML and HTML ---------------------------------------------------------------------------------------------------------


_LETTER_REFERENCES = re.compile(rb"&#(?:(?:x%b|%b);|x?0)" % (_HEX, _DECIMAL), re.IGNORECASE)


def _decode_references(text: bytes) -> bytes | None:
    for _ in range(MAX_DECODED):
        reference = _LETTER_REFERENCES.search(text)
        if reference is None:
            return text
        text = text.replace(reference[0], XML.units.sub(decode_unit, reference[0]))
    return None


_LETTERS = {
    letter: rb"(?:[%b%b]|&#(?:0{0,4}(?:%b)|[xX]0{0,4}(?:%b|%b));)" % (letter, letter.upper(), number, *CODES[letter])
    for letter, number in NUMBERS.items()
}
_SLASH_REFERENCE = rb"/|&#(?:0{0,4}47|[xX]0{0,4}2[fF]);"
_ANY_SLASH = _SLASH_REFERENCE + b"|" + CODED_SLASH
_REFERENCE = rb"&(?:amp|#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6});"

_XML_START, _XML_SLASHES = _patterns(
    rb"hH&/",
    rb"(?<=[hH])|(?<=&)#(?:0{0,4}(?:104|72)|[xX]0{0,4}[46]8);",
    _LETTERS,
    (rb":|&#(?:0{0,4}58|[xX]0{0,4}3[aA]);|" + CODED_COLON, _ANY_SLASH),
    (
        rb"""(?<==["']/)|(?<== ["']/)|(?<=>/)(?=/)|(?:(?<==["']&)|(?<== ["']&))#(?:0{0,4}47|[xX]0{0,4}2[fF]);""",
        _SLASH_REFERENCE,
    ),
)

XML = UrlSyntax(
    start=_XML_START,
    first_bytes=b"hH&/",
    start_bytes=b"hHtTpPsS:/&#;%xX" + HEX,
    slashes=_XML_SLASHES,
    escapes=_LETTER_REFERENCES.pattern,
    escape_bytes=b"&#;%",
    slash=re.compile(_SLASH_REFERENCE),
    coded_slashes=(b"47;", b"2f;"),
    before_path=rb"""(?:href|[\s:]src|tion)=["']|= ["']""",
    link_end=rb"""[?#"<> \t\r\n]|'(?=/?>|[ \t\r\n])""",
    reference_end=b"",
    path=re.compile(
        rb"[^%b&']*+(?:(?:'(?!/?>|[ \t\r\n])|&(?!#(?:%b);)%b)[^%b&']*+)*"
        % (_NO_PATH, _REFERENCE_ENDS, _REFERENCE.removeprefix(b"&"), _NO_PATH)
    ),
    host=re.compile(
        rb"(?:[^%b'&/?#]|&#(?!(?:0*(?:47|63|35)|[xX]0*(?:2[fF]|3[fF]|23));)(?:[0-9]{1,7}|[xX][0-9a-fA-F]{1,6});)*"
        % _NO_URL
    ),
    whole_url=re.compile(rb"[^%b&]*+(?:%b[^%b&]*+)*" % (_NO_URL, _REFERENCE, _NO_URL)),
    units=re.compile(rb"&#[xX](?P<x>[0-9a-fA-F]{1,6});|&#(?P<d>[0-9]{1,7});|(?P<amp>&)amp;"),
    escape_start=b"&",
    escape_prefix=b"&#",
    escape_pattern=rb"&#(?:0*(?:DD)|x0*(?:XX));",
    unescape=_decode_references,
    to_escape=(("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&apos;")),
)


SYNTAXES = {"json": JSON, "xml": XML, "html": XML, "yaml": YAML}
