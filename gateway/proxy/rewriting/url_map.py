"""One URL in the gateway's names: what `Location`, `Content-Location` and `Link` say (RFC 9110 §10.2.2, §8.7,
RFC 8288), and what a body's URLs are asked about.

A URL under the upstream of any route becomes that route's path; whatever else it says passes unchanged. OIC writes its
URLs with and without `:443`, as http or https, in any letter case: all mean the same upstream.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from gateway.proxy.rewriting.decoded_url import (
    CODED_HOST,
    CODED_PATHS,
    CODED_START,
    ENDS_OF_SENTENCE,
    level_of,
    parts_of,
    read_coded,
    write,
)
from gateway.proxy.routing import DOT_SEGMENT, OriginTable, PrefixTable, UpstreamUrl

# A reference that names a path of its own (RFC 3986 §4.2): scheme and authority, or either left out.
REFERENCE = re.compile(
    r"(?:(?:(https?):)?//([^/?#]*))?((?:/[^?#]*)?)((?:[?#].*)?)", re.IGNORECASE | re.ASCII | re.DOTALL
)
LONGEST = 8 * 1024  # bytes of a URL inside a query; what is longer counts as ended
STEPS_OUT = re.compile(DOT_SEGMENT, re.IGNORECASE | re.ASCII)
# Quoted strings are stepped over: a `<` in a parameter begins no target (RFC 8288 §3). Each byte is read once.
# The parameter `anchor` holds a reference too (§3.2).
LINK_TARGET = re.compile(
    r'<([^<>]*)>|(;[ \t]*anchor[ \t]*=[ \t]*)(?:"((?:[^"\\]|\\.)*+)"|([^;,"\s]+))|"(?:[^"\\]|\\.)*+"?',
    re.DOTALL | re.IGNORECASE | re.ASCII,
)
QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
NEEDS_PAIR = re.compile(r'["\\]')


@dataclass(frozen=True, slots=True)
class RequestContext:
    """Where a reply's URLs are read: the view of one request."""

    upstream: UpstreamUrl
    """The upstream that answered, for references without a host."""
    public: str
    """The gateway as the caller knows it: `http://gw:8080`, or a public URL with a path; no last slash."""
    proxied_as: str = ""
    """Set when the caller named OIC itself (`http://acme`), with the gateway as its HTTP proxy: then OIC's names are
    right, in the caller's spelling of scheme and port."""
    route_path: str | None = None
    """The gateway path of the route that answered: several routes may share its upstream."""

    @property
    def root(self) -> str:
        """The path of `public`: where the gateway's own paths begin."""
        _, slash, path = self.public.partition("://")[2].partition("/")
        return slash + path


Paths = list[PrefixTable[tuple[UpstreamUrl, str]]]


class Replacement(NamedTuple):
    """What becomes of a URL: `head` replaces scheme, authority and the first `taken` characters of the path."""

    head: str
    taken: int


