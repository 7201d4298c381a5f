"""The URL syntax of JSON (RFC 8259 §7), XML (XML 1.0 §4.1) and YAML (YAML 1.2 §5.7)."""

import re
from collections.abc import Mapping

from gateway.proxy.rewriting.decoded_url import (
    BORDER,
    BYTE_PATH_ENDS,
    CODED_COLON,
    CODED_SLASH,
    PATH_ENDS,
    UrlSyntax,
    hex_pattern,
)

HEX = b"0123456789abcdefABCDEF"
CODES = {b"h": (b"68", b"48"), b"t": (b"74", b"54"), b"p": (b"70", b"50"), b"s": (b"73", b"53")}
NUMBERS = {b"h": b"104|72", b"t": b"116|84", b"p": b"112|80", b"s": b"115|83"}


# A letter, a digit or one of `-._~`, by its code in hexadecimal or decimal.
_HEX = rb"(?:[46][1-9a-f]|[57][0-9a]|3[0-9]|2[de]|5f|7e)"
_DECIMAL = rb"(?:4[5689]|5[0-7]|6[5-9]|[78][0-9]|9[05789]|1[01][0-9]|12[0126])"


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


# The end of a name like `baseUrl`, but none of those whose value stays (`contexts.KEPT_NAMES`).
_URL_NAME = rb'["_A-DFGI-MO-SU-Za-dfgi-mo-su-z][uU][rR][lL]'


def _decode_unicode_escapes(text: bytes) -> bytes:
    return text.decode("raw_unicode_escape", "replace").encode("latin-1", "replace").lower()


def _either(letter: bytes) -> bytes:
    return letter + letter.upper()


NO_URL = rb'"\x00-\x20<>'
# Not in a path: `PATH_ENDS` as bytes, in \u escapes, and in character references (decimal, hexadecimal).
NO_PATH = NO_URL + rb"?#\x85\xa0"
_UNICODE_ENDS = hex_pattern(PATH_ENDS, 4)
_REF_ENDS = b"0*(?:%b)|[xX]0*(?:%b)" % ("|".join(map(str, PATH_ENDS)).encode(), hex_pattern(PATH_ENDS, 1))

_JSON_LETTERS = {letter: rb"(?:[%b]|\\u00(?:%b|%b))" % (_either(letter), *codes) for letter, codes in CODES.items()}
_JSON_REF_SLASH = rb"\\?/|\\u002[fF]"
_JSON_SLASH = rb"\\{0,3}/|\\u002[fF]|" + CODED_SLASH

_JSON_START, _JSON_SLASHES = _patterns(
    rb"hH\\/",
    rb"(?<=[hH])|(?<=\\)u00[46]8",
    _JSON_LETTERS,
    (rb":|\\u003[aA]|" + CODED_COLON, _JSON_SLASH),
    (
        rb'(?<="/)(?<!\\"/)|(?<="\\)(?<!\\"\\)(?:/|u002[fF])',
        _JSON_REF_SLASH,
    ),
)

