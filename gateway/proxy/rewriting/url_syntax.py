"""The URL syntax of JSON (RFC 8259 §7), XML (XML 1.0 §4.1) and YAML (YAML 1.2 §5.7)."""

import re
from collections.abc import Mapping

from gateway.proxy.rewriting.decoded_url import (
    BORDER,
    BYTE_PATH_ENDS,
    CODED_COLON,
    CODED_SLASH,
    MAX_START,
    PATH_ENDS,
    UrlSyntax,
    hex_pattern,
)

CODES = {b"h": (b"68", b"48"), b"t": (b"74", b"54"), b"p": (b"70", b"50"), b"s": (b"73", b"53")}
NUMBERS = {b"h": b"104|72", b"t": b"116|84", b"p": b"112|80", b"s": b"115|83"}


def _find(
    first: bytes, starts: bytes, letters: Mapping[bytes, bytes], marks: tuple[bytes, bytes], refs: bytes
) -> bytes:
    """Return the pattern for the beginning of a URL. It begins with a set of bytes, because only such a pattern is
    searched quickly, and looks back for what these bytes end: `starts` matches the end of an `h`.
    """
    colon, slash = (b"(?:%b)" % mark for mark in marks)
    rest = b"%b%b%b(?P<s>%b)?(?P<colon>%b)(?P<slash>%b)%b" % (
        letters[b"t"], letters[b"t"], letters[b"p"], letters[b"s"], colon, slash, slash,
    )  # fmt: skip
    return rb"(?s)[%b](?:%b(?:%b)%b|(?:%b)(?P<ref>))" % (first, BORDER, starts, rest, refs)


def _tail(first: bytes, alphabet: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"[%b][%b]{0,%d}\Z" % (first, alphabet, MAX_START))


def _ends(alphabet: str) -> frozenset[int]:
    return frozenset(alphabet.encode())


def _either(letter: bytes) -> bytes:
    return letter + letter.upper()


CODED = re.compile(rb"%(?:2[fF]|3[aA])")
HEX = "0123456789abcdefABCDEF"
NO_URL = rb'"\x00-\x20<>'
# Not in a path: `PATH_ENDS` as bytes, in \u escapes, and in character references (decimal, hexadecimal).
NO_PATH = NO_URL + rb"?#\x85\xa0"
_UNICODE_ENDS = hex_pattern(PATH_ENDS, 4)
_REF_ENDS = b"0*(?:%b)|[xX]0*(?:%b)" % ("|".join(map(str, PATH_ENDS)).encode(), hex_pattern(PATH_ENDS, 1))

# The second slash behind a scheme, whose first slash has been matched.
_PLAIN_SCHEME = rb"(?:(?<=[pPsS]:/)|(?<=[pPsS]:\\/)|(?<=[pPsS]:\\\\/)|(?<=[pPsS]:\\\\\\/))\\{0,3}/"

_JSON_LETTERS = {letter: rb"(?:[%b]|\\u00(?:%b|%b))" % (_either(letter), *codes) for letter, codes in CODES.items()}
_JSON_SLASH = rb"\\{0,3}/|\\u002[fF]|" + CODED_SLASH

JSON = UrlSyntax(
    find=re.compile(
        _find(
            rb"hH\\/",
            rb"(?<=[hH])|(?<=\\)u00[46]8",
            _JSON_LETTERS,
            (rb":|\\u003[aA]|" + CODED_COLON, _JSON_SLASH),
            rb'(?<="/)(?<!\\"/)|(?<="\\)(?<!\\"\\)(?:/|u002[fF])',
        )
    ),
    plain=re.compile(
        rb'/(?<=[":\\]/)(?:(?:(?<=[: \t\r\n]"/)|(?<=[: \t\r\n]"\\/)'
        rb'|(?:(?<="/)|(?<="\\/))(?=/(?!["/<> ])|\\|\Z))(?P<ref>)|%b)' % _PLAIN_SCHEME
    ),
    escapes=(re.compile(rb"\\u00(?:2[fF]|3[aA]|[46]8|[57][034])"), CODED),
    starts=_ends('/\\"'),
    tail=_tail(rb"hH\\/", rb"hHtTpPsSu:/\\%0-9a-fA-F"),
    tail_ends=_ends("hHtTpPsSu:/\\%" + HEX),
    slash=re.compile(rb"\\?/|\\u002[fF]"),
    path=re.compile(
        rb"[^%b\\]*+(?:(?:\\{1,3}/|\\u(?!%b)[0-9a-fA-F]{4})[^%b\\]*+)*+" % (NO_PATH, _UNICODE_ENDS, NO_PATH)
    ),
    host=re.compile(rb"(?:[^%b\\/?#]|\\u(?!002[fF]|003[fF]|0023)[0-9a-fA-F]{4})*+" % NO_URL),
    run=re.compile(rb"[^%b\\]*+(?:(?:\\{1,3}/|\\u[0-9a-fA-F]{4})[^%b\\]*+)*+" % (NO_URL, NO_URL)),
    units=re.compile(rb"\\u(?P<x>[0-9a-fA-F]{4})|\\{1,3}(?P<slash>/)"),
    escape_start=b"\\",
    to_escape=(('"', '\\"'), ("\\", "\\\\")),
)

_XML_LETTERS = {
    letter: rb"(?:[%b]|&#(?:0{0,4}(?:%b)|[xX]0{0,4}(?:%b|%b));)" % (_either(letter), NUMBERS[letter], *CODES[letter])
    for letter in CODES
}
_XML_SLASH = rb"/|&#(?:0{0,4}47|[xX]0{0,4}2[fF]);|" + CODED_SLASH
_XML_REF = rb"&(?:amp|#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6});"

