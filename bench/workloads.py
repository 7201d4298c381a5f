"""The work of the contenders. A workload is a line in the table."""

from dataclasses import dataclass
from typing import Literal

Way = Literal["plain", "tls"]
CONNECTIONS = 32

_POST = 'wrk.method = "POST"; wrk.body = string.rep("x", {size}); wrk.headers["Content-Type"] = "text/plain"\n'
# No two heads are alike, so a cache of the last one does not help. wrk cannot send the body of a request late.
_VARIED = """
local n = 0
local head = table.concat({
  "GET %s?id=%d&page=%d HTTP/1.1", "Host: orders.internal", "User-Agent: orders-client/2.1 (linux; build %d)",
  "Accept: application/json, text/plain;q=0.5", "Accept-Language: de-CH, de;q=0.9, en;q=0.8",
  "Cache-Control: no-cache", "X-Correlation-Id: %08x-0c1d-4f6e-9a51-%012d", "X-Tenant: tenant-%d",
  "Traceparent: 00-4bf92f3577b34da6a3ce929d%08x-00f067aa%08x-01", "", ""}, "\\r\\n")
request = function()
  n = n + 1
  return string.format(head, wrk.path, n, n % 97, n % 1000, n * 7, n, n % 53, n, n * 3)
end
"""


@dataclass(frozen=True, slots=True)
class Workload:
    """A path under a contender's address for this route to the upstream, and the options of wrk beyond a GET.
    `about` is a line for readers.
    """

    path: str
    about: str
    script: str = ""
    way: Way = "plain"
    connections: int = CONNECTIONS


WORKLOADS = {
    "plain": Workload("/k1", "GET 1 KiB of JSON, plain HTTP to the upstream"),
    "plain-varied": Workload("/k1", "the same with nine fields and a query; all requests differ", _VARIED),
    "tls": Workload("/k1", "`plain` with TLS to the upstream", way="tls"),
    "post": Workload("/post", "POST 10 KiB, a short response", _POST.format(size=10 * 1024)),
    "down": Workload("/m1", "GET 1 MiB"),
    "up": Workload("/post", "POST 1 MiB, a short response", _POST.format(size=1024 * 1024)),
    "plain-1": Workload("/k1", "`plain` over one connection", connections=1),
    "plain-256": Workload("/k1", "`plain` over 256 connections", connections=256),
    "plain-1000": Workload("/k1", "`plain` over 1,000 connections", connections=1000),
}