JSON = UrlSyntax(
    start=_JSON_START,
    first=rb"hH\/",
    tail=rb"hHtTpPsSu:/\%" + HEX,
    slashes=_JSON_SLASHES,
    escapes=re.compile(rb"\\u00%b" % _HEX),
    marks=rb"\%",
    slash=re.compile(_JSON_REF_SLASH),
    coded_slashes=(b"u002f",),
    before_path=rb'(?<=[\s:]"@)(?<![^fln6ce]":"@)(?<![^fln6ce]": "@)(?<![,[{] "@)',
    # Names that end like one whose value stays (`tokenUrl`) are left out; so are escapes of such an end.
    before_link=rb'(?<=[^"\\lLcC]":"@)|(?<=[^"\\lLcC]": "@)|(?<=%b":"@)|(?<=%b": "@)|(?<=[\[,]"@)|(?<=[\[,] "@)'
    % (_URL_NAME, _URL_NAME),
    before_reference=b"|".join(
        rb'(?<=[^\\]"%b"%b)' % (name, colon)
        for name in (b"href", b"url", b"self", b"location")
        for colon in (b':"@', b': "@')
    ),
    after_link=rb'/[A-Za-z0-9_=/?#&-]{0,1000}+"[,\]}]'
    rb'|@(?:[?#][^"\\\x00-\x20<>]{0,1000}+)?"[ \t\r\n]{0,64}+[,\]}]',
    path=re.compile(
        rb"[^%b\\]*+(?:(?:\\{1,3}/|\\u(?!%b)[0-9a-fA-F]{4})[^%b\\]*+)*" % (NO_PATH, _UNICODE_ENDS, NO_PATH)
    ),
    host=re.compile(rb"(?:[^%b\\/?#]|\\u(?!002[fF]|003[fF]|0023)[0-9a-fA-F]{4})*" % NO_URL),
    run=re.compile(rb"[^%b\\]*+(?:(?:\\{1,3}/|\\u[0-9a-fA-F]{4})[^%b\\]*+)*" % (NO_URL, NO_URL)),
    units=re.compile(rb"\\u(?P<x>[0-9a-fA-F]{4})|\\{1,3}(?P<slash>/)"),
    escape_start=b"\\",
    escape_prefix=rb"\u00",
    escape_pattern=rb"\\u00XX",
    unescape=_decode_unicode_escapes,
    to_escape=(('"', '\\"'), ("\\", "\\\\")),
)

_XML_LETTERS = {
    letter: rb"(?:[%b]|&#(?:0{0,4}(?:%b)|[xX]0{0,4}(?:%b|%b));)" % (_either(letter), NUMBERS[letter], *CODES[letter])
    for letter in CODES
}
_XML_REF_SLASH = rb"/|&#(?:0{0,4}47|[xX]0{0,4}2[fF]);"
_XML_SLASH = _XML_REF_SLASH + b"|" + CODED_SLASH
_XML_REF = rb"&(?:amp|#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6});"

_XML_START, _XML_SLASHES = _patterns(
    rb"hH&/",
    rb"(?<=[hH])|(?<=&)#(?:0{0,4}(?:104|72)|[xX]0{0,4}[46]8);",
    _XML_LETTERS,
    (rb":|&#(?:0{0,4}58|[xX]0{0,4}3[aA]);|" + CODED_COLON, _XML_SLASH),
    (
        rb"""(?<==["']/)|(?<== ["']/)|(?<=>/)(?=/)|(?:(?<==["']&)|(?<== ["']&))#(?:0{0,4}47|[xX]0{0,4}2[fF]);""",
        _XML_REF_SLASH,
    ),
)

XML = UrlSyntax(
    start=_XML_START,
    first=b"hH&/",
    tail=b"hHtTpPsS:/&#;%xX" + HEX,
    slashes=_XML_SLASHES,
    escapes=re.compile(rb"&#(?:(?:x%b|%b);|x?0)" % (_HEX, _DECIMAL)),
    marks=b"&#;%",
    slash=re.compile(_XML_REF_SLASH),
    coded_slashes=(b"47;", b"2f;"),
    before_path=rb"""(?<=[= ]["']@)(?<![^fnc]=["']@)""",
    before_link=rb"""(?<=\shref=["']@)|(?<=\ssrc=["']@)|(?<=\slocation=["']@)|(?<=[A-MO-Za-mo-z0-9_]>@)""",
    before_reference=b"",
    after_link=rb"""@(?:[?#"<> \t\r\n]|'(?=/?>|[ \t\r\n]))""",
    path=re.compile(
        rb"[^%b&']*+(?:(?:'(?!/?>|[ \t\r\n])|&(?!#(?:%b);)%b)[^%b&']*+)*"
        % (NO_PATH, _REF_ENDS, _XML_REF.removeprefix(b"&"), NO_PATH)
    ),
    host=re.compile(
        rb"(?:[^%b'&/?#]|&#(?!(?:0*(?:47|63|35)|[xX]0*(?:2[fF]|3[fF]|23));)(?:[0-9]{1,7}|[xX][0-9a-fA-F]{1,6});)*"
        % NO_URL
    ),
    run=re.compile(rb"[^%b&]*+(?:%b[^%b&]*+)*" % (NO_URL, _XML_REF, NO_URL)),
    units=re.compile(rb"&#[xX](?P<x>[0-9a-fA-F]{1,6});|&#(?P<d>[0-9]{1,7});|(?P<amp>&)amp;"),
    escape_start=b"&",
    escape_prefix=b"&#",
    escape_pattern=rb"&#(?:0*DD|x0*XX);",
    unescape=lambda _: None,
    to_escape=(("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&apos;")),
)

