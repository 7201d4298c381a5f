"""The work of the contenders. A workload is a line in the table.

No two requests of a workload are alike unless its name is `fixed`: callers repeat names and the order of fields, not
values. Path, query, two field values and `Content-Length` differ on each call, and so do the instance id and the length
of the response. Streams of 1 MiB and more have one head: its cost does not matter there.
"""

from base64 import b64encode
from dataclasses import dataclass
from typing import Literal

Way = Literal["plain", "tls", "key", "basic", "limit", "listener"]
"""How a caller comes in, or what leads to the upstream: an address of a contender."""
CONNECTIONS = 32
VARIANTS = 32
"""Files of the upstream for one workload, with as many lengths."""
MIB = 1024 * 1024

_FIELDS = ("User-Agent: orders-client/2.1 (linux)", "Accept: application/json, text/plain;q=0.5")
_MORE_FIELDS = (
    *("Accept-Language: de-CH, de;q=0.9, en;q=0.8", "Accept-Encoding: gzip, deflate", "X-Tenant: tenant-17"),
    'X-Source: "orders"; version=2',
)
_VARIED = """
local n, bodies = 0, {{}}
local head = table.concat({{
  "{method} %s-%d/orders/ORD-%07d/lines?expand=lines&page=%d HTTP/1.1", "Host: orders.internal", {fields}
  "X-Correlation-Id: %08x-0c1d-4f6e-9a51-%012d",
  "Traceparent: 00-4bf92f3577b34da6a3ce929d%08x-00f067aa%08x-01"{length}, "", ""}}, "\\r\\n")
for number = 0, {variants} - 1 do
  bodies[number] = {before} .. string.rep("x", {size} > 0 and {size} - number or 0) .. {after}
end
request = function()
  n = n + 1
  local number = n % {variants}
  local body = bodies[number]
  return string.format(head, wrk.path, number, n * 7, n % 97, n * 5, n, n, n * 3, #body) .. body
end
"""
_FIXED_POST = 'wrk.method = "POST"; wrk.body = string.rep("x", {size}); wrk.headers["Content-Type"] = "text/plain"\n'


API_KEY = "0c1d4f6e9a514bf92f3577b34da6a3ce929d00f067aa0ba902b7c0c1d4f6e9a5"
USER, PASSWORD = "erp", "4bf92f3577b34da6a3ce929d0e0e4736"
BASIC = b64encode(f"{USER}:{PASSWORD}".encode()).decode()


_ENVELOPE_BEGIN = (
    '<?xml version="1.0" encoding="UTF-8"?><soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"'
    ' xmlns:ord="http://xmlns.example.com/orders/v2"><soap:Header/><soap:Body><ord:order><ord:remark>'
)
_ENVELOPE_END = "</ord:remark></ord:order></soap:Body></soap:Envelope>"
ENVELOPE_ANSWER = (
    '<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body><orderResponse>'
    f"<status>SHIPPED</status><remark>{'x' * 800}</remark></orderResponse></soap:Body></soap:Envelope>"
)


@dataclass(frozen=True, slots=True)
class Workload:
    """Requests for `file` of the upstream, or with a body of `size` bytes for `post`. `about` is a line for readers.
    `around` is the text before and behind the bytes of a body.
    """

    file: str
    about: str
    size: int = 0
    is_varied: bool = True
    fields: tuple[str, ...] = _FIELDS
    way: Way = "plain"
    connections: int = CONNECTIONS
    around: tuple[str, str] = ("", "")
    answer: str = '{"ok":true}'
    """The response to a body."""

    @property
    def body(self) -> bytes | None:
        """Return the body of one request, for a check; None without one."""
        return "x".join(self.around).encode() if self.size else None

    @property
    def path(self) -> str:
        """Return the path of the load; a varied one adds to it."""
        return f"/{self.file}"

    @property
    def is_crowded(self) -> bool:
        """Return whether it is a crowd, which enlarges the memory of a contender."""
        return self.connections > CONNECTIONS

    @property
    def is_carried_whole(self) -> bool:
        """Return whether its bodies are carried one after the other, because wrk would cut off the last ones."""
        return self.connections == 1 and not self.is_varied

    @property
    def sample(self) -> str:
        """Return the path of one request, for a check."""
        return f"{self.path}-0/orders/ORD-0000000/lines?expand=lines&page=0" if self.is_varied else self.path

    @property
    def headers(self) -> dict[str, str]:
        """Return the fields of one request, for a check."""
        return {name: value for name, _, value in (line.partition(": ") for line in self.fields)}

    @property
    def script(self) -> str:
        """Return the script of wrk."""
        if self.is_varied:
            return varied(self.fields, size=self.size, around=self.around)
        return _FIXED_POST.format(size=self.size) if self.size else ""


