"""Pure: may the gateway follow a redirect with the caller's token?

A 307 asks for the same request at another place (RFC 9110 §15.4.8). The token goes to the same origin or to the design
host, under the very path that the route leads to, and nowhere else: a reply must not decide who gets a token, nor
which integrations a caller reaches.
"""

import re
from collections.abc import Iterable

from gateway.content.foreign_text import AUTHORITY, DEFAULT_PORTS
from gateway.proxy.routing import AMBIGUOUS, UpstreamUrl

MAX_REDIRECTS = 2
"""The runtime host to the design host, and one more."""

VISIBLE = re.compile(r"[!\"$-~]+")  # of a request target: ASCII, no fragment
LOCATION = re.compile(r"(?:(https?)://([^/?#]*))?(/[^?#]*)(\?[^#]*)?", re.IGNORECASE | re.ASCII | re.DOTALL)


def allowed_target(location: str, *, at: UpstreamUrl, bases: Iterable[UpstreamUrl]) -> tuple[UpstreamUrl, str] | None:
    """Gives the one of `places` that a 307's Location leads to, and the target there; None where the token must not
    go. `at` is the place that answered, for a reference without a host.
    """
    parts = LOCATION.fullmatch(location)
    if parts is None:
        return None
    scheme, authority, path, query = parts[1], parts[2], parts[3], parts[4] or ""
    if path.startswith("//") or AMBIGUOUS.search(path) or VISIBLE.fullmatch(path + query) is None:
        return None
    origin = _origin(scheme.lower(), authority) if scheme else (at.scheme, at.host, at.port)
    place = next((place for place in bases if (place.scheme, place.host, place.port) == origin), None)
    if place is None or not _lies_under(place.path, path):
        return None
    return place, path + query


def _origin(scheme: str, authority: str) -> tuple[str, str, int] | None:
    parts = AUTHORITY.fullmatch(authority.lower())
    return None if parts is None else (scheme, parts[1] or parts[2], int(parts[3] or DEFAULT_PORTS[scheme]))


def _lies_under(prefix: str, path: str) -> bool:
    bare = prefix.rstrip("/")
    return path == bare or path.startswith(f"{bare}/")