_YAML_LETTERS = {
    letter: rb"(?:[%b]|\\(?:u00|x)(?:%b|%b))" % (_either(letter), *codes) for letter, codes in CODES.items()
}
_YAML_REF_SLASH = rb"\\?/|\\(?:u00|x)2[fF]"
_YAML_ESCAPE = rb"\\{1,3}/|\\u[0-9a-fA-F]{4}|\\x[0-9a-fA-F]{2}"

_YAML_START, _YAML_SLASHES = _patterns(
    rb"hH\\/",
    rb"(?<=[hH])|(?<=\\)(?:u00|x)[46]8",
    _YAML_LETTERS,
    (rb":|\\(?:u00|x)3[aA]|" + CODED_COLON, rb"\\{0,3}/|\\(?:u00|x)2[fF]|" + CODED_SLASH),
    (
        rb"""(?<=[ \t"'\[{,]/)|(?<="\\)(?:/|(?:u00|x)2[fF])""",
        _YAML_REF_SLASH,
    ),
)

YAML = UrlSyntax(
    start=_YAML_START,
    first=rb"hH\/",
    tail=rb"hHtTpPsSux:/\%" + HEX,
    slashes=_YAML_SLASHES,
    escapes=re.compile(rb"\\(?:u00|x)%b" % _HEX),
    marks=rb"\%",
    slash=re.compile(_YAML_REF_SLASH),
    coded_slashes=(b"u002f", b"x2f"),
    before_path=rb"""(?:(?<=[ \t]@)|(?<=[ \t]["']@))(?<![^fln"' \t]:[ \t]@)(?<![^fln"' \t]:[ \t]["']@)"""
    rb"""(?<![^: \t][ \t]@)(?<![^: \t][ \t]["']@)(?<!\n  @)(?<!\n    @)(?<!\n      @)""",
    before_link=rb"""(?<=[^lL"'\s]: @)|(?<=[^lL"'\s]: ["']@)|(?<=%b: @)|(?<=%b: ["']@)"""
    rb"""|(?<=\surl: @)|(?<=\surl: ["']@)|(?<=- @)""" % (_URL_NAME, _URL_NAME),
    before_reference=b"",
    after_link=rb"""@(?:[?#][^\x00-\x20"'<>\\:]{0,1000}+)?["']?\r?\n""",
    path=re.compile(
        rb"[^%b'\\]*+(?:(?:'(?![ \t\r\n])|\\{1,3}/|\\u(?!%b)[0-9a-fA-F]{4}|\\x(?!%b)[0-9a-fA-F]{2})[^%b'\\]*+)*"
        % (NO_PATH, _UNICODE_ENDS, BYTE_PATH_ENDS, NO_PATH)
    ),
    host=re.compile(
        rb"(?:[^%b'\\/?#]|\\u(?!002[fF]|003[fF]|0023)[0-9a-fA-F]{4}|\\x(?!2[fF]|3[fF]|23)[0-9a-fA-F]{2})*" % NO_URL
    ),
    run=re.compile(rb"[^%b\\]*+(?:(?:%b)[^%b\\]*+)*" % (NO_URL, _YAML_ESCAPE, NO_URL)),
    units=re.compile(rb"\\u(?P<x>[0-9a-fA-F]{4})|\\x(?P<y>[0-9a-fA-F]{2})|\\{1,3}(?P<slash>/)"),
    escape_start=b"\\",
    escape_prefix=b"\\",
    escape_pattern=rb"\\u00XX|\\xXX",
    unescape=lambda text: _decode_unicode_escapes(text.replace(rb"\x", rb"\u00")),
    to_escape=(('"', '\\"'), ("\\", "\\\\")),
)
