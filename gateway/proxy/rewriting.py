"""Pure: URLs of OIC in the gateway's own names.

`Location`, `Content-Location` and `Link` of a reply are settled here (RFC 9110 §10.2.2, §8.7, RFC 8288). A URL under
the upstream of any route becomes that route's path; whatever else it says passes unchanged. OIC writes its URLs with
and without `:443`, as http or https, in any letter case: all mean the same upstream.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.proxy.routing import DOT_SEGMENT, Base, Origins

# A reference that names a path of its own (RFC 3986 §4.2): scheme and authority, or either left out.
REFERENCE = re.compile(
    r"(?:(?:(https?):)?//([^/?#]*))?((?:/[^?#]*)?)((?:[?#].*)?)", re.IGNORECASE | re.ASCII | re.DOTALL
)
STEPS_OUT = re.compile(DOT_SEGMENT, re.IGNORECASE | re.ASCII)
# Quoted strings are stepped over: a `<` in a parameter begins no target (RFC 8288 §3). Each byte is read once.
LINK_TARGET = re.compile(r'"(?:[^"\\]|\\.)*+"?|<([^<>]*)>', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Names:
    """The names of all routes, to write a reply's URLs in."""

    origins: Origins[tuple[Base, str]]
    """Upstream URL prefixes → the upstream and the gateway's path prefix."""

    @classmethod
    def of(cls, routes: Iterable[tuple[Base, str]]) -> "Names":
        """Compiles the (upstream, gateway path) pairs of all routes."""
        return cls(Origins((base, (base, path.rstrip("/"))) for base, path in routes))

    def rename(self, url: str, *, own: Base, public: str, named: str = "", home: str | None = None) -> str:
        """Gives a URL of a reply in the gateway's names.

        `own` is the upstream that answered, for references without a host; `public` is the gateway as the caller
        called it (`http://gw:8080`); `named` is set when the caller named OIC itself (`http://acme`), with the gateway
        as its HTTP proxy: then OIC's names are right, in the caller's spelling of scheme and port. `home` is the
        gateway path of the route that answered: several routes may share its upstream.
        """
        parts = REFERENCE.fullmatch(url)
        if parts is None:
            return url
        scheme, authority, path, tail = parts.groups()
        has_host = authority is not None
        if not (has_host or path) or STEPS_OUT.search(path):
            return url
        found = self.origins.find((scheme or own.scheme).lower(), authority if has_host else own.authority, path)
        if found is None or (named and not has_host):
            return url
        (base, prefix), rest = found
        if named:
            return f"{_as_named(base, own, named)}{path}{tail}"
        if home is not None and _is_same(base, own):
            prefix = home.rstrip("/")
        renamed = f"{prefix}{rest}" or "/"
        if has_host and public:
            return f"{public}{renamed}{tail}"
        # RFC 3986 §4.2: a reference that begins with two slashes would name a host.
        return f"/.{renamed}{tail}" if renamed.startswith("//") else f"{renamed}{tail}"

    def rename_link(self, value: str, *, own: Base, public: str, named: str = "", home: str | None = None) -> str:
        """The same for every target of a Link field."""

        def renamed(found: re.Match[str]) -> str:
            url: str | None = found[1]
            if url is None:
                return found[0]
            return f"<{self.rename(url, own=own, public=public, named=named, home=home)}>"

        return LINK_TARGET.sub(renamed, value)


def _as_named(base: Base, own: Base, named: str) -> str:
    """The upstream that the caller named in its own spelling; another one by its scheme, so that it comes here too."""
    if (base.host, base.port) == (own.host, own.port):
        return named
    return f"{named.partition('://')[0]}://{base.authority}"


def _is_same(one: Base, other: Base) -> bool:
    return (one.host, one.port, one.path.rstrip("/")) == (other.host, other.port, other.path.rstrip("/"))
