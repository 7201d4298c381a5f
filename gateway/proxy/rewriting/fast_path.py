"""Decide most URLs without escapes at a fifth of the cost: in the most frequent contexts (the whole value of a member
or an element of JSON, a whole attribute or text of XML), and in any other. The decision is the same as on the slow
path, or there is none.

Thousands of URLs of a body share a few prefixes. A prefix below which no other upstream begins has the same replacement
for every URL: it is looked up once.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

from gateway.proxy.rewriting.contexts import ContextAnswer, UrlContext, UrlSpan
from gateway.proxy.rewriting.decoded_url import SENTENCE_ENDS, Edit, ScanResult, UrlSyntax, encode_head
from gateway.proxy.rewriting.url_map import Paths, Replacement, RequestContext, UrlMap
from gateway.proxy.rewriting.url_syntax import JSON, XML, YAML
from gateway.proxy.rewriting.xml_context import decide_by_html_tag, decide_by_xml_tag

MAX_CACHED = 256  # prefixes per body
MAX_SIZES = 8  # different sizes of prefixes
MAX_CACHED_SIZE = 300  # bytes of a prefix
MAX_TAG = 256  # bytes of a tag before its URL
SECURE = 0x73
SLASH, BACKSLASH, APOSTROPHE = b"/\\'"
ENDS = SENTENCE_ENDS.encode()

# These patterns match behind the two slashes of a URL. Groups: 1 for a string that may be a member name, 2 authority,
# 3 path.
_AUTHORITY = rb"([A-Za-z0-9.\-]{1,255}+(?::[0-9]{0,5}+)?)"
# The value of a member whose name is `url` or ends like none of `contexts.KEPT_NAMES`; the first element of an array.
_MEMBERS = (
    *(rb'[a-zA-Z][a-km-zA-KM-Z]": "', rb'[a-zA-Z][a-km-zA-KM-Z]":"'),
    *(rb'[a-zA-Z][a-qs-zA-QS-Z][lL]": "', rb'[a-zA-Z][a-qs-zA-QS-Z][lL]":"'),
    *(rb'"[uU][rR][lL]": "', rb'"[uU][rR][lL]":"'),
    rb'\["',
)
_ELEMENTS = (rb', "', rb',"')


def _behind(starts: tuple[bytes, ...]) -> bytes:
    return b"|".join(b"(?<=%b%b)" % (start, scheme) for scheme in (b"https://", b"http://") for start in starts)


# Behind a comma is an element or a member name: the character behind the string decides.
JSON_VALUE = re.compile(
    rb'(?:%b|((?:%b)))%b(/[!$-;=@-\[\]-~]{0,1000}+)(?=[?#"])(?(1)(?=[^"\\]{0,1000}+"[,\]]))'
    % (_behind(_MEMBERS), _behind(_ELEMENTS), _AUTHORITY)
)
XML_VALUE = re.compile(rb'(?:%b)()?%b(/[!$%%(-;=@-~]{0,1000}+)(?=[?#"<])' % (_behind((rb'[">]',)), _AUTHORITY))
# A value that begins with a slash, up to a certain end of its path. Groups: 1 authority if it has a host, 2 path,
# 3 path with escaped slashes only.
_REF = (
    rb"//([A-Za-z0-9.\-]{1,255}+(?::[0-9]{0,5}+)?)(?=[/?#\"'<> \r\n])"
    rb"|(/(?![/\\&%%])[!$%%%b(-;=@-\[\]-~]{0,1000}+)(?=[?#\"'<> \r\n])%b"
)
_ESCAPED_REF = rb"|(\\/(?![/\\&%])(?:[!$%&(-.0-;=@-\[\]-~]|\\/){0,1000}+)(?=[?#\"'<> \r\n])"
JSON_REF = re.compile(_REF % (b"&", _ESCAPED_REF))
XML_REF = re.compile(_REF % (b"", b""))
NO_VALUE = re.compile(rb"(?!)")
# A URL in any context. Groups: 1 authority, 2 path, without quotes, because a quote may end it.
_ANYWHERE = rb'%b(/[!$%%%b(-;=@-\[\]-~]{0,1000}+)(?=[?#" <>\r\n])'
JSON_ANYWHERE = re.compile(_ANYWHERE % (_AUTHORITY, b"&"))
XML_ANYWHERE = re.compile(_ANYWHERE % (_AUTHORITY, b""))


class PrefixRule(NamedTuple):
    """The replacement for all URLs with a prefix."""

    taken: int
    """Bytes behind the two slashes that are replaced."""
    head: bytes | None
    """None if the URL stays."""


DELIMITERS = frozenset((b'"', b"'", b">"))
"""The character before a URL that is a value; any other URL is in running text."""
HOST = 1  # the group of `_REF`
FOREIGN = PrefixRule(0, None)  # an authority without upstreams


def _always(_: bytes, __: int) -> ContextAnswer:
    """Return True: the pattern contains the context."""
    return True


def _decide_by_tag(decide: Callable[[bytes], ContextAnswer], text: bytes, start: int) -> ContextAnswer:
    opened = text.rfind(b"<", max(0, start - MAX_TAG), start)
    return None if opened < 0 else decide(text[opened:start])


class FastPathRule(NamedTuple):
    """The patterns for one kind of document."""

    syntax: UrlSyntax
    value: re.Pattern[bytes]
    anywhere: re.Pattern[bytes]
    ref: re.Pattern[bytes]
    decide: Callable[[bytes, int], ContextAnswer]
    """Decides a match of `value`."""


RULES: Mapping[str, FastPathRule] = MappingProxyType(
    {
        "json": FastPathRule(JSON, JSON_VALUE, JSON_ANYWHERE, JSON_REF, _always),
        "xml": FastPathRule(XML, XML_VALUE, XML_ANYWHERE, XML_REF, partial(_decide_by_tag, decide_by_xml_tag)),
        "html": FastPathRule(XML, XML_VALUE, XML_ANYWHERE, XML_REF, partial(_decide_by_tag, decide_by_html_tag)),
        "yaml": FastPathRule(YAML, NO_VALUE, JSON_ANYWHERE, JSON_REF, _always),
    }
)


class FastPath:
    """Decides URLs of one body; None stands for the slow path."""

    def __init__(self, kind: str, url_map: UrlMap, context: RequestContext) -> None:
        """Take a kind of `RULES`."""
        syntax, self._value, self._anywhere, self._ref, self._decide_value = RULES[kind]
        self._to_escape = syntax.to_escape
        self._url_map = url_map
        self._context = context
        self._paths: dict[bytes, Paths] = {}
        self._ref_paths: dict[bytes, Paths] = {}
        self._ref_replacements: dict[tuple[bytes, bool], Replacement | None] = {}
        self._own_paths = url_map.paths_at(None, None, context)
        self._prefixes: dict[bytes, PrefixRule] = {}
        self._urls: dict[bytes, PrefixRule] = {}
        self._sizes: list[int] = []

    def decide(self, text: bytes, after: int) -> ScanResult | None:
        """Decide the URL whose two slashes end at `after`, if it is a value."""
        match = self._value.match(text, after)
        if match is None:
            return None
        start = after - (8 if text[after - 4] == SECURE else 7)
        prefix = self._find_prefix(text, after, match, 2)
        if prefix is None or prefix.head is None:
            return prefix and (match.end(2) if prefix is FOREIGN else match.end(), None)
        answer = self._decide_value(text, start)
        if answer is None:
            return None
        return match.end(), Edit(start, after + prefix.taken, prefix.head) if answer else None

    def decide_anywhere(self, context: UrlContext, start: int, after: int, bound: int) -> ScanResult | None:
        """Decide the URL without escapes from `start` on, in any context. `bound` bytes from its start on are read."""
        match = self._anywhere.match(context.text, after)
        if match is None:
            return None
        prefix = self._find_prefix(context.text, after, match, 1)
        if prefix is None or prefix.head is None:
            return prefix and (match.end(1) if prefix is FOREIGN else match.end(), None)
        answer = context.should_rewrite(UrlSpan(start, match.end(), start + bound))
        if answer is None:
            return None
        return match.end(), Edit(start, after + prefix.taken, prefix.head) if answer else None

    def decide_ref(self, context: UrlContext, after: int, bound: int) -> ScanResult | None:
        """Decide the value that begins with the slash before `after`. It has no escapes except in slashes."""
        text = context.text
        start = after - 2 if text[after - 2] == BACKSLASH else after - 1
        match = self._ref.match(text, start)
        opening = text[start - 1 : start]
        if match is None or (text[match.end()] == APOSTROPHE and opening != b"'"):
            return None
        raw = match[match.lastindex or 0]
        if match.lastindex == HOST:
            return (
                None if self._ref_paths_at(raw) else (match.end() if context.may_be_reference(after) else after, None)
            )
        replacement = self._find_ref(raw, is_value=opening in DELIMITERS)
        if replacement is None or not context.may_be_reference(after):
            return after, None
        answer = context.should_rewrite(UrlSpan(start, match.end(), start + bound, is_ref=True, is_path=True))
        if answer is None:
            return None
        return (match.end(), self._replace_ref(raw, start, after, replacement, text)) if answer else (after, None)

    def _replace_ref(self, raw: bytes, start: int, after: int, replacement: Replacement, text: bytes) -> Edit:
        """Return the edit for a path whose first slash, escaped or not, is between `start` and `after`."""
        slash = text[start:after]
        taken = replacement.taken
        if slash != b"/":
            taken += raw.replace(slash, b"/").count(b"/", 0, taken)
        return Edit(start, start + taken, encode_head(replacement.head, self._to_escape, (b":", slash), is_coded=False))

    def _ref_paths_at(self, authority: bytes) -> Paths:
        """Return the upstream paths at the authority of a value without a scheme."""
        paths = self._ref_paths.get(authority)
        if paths is None:
            paths = self._url_map.paths_at(None, authority.decode("ascii"), self._context)
            if len(self._ref_paths) < MAX_CACHED:
                self._ref_paths[authority] = paths
        return paths

    def _find_ref(self, raw: bytes, *, is_value: bool) -> Replacement | None:
        """Return the replacement for a value that is a path."""
        key = raw, is_value
        try:
            return self._ref_replacements[key]
        except KeyError:
            path = raw.replace(b"\\/", b"/").decode("ascii")
            replacement = self._url_map.replacement_in_text(
                self._own_paths, path, self._context, has_host=False, is_value=is_value
            )
            if len(self._ref_replacements) < MAX_CACHED and len(raw) <= MAX_CACHED_SIZE:
                self._ref_replacements[key] = replacement
            return replacement

    def _find_prefix(self, text: bytes, after: int, match: re.Match[bytes], authority: int) -> PrefixRule | None:
        """Return the rule for a prefix of the URL, or for all of it."""
        path = match[authority + 1]
        if b"/." in path or b"%2" in path:  # it may contain dot segments
            return None
        for size in self._sizes:
            prefix = self._prefixes.get(text[after - 4 : after + size])
            if prefix is not None and text[after + size] == SLASH:
                return prefix
        paths = self._paths_at(text[after - 4 : match.end(authority)])
        if not paths:
            return FOREIGN
        if path[-1] in ENDS and authority == 1:  # in running text
            return None
        prefix = self._urls.get(text[after - 4 : match.end()])
        return prefix or self._learn(text, after, match.end(authority), path.decode("ascii"), paths)

    def _paths_at(self, raw: bytes) -> Paths:
        """Return the upstream paths at an authority; `raw` begins with the last byte of the scheme."""
        paths = self._paths.get(raw)
        if paths is None:
            scheme = "https" if raw[0] == SECURE else "http"
            paths = self._url_map.paths_at(scheme, raw[4:].decode("ascii"), self._context)
            if len(self._paths) < MAX_CACHED:
                self._paths[raw] = paths
        return paths

    def _learn(self, text: bytes, after: int, slash: int, path: str, paths: Paths) -> PrefixRule:
        """Look up a URL whose path begins at `slash`, and cache the rule for its prefix."""
        replacement = self._url_map.replacement_at(paths, path, self._context, has_host=True)
        if replacement is None:
            prefix = PrefixRule(0, None)
        else:
            prefix = PrefixRule(
                slash - after + replacement.taken,
                encode_head(replacement.head, self._to_escape, (b":", b"/"), is_coded=False),
            )
        ends = [table.unbranched_end(path) for table in paths]
        # Without a public URL, a path begins the new URL: then the rest of the old one matters too.
        if min(ends) >= 0 and self._context.public:
            self._cache_prefix(text[after - 4 : slash + max(ends)], prefix)
        elif len(self._urls) < MAX_CACHED and len(path) <= MAX_CACHED_SIZE:
            self._urls[text[after - 4 : slash + len(path)]] = prefix
        return prefix

    def _cache_prefix(self, raw: bytes, prefix: PrefixRule) -> None:
        size = len(raw) - 4
        if len(self._prefixes) >= MAX_CACHED or size > MAX_CACHED_SIZE:
            return
        if size not in self._sizes:
            if len(self._sizes) >= MAX_SIZES:
                return
            self._sizes.append(size)
        self._prefixes[raw] = prefix
