"""Pure: the cookies of OIC on a route with `keep_cookies` (RFC 6265).

For its callers the gateway is one host with many routes, which may lead to different OIC instances. So a cookie gets
the name of its route as a prefix: only the route that set it sends it on. The prefix also makes the name valid without
the conditions of `__Host-` and `__Secure-`, which the gateway's path and a plain listener do not fulfil.
"""

from urllib.parse import urlsplit

import msgspec

from gateway.proxy.routing import UpstreamUrl

SEPARATOR = b"~"
"""It cannot be part of a route's name."""
HOST_BOUND = frozenset({b"domain", b"path"})  # attributes that are written again
SECURE_ONLY = frozenset({b"secure", b"partitioned"})  # browsers accept them only with https


class CookieScope(msgspec.Struct, frozen=True):
    """The cookies of one route."""

    prefix: bytes
    host: str
    upstream_path: bytes
    """Without a slash at its end, as the next one."""
    route_path: bytes

    @classmethod
    def compile(cls, name: str, path: str, upstream: UpstreamUrl) -> "CookieScope":
        """Return the scope of the route with this name and path."""
        upstream_path, route_path = (each.rstrip("/").encode("latin-1") for each in (upstream.path, path))
        return cls(name.encode() + SEPARATOR, upstream.host, upstream_path, route_path)

    def request_line(self, cookies: bytes) -> bytes | None:
        """Return the Cookie line to send to OIC for the Cookie field of a caller; None if none of them is the
        route's.
        """
        pairs = (pair.strip(b" \t") for pair in cookies.split(b";"))
        own = [pair.removeprefix(self.prefix) for pair in pairs if pair.startswith(self.prefix)]
        return b"Cookie: " + b"; ".join(own) if own else None

    def response_line(self, set_cookie: bytes, *, target: str, base_url: str, is_proxied: bool) -> bytes | None:
        """Return the Set-Cookie line for the caller; None if the cookie can never come back to this upstream.

        `target` is that of the request to OIC. `base_url` is the gateway's own, as the caller knows it; with
        `is_proxied` it is OIC's, because the caller wrote a URL of OIC.
        """
        base = urlsplit(base_url)
        pair, *attributes = (part.strip(b" \t") for part in set_cookie.split(b";"))
        name, equals, _ = pair.partition(b"=")
        if not equals or not name.strip(b" \t"):  # RFC 6265 §5.2
            return None
        kept, domain, path = [], b"", b""
        for attribute in attributes:
            key, _, value = (part.strip(b" \t") for part in attribute.partition(b"="))
            key = key.lower()
            if key == b"domain":
                domain = value
            elif key == b"path":
                path = value
            elif base.scheme == "https" or not _needs_https(key, value):
                kept.append(attribute)
        path = path if path.startswith(b"/") else _default_path(target)
        root = self.upstream_path if is_proxied else base.path.encode("latin-1") + self.route_path
        scope = self._map_path(path, root)
        if scope is None or not self._is_own_domain(domain):
            return None
        return b"Set-Cookie: " + b"; ".join([self.prefix + pair, b"Path=" + scope, *kept])

    def _map_path(self, path: bytes, root: bytes) -> bytes | None:
        """Return a path of the upstream below `root`; None if it covers nothing of the upstream (RFC 6265 §5.1.4)."""
        base = self.upstream_path
        if path == base or path.startswith(base + b"/"):
            below = path[len(base) :]
            return root + (b"" if below == b"/" else below) or b"/"
        is_above = base.startswith(path) and (path.endswith(b"/") or base[len(path) :].startswith(b"/"))
        return (root or b"/") if is_above else None

    def _is_own_domain(self, domain: bytes) -> bool:
        """Return whether the upstream may set a cookie for this domain (RFC 6265 §5.1.3)."""
        name = domain.decode("latin-1").removeprefix(".").lower()
        return not name or f".{self.host}".endswith(f".{name}")


def _needs_https(key: bytes, value: bytes) -> bool:
    return key in SECURE_ONLY or (key == b"samesite" and value.lower() == b"none")


def _default_path(target: str) -> bytes:
    """Return the path of a cookie without one: the folder of the request target (RFC 6265 §5.1.4)."""
    return target.partition("?")[0].rpartition("/")[0].encode("latin-1") or b"/"
