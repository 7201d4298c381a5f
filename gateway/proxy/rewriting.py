"""Pure: URLs of OIC in the gateway's own names.

`Location`, `Content-Location` and `Link` of a reply are settled here (RFC 9110 §10.2.2, §8.7, RFC 8288). A URL under
the upstream of any route becomes that route's path; whatever else it says passes unchanged. OIC writes its URLs with
and without `:443`, as http or https, in any letter case: all mean the same upstream.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.proxy.routing import ABSOLUTE, Base, Origins

LINK_TARGET = re.compile(r"<([^>]*)>")
END_OF_PATH = re.compile(r"[?#]")


@dataclass(frozen=True, slots=True)
class Names:
    """How one reply's URLs are to be written: the names of all routes, seen from one request."""

    origins: Origins[str]
    """Upstream URL prefixes → the gateway's path prefix."""

    @classmethod
    def of(cls, routes: Iterable[tuple[Base, str]]) -> "Names":
        """Compiles the (upstream, gateway path) pairs of all routes."""
        return cls(Origins((base, path.rstrip("/")) for base, path in routes))

    def rename(self, url: str, *, own: Base, public: str, named: str = "") -> str:
        """Gives a URL of a reply in the gateway's names.

        `own` is the upstream that answered, for references without a host; `public` is the gateway as the caller
        called it (`http://gw:8080`); `named` is set when the caller named OIC itself, with the gateway as its HTTP
        proxy: then OIC's names are right, in the caller's spelling of scheme and port.
        """
        parts = ABSOLUTE.fullmatch(url)
        if parts is not None:
            scheme, authority, rest = parts[1].lower(), parts[2], parts[3]
        elif url.startswith("/") and not url.startswith("//"):
            scheme, authority, rest = own.scheme, own.authority, url
        else:
            return url
        if named:
            return url if parts is None else self._as_named(url, scheme, authority, rest, named)
        mark = END_OF_PATH.search(rest)
        path, tail = (rest, "") if mark is None else (rest[: mark.start()], rest[mark.start() :])
        found = self.origins.find(scheme, authority, path)
        if found is None:
            return url
        prefix, behind = found
        return f"{public if parts is not None else ''}{prefix}{behind or ('' if prefix else '/')}{tail}"

    def rename_link(self, value: str, *, own: Base, public: str, named: str = "") -> str:
        """The same for every target of a Link field."""
        return LINK_TARGET.sub(lambda found: f"<{self.rename(found[1], own=own, public=public, named=named)}>", value)

    def _as_named(self, url: str, scheme: str, authority: str, rest: str, named: str) -> str:
        """`named`'s own host in the caller's spelling; another upstream's URL at least without TLS of its own."""
        if not self.origins.knows(scheme, authority):
            return url
        caller_scheme, _, caller_authority = named.partition("://")
        host = authority.rpartition(":")[0] if authority.rpartition(":")[2].isdecimal() else authority
        caller_host = (
            caller_authority.rpartition(":")[0] if caller_authority.rpartition(":")[2].isdecimal() else caller_authority
        )
        if host.lower() == caller_host.lower():
            return named + rest
        return f"{caller_scheme}://{host}{rest}"