XML = UrlSyntax(
    find=re.compile(
        _find(
            rb"hH&/",
            rb"(?<=[hH])|(?<=&)#(?:0{0,4}(?:104|72)|[xX]0{0,4}[46]8);",
            _XML_LETTERS,
            (rb":|&#(?:0{0,4}58|[xX]0{0,4}3[aA]);|" + CODED_COLON, _XML_SLASH),
            rb"""(?:(?<==["']/)|(?<== ["']/)|(?<=>/)(?=/)"""
            rb"""|(?:(?<==["']&)|(?<== ["']&))#(?:0{0,4}47|[xX]0{0,4}2[fF]);)""",
        )
    ),
    plain=re.compile(
        rb"""/(?<=[:"'>]/)(?:(?<=[pPsS]:/)/|(?:(?:(?<==["']/)|(?<== ["']/))(?!>)|(?<=>/)(?=/(?![/"'<> ])))(?P<ref>))"""
    ),
    escapes=(re.compile(rb"&#"), CODED),
    starts=_ends("/&\"' "),
    tail=_tail(rb"hH&/", rb"hHtTpPsS:/&#;%xX0-9a-fA-F"),
    tail_ends=_ends("hHtTpPsS:/&#;%xX" + HEX),
    slash=re.compile(rb"/|&#(?:0{0,4}47|[xX]0{0,4}2[fF]);"),
    path=re.compile(
        rb"[^%b&']*+(?:(?:'(?!/?>|[ \t\r\n])|&(?!#(?:%b);)%b)[^%b&']*+)*+"
        % (NO_PATH, _REF_ENDS, _XML_REF.removeprefix(b"&"), NO_PATH)
    ),
    host=re.compile(
        rb"(?:[^%b'&/?#]|&#(?!(?:0*(?:47|63|35)|[xX]0*(?:2[fF]|3[fF]|23));)(?:[0-9]{1,7}|[xX][0-9a-fA-F]{1,6});)*+"
        % NO_URL
    ),
    run=re.compile(rb"[^%b&]*+(?:%b[^%b&]*+)*+" % (NO_URL, _XML_REF, NO_URL)),
    units=re.compile(rb"&#[xX](?P<x>[0-9a-fA-F]{1,6});|&#(?P<d>[0-9]{1,7});|(?P<amp>&)amp;"),
    escape_start=b"&",
    to_escape=(("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&apos;")),
)

_YAML_LETTERS = {
    letter: rb"(?:[%b]|\\(?:u00|x)(?:%b|%b))" % (_either(letter), *codes) for letter, codes in CODES.items()
}
# A character before a bracket or a comma that begins no item of a sequence: `contexts.BEFORE_ITEM` are the others.
_NO_ITEM = rb"[^ \t\n\r\f\v\[{,]"
_YAML_ESCAPE = rb"\\{1,3}/|\\u[0-9a-fA-F]{4}|\\x[0-9a-fA-F]{2}"

YAML = UrlSyntax(
    find=re.compile(
        _find(
            rb"hH\\/",
            rb"(?<=[hH])|(?<=\\)(?:u00|x)[46]8",
            _YAML_LETTERS,
            (rb":|\\(?:u00|x)3[aA]|" + CODED_COLON, rb"\\{0,3}/|\\(?:u00|x)2[fF]|" + CODED_SLASH),
            rb"""(?<=[ \t"'\[{,]/)|(?<="\\)(?:/|(?:u00|x)2[fF])""",
        )
    ),
    plain=re.compile(
        rb"""/(?:(?:(?<=[:\-,\[ \t][ \t]/)|(?<=[ \t]["']/)|(?<=[\[,]["']/)(?<!%b[\[,]["']/)"""
        rb"""|(?<=[\[,]/)(?<!%b[\[,]/)(?=/(?!["/<> ])|\\|\Z)|(?<="\\/))(?P<ref>)|%b)"""
        % (_NO_ITEM, _NO_ITEM, _PLAIN_SCHEME)
    ),
    escapes=(re.compile(rb"\\(?:u00|x)(?:2[fF]|3[aA]|[46]8|[57][034])"), CODED),
    starts=_ends("/\\\"'[, \t"),
    tail=_tail(rb"hH\\/", rb"hHtTpPsSux:/\\%0-9a-fA-F"),
    tail_ends=_ends("hHtTpPsSux:/\\%" + HEX),
    slash=re.compile(rb"\\?/|\\(?:u00|x)2[fF]"),
    path=re.compile(
        rb"[^%b'\\]*+(?:(?:'(?![ \t\r\n])|\\{1,3}/|\\u(?!%b)[0-9a-fA-F]{4}|\\x(?!%b)[0-9a-fA-F]{2})[^%b'\\]*+)*+"
        % (NO_PATH, _UNICODE_ENDS, BYTE_PATH_ENDS, NO_PATH)
    ),
    host=re.compile(
        rb"(?:[^%b'\\/?#]|\\u(?!002[fF]|003[fF]|0023)[0-9a-fA-F]{4}|\\x(?!2[fF]|3[fF]|23)[0-9a-fA-F]{2})*+" % NO_URL
    ),
    run=re.compile(rb"[^%b\\]*+(?:(?:%b)[^%b\\]*+)*+" % (NO_URL, _YAML_ESCAPE, NO_URL)),
    units=re.compile(rb"\\u(?P<x>[0-9a-fA-F]{4})|\\x(?P<y>[0-9a-fA-F]{2})|\\{1,3}(?P<slash>/)"),
    escape_start=b"\\",
    to_escape=(('"', '\\"'), ("\\", "\\\\")),
)
