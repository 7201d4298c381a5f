"""Send one GET or OPTIONS on a new connection, without redirects, cookies and retries."""

import asyncio
from collections.abc import Iterable

from gateway.checks.connect import ignore_closed
from gateway.diagnosis.facts import ProbeResponse
from gateway.errors import UpstreamTimeout
from gateway.http.response_parser import ResponseHead
from gateway.http.upstream_connection import UpstreamConnection
from gateway.http.upstream_dialer import dial
from gateway.network.dial import Origin
from gateway.proxy.headers import RESPONSE_RULES

MAX_BODY = 64 * 1024
"""Maximum bytes of a body to read: enough to recognize the server."""


async def send_probe(
    origin: Origin,
    method: str,
    target: str,
    *,
    host: str,
    fields: Iterable[tuple[str, str]] = (),
    bearer: str = "",
    within: float,
) -> ProbeResponse:
    """Return the response, its body limited to 64 KiB. Raise UpstreamUnreachable, UpstreamTimeout or UpstreamBroken.

    `host` is the value of the Host field, `bearer` an optional token.
    """
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", "User-Agent: oic-gateway", "Accept: */*"]
    lines += ["Accept-Encoding: identity", "Connection: close", *(f"{name}: {value}" for name, value in fields)]
    if bearer:
        lines.append(f"Authorization: Bearer {bearer}")
    head = "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")
    try:
        async with asyncio.timeout(within):
            connection = await dial(origin, ignore_closed, RESPONSE_RULES)
            try:
                return await _read_response(connection, head, within=within)
            finally:
                connection.abort()
    except TimeoutError:
        raise UpstreamTimeout(reason=f"no response within {within:g} s") from None


async def _read_response(connection: UpstreamConnection, head: bytes, *, within: float) -> ProbeResponse:
    connection.start_exchange(head, is_head_request=False, response_timeout=within)
    response = await connection.read_head()
    body = bytearray()
    while not connection.is_complete and len(body) < MAX_BODY:
        body += b"".join(await connection.read_body(within))
    body += b"".join(connection.read_available())
    text = bytes(body[:MAX_BODY]).decode("utf-8", "replace")
    return ProbeResponse(response.status, dict(_read_fields(response)), text)


def _read_fields(head: ResponseHead) -> Iterable[tuple[str, str]]:
    """Yield the fields by lower-case name; of a repeated field the last counts."""
    for line in (*head.forwarded_lines, *(line for _, line in head.deferred)):
        name, _, value = line.decode("latin-1").partition(":")
        yield name.strip().lower(), value.strip()