def varied(fields: tuple[str, ...] = _FIELDS, *, size: int = 0, around: tuple[str, str] = ("", "")) -> str:
    """Return a script of wrk whose requests all differ: GET, or POST with bodies of up to `size` bytes between the
    texts `around` them.
    """
    has_type = any(field.startswith("Content-Type:") for field in fields)
    lines = fields if has_type or not size else (*fields, "Content-Type: application/octet-stream")
    return _VARIED.format(
        method="POST" if size else "GET",
        fields="".join(f"{_lua_format(line)}, " for line in lines),
        length=', "Content-Length: %d"' if size else "",
        size=size,
        variants=VARIANTS,
        before=_lua_text(around[0]),
        after=_lua_text(around[1]),
    )


def _lua_text(text: str) -> str:
    """Return a string of Lua; the text has no `'` and no backslash."""
    return f"'{text}'"


def _lua_format(text: str) -> str:
    """Return the same for a format of `string.format`."""
    return _lua_text(text.replace("%", "%%"))


_POST = 10 * 1024


def _stream(file: str, about: str, *, size: int = 0, way: Way = "plain", connections: int = CONNECTIONS) -> Workload:
    return Workload(file, about, size, is_varied=False, way=way, connections=connections)


WORKLOADS = {
    "plain": Workload("k1", "GET 1 KiB of JSON, plain HTTP to the upstream; all requests differ"),
    "plain-fixed": Workload("k1", "the same request with one field, again and again", is_varied=False),
    "plain-nine": Workload("k1", "`plain` with nine fields", fields=(*_FIELDS, *_MORE_FIELDS)),
    "tls": Workload("k1", "`plain` with TLS to the upstream", way="tls"),
    "post": Workload("post", "POST 10 KiB, a short response; all requests differ", _POST),
    "post-tls": Workload("post", "`post` with TLS to the upstream", _POST, way="tls"),
    "json": Workload("json", "`plain` with 1 KiB of JSON of an order, without a URL of OIC"),
    "xml": Workload("xml", "`plain` with 1 KiB of SOAP with namespaces, without a URL of OIC"),
    "soap": Workload(
        "soap",
        "as clients call OIC: POST 1 KiB of SOAP, TLS to the upstream, a chunked response with the fields of OIC",
        800,
        fields=(
            *_FIELDS,
            "Accept-Encoding: gzip, deflate",
            "Content-Type: text/xml; charset=utf-8",
            'SOAPAction: "order"',
        ),
        way="tls",
        around=(_ENVELOPE_BEGIN, _ENVELOPE_END),
        answer=ENVELOPE_ANSWER,
    ),
    "down": _stream("m1", "GET 1 MiB of JSON without a URL"),
    "up": _stream("post", "POST 1 MiB, a short response", size=MIB),
    "down-tls": _stream("m1", "`down` with TLS to the upstream", way="tls"),
    "up-tls": _stream("post", "`up` with TLS to the upstream", size=MIB, way="tls"),
    "down-64": _stream("m64", "GET 64 MiB of JSON without a URL, one after the other", connections=1),
    "up-64": _stream("post", "POST 64 MiB, one after the other", connections=1, size=64 * MIB),
    "down-64-tls": _stream("m64", "`down-64` with TLS to the upstream", connections=1, way="tls"),
    "up-64-tls": _stream("post", "`up-64` with TLS to the upstream", connections=1, size=64 * MIB, way="tls"),
    "key": Workload(
        "k1", "`plain` from a caller with an API key", fields=(*_FIELDS, f"X-Api-Key: {API_KEY}"), way="key"
    ),
    "basic": Workload(
        "k1", "`plain` from a caller with Basic", fields=(*_FIELDS, f"Authorization: Basic {BASIC}"), way="basic"
    ),
    "limit": Workload("k1", "`plain` to a service with a limit of 1,000 calls at once", way="limit"),
    "tls-in": Workload("k1", "`plain` over a TLS listener", way="listener"),
    "tls-in-new": Workload(
        "k1", "`tls-in` with a new connection for each call", fields=(*_FIELDS, "Connection: close"), way="listener"
    ),
    "plain-1": Workload("k1", "`plain` over one connection", connections=1),
    "plain-256": Workload("k1", "`plain` over 256 connections", connections=256),
    "plain-1000": Workload("k1", "`plain` over 1,000 connections", connections=1000),
}
