"""Pure: whether the gateway may follow a redirect with its token.

A 307 asks for the same request at another URL (RFC 9110 §15.4.8). The token is only sent to the same origin or the
design host, under the path of the route's upstream: a response must not decide who gets a token, nor which integrations
a caller reaches.
"""

import re
from collections.abc import Iterable

from gateway.content.untrusted_text import DEFAULT_PORTS, normalize_host, resolve_authority
from gateway.proxy.routing import AMBIGUOUS_PATH, UpstreamUrl

MAX_REDIRECTS = 2
"""From the runtime host to the design host, and one more."""

VISIBLE_ASCII = re.compile(r"[!\"$-~]+")  # a request target: visible ASCII without a fragment
LOCATION = re.compile(r"(?:(https?)://([^/?#]*))?(/[^?#]*)(\?[^#]*)?", re.IGNORECASE | re.ASCII | re.DOTALL)


def resolve_redirect(location: str, *, at: UpstreamUrl, bases: Iterable[UpstreamUrl]) -> tuple[UpstreamUrl, str] | None:
    """Return the one of `bases` that the Location of a 307 is under, and the target there; None if the redirect must
    not be followed. `at` is the upstream that answered, for a Location without a host.
    """
    match = LOCATION.fullmatch(location)
    if match is None:
        return None
    scheme, authority, path, query = match[1], match[2], match[3], match[4] or ""
    if path.startswith("//") or AMBIGUOUS_PATH.search(path) or VISIBLE_ASCII.fullmatch(path + query) is None:
        return None
    origin = _read_origin(scheme.lower(), authority) if scheme else _origin_of(at)
    base = next((base for base in bases if _origin_of(base) == origin), None)
    if base is None or not _is_under(base.path, path):
        return None
    return base, path + query


def _read_origin(scheme: str, authority: str) -> tuple[str, str, int] | None:
    named = resolve_authority(authority, default_port=DEFAULT_PORTS[scheme])
    return None if named is None else (scheme, *named)


def _origin_of(url: UpstreamUrl) -> tuple[str, str, int]:
    return url.scheme, normalize_host(url.host), url.port


def _is_under(prefix: str, path: str) -> bool:
    bare = prefix.rstrip("/")
    return path == bare or path.startswith(f"{bare}/")
