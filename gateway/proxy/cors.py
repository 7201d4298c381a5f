"""Pure: the response fields that let a web page of a listed origin call a route (Fetch standard, CORS protocol)."""

import re
from collections.abc import Iterable

import msgspec

REQUEST_METHOD, REQUEST_HEADERS = b"access-control-request-method", b"access-control-request-headers"
"""Fields of a preflight request."""
CORS_FIELDS = frozenset(
    f"access-control-{name}".encode()
    for name in "allow-origin allow-methods allow-headers allow-credentials expose-headers max-age".split()
)
"""Fields that OIC may also send; on a route with `origins` they are the gateway's."""
EXPOSED_FIELDS = (
    "x-oracle-ics-instance-id X-Request-Id X-Gateway-Error opc-request-id Retry-After RateLimit RateLimit-Policy "
    "WWW-Authenticate Allow Location Content-Location Link ETag"
).split()
"""Fields that a page may read, beside those that every page may (Fetch standard, safelisted response headers)."""
MAX_AGE = 600
"""Seconds that a browser remembers a preflight."""
NAMES = re.compile(rb"[ \t]*[!#$%&'*+\-.^_`|~0-9A-Za-z]+[ \t]*(?:,[ \t]*[!#$%&'*+\-.^_`|~0-9A-Za-z]+[ \t]*)*")


class CorsPolicy(msgspec.Struct, frozen=True):
    """What pages may do on one route."""

    origins: frozenset[str]
    """In lower case; `*`: all."""
    methods: bytes
    exposed: bytes

    @classmethod
    def compile(cls, origins: frozenset[str], methods: Iterable[str], id_fields: Iterable[str]) -> "CorsPolicy | None":
        """Return the policy of a route; None without origins. `id_fields` may contain the instance id."""
        if not origins:
            return None
        exposed = dict.fromkeys([*EXPOSED_FIELDS, *id_fields])
        return cls(origins, ", ".join(sorted(methods)).encode(), ", ".join(exposed).encode())

    def response_lines(self, origin: bytes | None) -> tuple[bytes, ...]:
        """Return the lines of every response to a request with this Origin. A listed page may send credentials; with
        `*`, none may.
        """
        if "*" in self.origins:
            return (b"Access-Control-Allow-Origin: *", self._expose_line())
        if origin is None or origin.decode("latin-1") not in self.origins:
            return (b"Vary: Origin",)
        return (
            b"Access-Control-Allow-Origin: " + origin,
            b"Access-Control-Allow-Credentials: true",
            self._expose_line(),
            b"Vary: Origin",
        )

    def preflight_lines(self, requested: bytes | None) -> list[bytes]:
        """Return the further lines of the response to a preflight that asks for these request fields."""
        lines = [
            b"Access-Control-Allow-Methods: " + self.methods,
            b"Access-Control-Max-Age: %d" % MAX_AGE,
            b"Vary: Access-Control-Request-Method, Access-Control-Request-Headers",
        ]
        if requested is not None and NAMES.fullmatch(requested):
            lines.insert(1, b"Access-Control-Allow-Headers: " + requested)
        return lines

    def _expose_line(self) -> bytes:
        return b"Access-Control-Expose-Headers: " + self.exposed
