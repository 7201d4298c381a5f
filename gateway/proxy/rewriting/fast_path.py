"""The short ways for a URL in plain letters: in the commonest places (a member's whole value or an element of JSON, a
whole attribute or text of XML), and at any other. They settle the same as the long way, or nothing at all.

Thousands of URLs of a body share a handful of beginnings. One below which no upstream lies (`Prefixes.stem`) gives
every URL that goes on behind it the same name: it is asked for once.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

from gateway.proxy.rewriting.contexts import ContextAnswer, UrlContext, UrlSpan
from gateway.proxy.rewriting.decoded_url import ENDS_OF_SENTENCE, Edit, UnitRange, UrlSyntax, write
from gateway.proxy.rewriting.url_map import Paths, Replacement, RequestContext, UrlMap
from gateway.proxy.rewriting.url_syntax import JSON, XML, YAML
from gateway.proxy.rewriting.xml_context import html_says, xml_says

KNOWN = 256  # beginnings remembered for one body
SIZES = 8  # of so many sizes
LONGEST_KNOWN = 300  # bytes of one
LONGEST_BEFORE = 256  # bytes of a tag before its URL
SECURE = 0x73
SLASH, BACKSLASH, APOSTROPHE = b"/\\'"
ENDS = ENDS_OF_SENTENCE.encode()

# They match behind the two slashes of a URL. Groups: 1 where it might be a member's name, 2 authority, 3 path.
_AUTHORITY = rb"([A-Za-z0-9.\-]{1,255}+(?::[0-9]{0,5}+)?)"
# The value of a member, whose name is `url` or ends as none does whose value stays (`places.KEPT`); the first element.
_NAMES = (
    *(rb'[a-zA-Z][a-km-zA-KM-Z]": "', rb'[a-zA-Z][a-km-zA-KM-Z]":"'),
    *(rb'[a-zA-Z][a-qs-zA-QS-Z][lL]": "', rb'[a-zA-Z][a-qs-zA-QS-Z][lL]":"'),
    *(rb'"[uU][rR][lL]": "', rb'"[uU][rR][lL]":"'),
    rb'\["',
)
_ELEMENTS = (rb', "', rb',"')


def _behind(starts: tuple[bytes, ...]) -> bytes:
    return b"|".join(b"(?<=%b%b)" % (start, scheme) for scheme in (b"https://", b"http://") for start in starts)


# Behind a comma comes an element or a name: what follows the string tells.
JSON_COMMON = re.compile(
    rb'(?:%b|((?:%b)))%b(/[!$-;=@-\[\]-~]{0,1000}+)(?=[?#"])(?(1)(?=[^"\\]{0,1000}+"[,\]]))'
    % (_behind(_NAMES), _behind(_ELEMENTS), _AUTHORITY)
)
XML_COMMON = re.compile(rb'(?:%b)()?%b(/[!$%%(-;=@-~]{0,1000}+)(?=[?#"<])' % (_behind((rb'[">]',)), _AUTHORITY))
# A value that begins with a slash, up to what surely ends its path. Groups: 1 authority where it has a host; 2 path;
# 3 path whose slashes are all escaped.
_REF = (
    rb"//([A-Za-z0-9.\-]{1,255}+(?::[0-9]{0,5}+)?)(?=[/?#\"'<> \r\n])"
    rb"|(/(?![/\\&%%])[!$%%%b(-;=@-\[\]-~]{0,1000}+)(?=[?#\"'<> \r\n])%b"
)
_ESCAPED_REF = rb"|(\\/(?![/\\&%])(?:[!$%&(-.0-;=@-\[\]-~]|\\/){0,1000}+)(?=[?#\"'<> \r\n])"
JSON_REF = re.compile(_REF % (b"&", _ESCAPED_REF))
XML_REF = re.compile(_REF % (b"", b""))
NOTHING_COMMON = re.compile(rb"(?!)")
# The same at any place. Groups: 1 authority, 2 path. A quote may end it, so there is none in it.
_ANYWHERE = rb'%b(/[!$%%%b(-;=@-\[\]-~]{0,1000}+)(?=[?#" <>\r\n])'
JSON_ANYWHERE = re.compile(_ANYWHERE % (_AUTHORITY, b"&"))
XML_ANYWHERE = re.compile(_ANYWHERE % (_AUTHORITY, b""))


class PrefixRule(NamedTuple):
    """What becomes of a URL that begins so."""

    taken: int
    """The bytes behind the two slashes that are replaced."""
    head: bytes | None
    """None where it stays."""


DELIMITERS = frozenset((b'"', b"'", b">"))
"""What stands before a URL that is a value; any other one stands in running text."""
HOST = 1  # the group of `_REF`
FOREIGN = PrefixRule(0, None)  # it is at nobody's authority


def _in_common(_: bytes, __: int) -> ContextAnswer:
    """The pattern says where it stands."""
    return True


def _in_tag(says: Callable[[bytes], ContextAnswer], text: bytes, start: int) -> ContextAnswer:
    opened = text.rfind(b"<", max(0, start - LONGEST_BEFORE), start)
    return None if opened < 0 else says(text[opened:start])


class FastPathRule(NamedTuple):
    """What is common in one kind of document."""

    dialect: UrlSyntax
    common: re.Pattern[bytes]
    anywhere: re.Pattern[bytes]
    ref: re.Pattern[bytes]
    says: Callable[[bytes, int], ContextAnswer]
    """Settles a common one."""


WAYS: Mapping[str, FastPathRule] = MappingProxyType(
    {
        "json": FastPathRule(JSON, JSON_COMMON, JSON_ANYWHERE, JSON_REF, _in_common),
        "xml": FastPathRule(XML, XML_COMMON, XML_ANYWHERE, XML_REF, partial(_in_tag, xml_says)),
        "html": FastPathRule(XML, XML_COMMON, XML_ANYWHERE, XML_REF, partial(_in_tag, html_says)),
        "yaml": FastPathRule(YAML, NOTHING_COMMON, JSON_ANYWHERE, JSON_REF, _in_common),
    }
)


class FastPath:
    """Settles the common URLs of one body."""

    def __init__(self, kind: str, names: UrlMap, here: RequestContext) -> None:
        """`kind` as in WAYS."""
        dialect, self._common, self._anywhere, self._ref, self._says = WAYS[kind]
        self._written = dialect.written
        self._names = names
        self._here = here
        self._places: dict[bytes, Paths] = {}
        self._ref_places: dict[bytes, Paths] = {}
        self._ref_names: dict[tuple[bytes, bool], Replacement | None] = {}
        self._own = names.prefixes_at(None, None, here)
        self._stems: dict[bytes, PrefixRule] = {}
        self._wholes: dict[bytes, PrefixRule] = {}
        self._sizes: list[int] = []

    def settle(self, text: bytes, after: int) -> UnitRange | None:
        """Settles the URL whose two slashes end at `after`; None where it must go the long way."""
        met = self._common.match(text, after)
        if met is None:
            return None
        start = after - (8 if text[after - 4] == SECURE else 7)
        stem = self._stem(text, after, met, 2)
        if stem is None or stem.head is None:
            return stem and (met.end(2) if stem is FOREIGN else met.end(), None)
        verdict = self._says(text, start)
        if verdict is None:
            return None
        return met.end(), Edit(start, after + stem.taken, stem.head) if verdict else None

    def settle_anywhere(self, judge: UrlContext, start: int, after: int, bound: int) -> UnitRange | None:
        """The same for a URL in plain letters from `start` on that stands at any place; the look behind it goes `bound`
        bytes far.
        """
        met = self._anywhere.match(judge.text, after)
        if met is None:
            return None
        stem = self._stem(judge.text, after, met, 1)
        if stem is None or stem.head is None:
            return stem and (met.end(1) if stem is FOREIGN else met.end(), None)
        verdict = judge.should_rewrite(UrlSpan(start, met.end(), start + bound))
        if verdict is None:
            return None
        return met.end(), Edit(start, after + stem.taken, stem.head) if verdict else None

    def settle_ref(self, judge: UrlContext, after: int, bound: int) -> UnitRange | None:
        """Settles the value that begins with the slash before `after`, in plain letters, its slashes escaped or not;
        None where it must go the long way.
        """
        text = judge.text
        start = after - 2 if text[after - 2] == BACKSLASH else after - 1
        met = self._ref.match(text, start)
        opening = text[start - 1 : start]
        if met is None or (text[met.end()] == APOSTROPHE and opening != b"'"):
            return None
        raw = met[met.lastindex or 0]
        if met.lastindex == HOST:
            return None if self._ref_at(raw) else (met.end() if judge.may_be_reference(after) else after, None)
        name = self._ref_name(raw, is_value=opening in DELIMITERS)
        if name is None or not judge.may_be_reference(after):
            return after, None
        verdict = judge.should_rewrite(UrlSpan(start, met.end(), start + bound, is_ref=True, is_path=True))
        if verdict is None:
            return None
        return (met.end(), self._swap_ref(raw, start, after, name, text)) if verdict else (after, None)

    def _swap_ref(self, raw: bytes, start: int, after: int, name: Replacement, text: bytes) -> Edit:
        """The swap for a path whose first slash, escaped or not, lies between `start` and `after`."""
        slash = text[start:after]
        taken = name.taken
        if slash != b"/":
            taken += raw.replace(slash, b"/").count(b"/", 0, taken)
        return Edit(start, start + taken, write(name.head, self._written, 0, (b":", slash)))

    def _ref_at(self, authority: bytes) -> Paths:
        """What is at the authority of a value that leaves its scheme out."""
        paths = self._ref_places.get(authority)
        if paths is None:
            paths = self._names.prefixes_at(None, authority.decode("ascii"), self._here)
            if len(self._ref_places) < KNOWN:
                self._ref_places[authority] = paths
        return paths

    def _ref_name(self, raw: bytes, *, is_value: bool) -> Replacement | None:
        """What becomes of a value that is a path."""
        key = raw, is_value
        try:
            return self._ref_names[key]
        except KeyError:
            path = raw.replace(b"\\/", b"/").decode("ascii")
            name = self._names.name_in_text(self._own, path, self._here, has_host=False, is_value=is_value)
            if len(self._ref_names) < KNOWN and len(raw) <= LONGEST_KNOWN:
                self._ref_names[key] = name
            return name

    def _stem(self, text: bytes, after: int, met: re.Match[bytes], authority: int) -> PrefixRule | None:
        """What begins the URL, or is all of it; None where that is not enough to name it."""
        path = met[authority + 1]
        if b"/." in path or b"%2" in path:  # it may step out of its prefix
            return None
        for size in self._sizes:
            stem = self._stems.get(text[after - 4 : after + size])
            if stem is not None and text[after + size] == SLASH:
                return stem
        paths = self._at(text[after - 4 : met.end(authority)])
        if not paths:
            return FOREIGN
        if path[-1] in ENDS and authority == 1:  # in running text
            return None
        stem = self._wholes.get(text[after - 4 : met.end()])
        return stem or self._learn(text, after, met.end(authority), path.decode("ascii"), paths)

    def _at(self, raw: bytes) -> Paths:
        """What is at the authority of a URL, with the end of its scheme before it."""
        paths = self._places.get(raw)
        if paths is None:
            scheme = "https" if raw[0] == SECURE else "http"
            paths = self._names.prefixes_at(scheme, raw[4:].decode("ascii"), self._here)
            if len(self._places) < KNOWN:
                self._places[raw] = paths
        return paths

    def _learn(self, text: bytes, after: int, slash: int, path: str, paths: Paths) -> PrefixRule:
        """Names a URL whose path begins at `slash`, and remembers its beginning."""
        name = self._names.replacement_at(paths, path, self._here, has_host=True)
        if name is None:
            stem = PrefixRule(0, None)
        else:
            stem = PrefixRule(slash - after + name.taken, write(name.head, self._written, 0, (b":", b"/")))
        ends = [at.unbranched_end(path) for at in paths]
        # Without a public name a path begins the URL: then what follows counts too.
        if min(ends) >= 0 and self._here.public:
            self._keep(text[after - 4 : slash + max(ends)], stem)
        elif len(self._wholes) < KNOWN and len(path) <= LONGEST_KNOWN:
            self._wholes[text[after - 4 : slash + len(path)]] = stem
        return stem

    def _keep(self, raw: bytes, stem: PrefixRule) -> None:
        size = len(raw) - 4
        if len(self._stems) >= KNOWN or size > LONGEST_KNOWN:
            return
        if size not in self._sizes:
            if len(self._sizes) >= SIZES:
                return
            self._sizes.append(size)
        self._stems[raw] = stem