@dataclass(frozen=True, slots=True)
class UrlMap:
    """The names of all routes, to write a reply's URLs in."""

    origins: OriginTable[tuple[UpstreamUrl, str]]
    """Upstream URL prefixes → the upstream and the gateway's path prefix."""

    @classmethod
    def from_routes(
        cls, routes: Iterable[tuple[UpstreamUrl, str]], *, designs: Iterable[tuple[UpstreamUrl, UpstreamUrl]] = ()
    ) -> "UrlMap":
        """Compiles the (upstream, gateway path) pairs of all routes. `designs` are (upstream, the same path on the
        region's design host): what lies under it there is the upstream's too, unless it is a route's own.
        """
        listed = [(base, (base, path.rstrip("/"))) for base, path in routes]
        first = {_place(base): value for base, value in reversed(listed)}
        aliases = [(design, first[_place(base)]) for base, design in designs if _place(base) in first]
        return cls(OriginTable(listed + aliases))

    def rewrite(self, url: str, here: RequestContext) -> str:
        """Gives a URL of a reply in the gateway's names, or as it is; so too what is percent-encoded in its query."""
        parts = REFERENCE.fullmatch(url)
        if parts is None:
            return url
        scheme, authority, path, tail = parts.groups()
        if "%" in tail:
            renamed = self._rename_coded(tail.encode("latin-1", "replace"), here)
            url, tail = url.removesuffix(tail) + (renamed or tail), renamed or tail
        name = self.replacement(scheme, authority, path, here)
        return url if name is None else f"{name.head}{path[name.taken :]}{tail}"

    def _rename_coded(self, raw: bytes, here: RequestContext) -> str:
        """A query's percent-encoded URLs in the gateway's names; empty where none is ours."""
        out, given, position = "", 0, 0
        while found := CODED_START.search(raw, position):
            secure, colon, slash = found.groups()
            level, position = level_of(colon, slash), found.end()
            host = CODED_HOST.match(raw, position)
            known = read_coded(host[0], level).text if host else ""
            paths = self.prefixes_at("https" if secure else "http", known, here)
            run = CODED_PATHS[level - 1].match(raw, position, position + LONGEST) if paths else None
            if run is None:
                continue
            spelt = read_coded(run[0], level)
            authority, path = parts_of(spelt.text)
            name = self.replacement_at(paths, path, here, has_host=True) if authority == known else None
            if name is not None:
                head = write(name.head, (), level, (colon, slash))
                out += (raw[given : found.start()] + head).decode("latin-1")
                given = position + spelt.end(len(authority) + name.taken)
            position += spelt.end(len(authority) + len(path))
        return out and out + raw[given:].decode("latin-1")

    def replacement(
        self, scheme: str | None, authority: str | None, path: str, here: RequestContext
    ) -> Replacement | None:
        """Settles a URL that is taken apart, without its query; None where it is nobody's. The scheme or both scheme
        and authority may be missing (RFC 3986 §4.2).
        """
        if authority is None and not path:
            return None
        return self.replacement_at(
            self.prefixes_at(scheme, authority, here), path, here, has_host=authority is not None
        )

    def prefixes_at(self, scheme: str | None, authority: str | None, here: RequestContext) -> Paths:
        """Gives what is known at the authority of a URL: the paths of upstreams."""
        own = here.upstream
        return self.origins.prefixes_at(
            (scheme or own.scheme).lower(), own.authority if authority is None else authority
        )

    def replacement_at(self, paths: Paths, path: str, here: RequestContext, *, has_host: bool) -> Replacement | None:
        """The same for a URL whose authority has been looked up."""
        if (here.proxied_as and not has_host) or _steps_out(path):
            return None
        found = next((found for at in paths if (found := at.find(path or "/"))), None)
        if found is None:
            return None
        (base, prefix), rest = found
        own = here.upstream
        if here.proxied_as:
            return Replacement(_as_named(base, own, here.proxied_as), 0)
        if here.route_path is not None and (base is own or _place(base) == _place(own)):
            prefix = here.route_path.rstrip("/")
        head = f"{here.public if has_host else here.root}{prefix}"
        if not path or not (prefix or rest):
            head += "/"
        elif (head or rest).startswith("//"):
            # RFC 3986 §4.2: a reference that begins with two slashes would name a host.
            head = f"/.{head}"
        return Replacement(head, len(path) - len(rest) if path else 0)

    def name_in_text(
        self, paths: Paths, path: str, here: RequestContext, *, has_host: bool, is_value: bool
    ) -> Replacement | None:
        """The same for a URL of a body. In running text, where it is no value, the mark that ends a sentence is no part
        of the URL; a dot segment is not such a mark.
        """
        shorter = path if is_value else path.rstrip(ENDS_OF_SENTENCE)
        if shorter != path and not shorter.endswith("/"):
            name = self.replacement_at(paths, shorter, here, has_host=has_host)
            if name is not None:
                return name
        return self.replacement_at(paths, path, here, has_host=has_host)

    def rewrite_link(self, value: str, here: RequestContext) -> str:
        """The same for every target and anchor of a Link field."""

        def renamed(found: re.Match[str]) -> str:
            target, parameter, quoted, bare = found.groups()
            if target is not None:
                return f"<{self.rewrite(target, here)}>"
            if parameter is None:
                return found[0]
            if bare is not None:
                return f"{parameter}{self.rewrite(bare, here)}"
            url = QUOTED_PAIR.sub(r"\1", quoted)
            name = self.rewrite(url, here)
            return found[0] if name == url else f'{parameter}"{NEEDS_PAIR.sub(_paired, name)}"'

        return LINK_TARGET.sub(renamed, value)


def _paired(character: re.Match[str]) -> str:
    return f"\\{character[0]}"


def _as_named(base: UpstreamUrl, own: UpstreamUrl, named: str) -> str:
    """The upstream that the caller named in its own spelling; another one by its scheme, so that it comes here too."""
    if (base.host, base.port) == (own.host, own.port):
        return named
    return f"{named.partition('://')[0]}://{base.authority}"


def _steps_out(path: str) -> bool:
    """A dot segment begins with a dot behind a slash, or with an escape of either."""
    return ("/." in path or "%2" in path) and STEPS_OUT.search(path) is not None


def _place(base: UpstreamUrl) -> tuple[str, int, str]:
    return base.host, base.port, base.path.rstrip("/")
