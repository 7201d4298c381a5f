"""REST triggers: the response of each integration code."""

import asyncio
import functools
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import yaml

from gateway.sandbox import api_descriptions
from gateway.sandbox.http_messages import (
    Fields,
    Hangup,
    IncomingRequest,
    SandboxResponse,
    fault,
    json_response,
    no_body,
    not_found,
)
from gateway.sandbox.journal import Call
from gateway.sandbox.response_variants import UrlVariant, requested_range
from gateway.sandbox.runs import Run
from gateway.sandbox.switches import Switches

_ITEMS = 128
_TEXT = "Flow meter DN 80, flanged, with certificate; see drawing 4/7 \\ rev. é. " * 3


def big(
    mebibytes: int, base: str, *, has_links: bool = True, rewrite: Callable[[str], str] | None = None
) -> Iterator[bytes]:
    """Yield one JSON object `{"items": […], "count": N}` of about that size, always the same for the same arguments.

    It is never built as a whole. Each item has four links: below `base`, at another integration of its origin, at
    another host, and at a host whose name begins like that of `base`; none without `has_links`. `rewrite` changes the
    text of a piece before it is encoded.
    """
    text = _block(base, has_links=has_links)
    block = (rewrite(text) if rewrite else text).encode()
    count = max(1, (mebibytes << 20) // len(block))
    yield b'{"items":['
    for _ in range(count - 1):
        yield block
    yield block.removesuffix(b",")
    yield b'],"count":%d}' % (count * _ITEMS)


@functools.lru_cache(maxsize=16)
def _block(base: str, *, has_links: bool) -> str:
    items = (_item(number, base, has_links=has_links) for number in range(_ITEMS))
    return "".join(f"{json.dumps(item, ensure_ascii=False)}," for item in items)


def _item(number: int, base: str, *, has_links: bool) -> dict[str, Any]:
    parts = urlsplit(base)
    origin = f"{parts.scheme}://{parts.netloc}"
    stranger = f"{parts.scheme}://{parts.hostname}.example:{parts.port or 443}"
    links = {
        "self": f"{base}/items/{number}",
        "order": f"{origin}/ic/api/integration/v1/flows/rest/ORDERS/1.0/{1001 + number}",
        "supplier": f"https://supplier.example/items/{number}?unit=%2Fdn80",
        "mirror": f"{stranger}/ic/api/integration/v1/flows/rest/ORDERS/1.0/{1001 + number}",
    }
    item = {"id": number, "item": _TEXT, "quantity": number * 3, "price": 17.25, "isActive": number % 2 == 0}
    return item | ({"links": [{"rel": rel, "href": href} for rel, href in links.items()]} if has_links else {})


# A prime length, so that no buffer size of a power of two hides a lost or repeated piece.
_BLOCK = hashlib.shake_256(b"oic-gateway sandbox").digest(65521)


@dataclass(frozen=True, slots=True)
class FlowCall:
    """One request to one flow: `rest` is the raw path after the version, `base` the absolute URL up to it.

    `token_url` is that of the identity domain; `url_variant` writes the URLs in streamed bodies.
    """

    request: IncomingRequest
    call: Call
    run: Run
    rest: str
    base: str
    token_url: str
    url_variant: UrlVariant
    switches: Switches

    @property
    def body_instance_id(self) -> str:
        """Return the instance id for the body; empty if the switch forbids it everywhere."""
        return "" if self.switches.instance_ids == "none" else self.run.instance_id


Flow = Callable[[FlowCall], Awaitable[SandboxResponse]]


def pattern(length: int) -> bytes:
    """Return the bytes that BYTES sends."""
    return b"".join(_pieces(length))


@functools.lru_cache
def pattern_sha256(length: int) -> str:
    """Return the SHA-256 of `pattern(length)` in hex, without building it."""
    digest = hashlib.sha256()
    for piece in _pieces(length):
        digest.update(piece)
    return digest.hexdigest()


async def echo(flow_call: FlowCall) -> SandboxResponse:
    """Return JSON of what arrived; under `/body` the body itself, with its content type and framing."""
    request = flow_call.request
    if flow_call.rest.startswith("/body"):
        length = None if "Transfer-Encoding" in request.headers else int(request.headers.get("Content-Length", "0"))
        media_type = request.headers.get("Content-Type", "application/octet-stream")
        return SandboxResponse(200, [("Content-Type", media_type)], request.body, length=length)
    await request.drain()
    content = {
        "method": request.method,
        "target": request.target,
        "headers": [[name.decode("latin-1"), _shown(name, value)] for name, value in request.fields],
        "body": {"length": flow_call.call.body_length, "sha256": flow_call.call.body_sha256},
    }
    return json_response(200, content)


async def accept_asynchronously(flow_call: FlowCall) -> SandboxResponse:
    """Return the response of an asynchronous flow: accepted, empty, chunked."""
    await flow_call.request.drain()
    return SandboxResponse(202, [], no_body())


async def send_bytes(flow_call: FlowCall) -> SandboxResponse:
    """Send N bytes for `/N`, with Content-Length or, with `?chunked=1`, in chunks; one range of them if requested."""
    await flow_call.request.drain()
    length = _number(flow_call.rest)
    if length is None:
        return fault(400, "BYTES/1.0/N requires a number of bytes.")
    is_chunked = flow_call.request.query.get("chunked") == "1"
    tag = f'"bytes-{length}"'
    headers = [("Content-Type", "application/octet-stream"), ("Accept-Ranges", "bytes"), ("ETag", tag)]
    is_reading = flow_call.request.method in {"GET", "HEAD"}
    wanted = requested_range(flow_call.request.headers, length, tag) if is_reading else None
    if wanted is None:
        return SandboxResponse(200, headers, _stream(_pieces(length)), length=None if is_chunked else length)
    if not wanted:
        return SandboxResponse(416, [("Content-Range", f"bytes */{length}")])
    headers.append(("Content-Range", f"bytes {wanted.start}-{wanted.stop - 1}/{length}"))
    pieces = _stream(_pieces(len(wanted), wanted.start))
    return SandboxResponse(206, headers, pieces, length=None if is_chunked else len(wanted))


async def send_big(flow_call: FlowCall) -> SandboxResponse:
    """Send a JSON document of about N MiB for `/N`; `?links=0` without links."""
    await flow_call.request.drain()
    number = _number(flow_call.rest)
    if number is None:
        return fault(400, "BIG/1.0/N requires a number of MiB.")
    has_links = flow_call.request.query.get("links") != "0"
    pieces = big(
        number,
        flow_call.base,
        has_links=has_links,
        rewrite=lambda text: flow_call.url_variant.rewrite(text, "json"),
    )
    return SandboxResponse(200, [("Content-Type", "application/json")], _stream(pieces))


async def answer_late(flow_call: FlowCall) -> SandboxResponse:
    """Send the head after `/SECONDS`, or when `switches.slow_gate` opens."""
    await flow_call.request.drain()
    gate = flow_call.switches.slow_gate
    try:
        seconds = float(flow_call.rest.strip("/") or 1)
    except ValueError:
        return fault(400, "SLOW/1.0/SECONDS requires a number of seconds.")
    await (asyncio.sleep(seconds) if gate is None else gate.wait())
    return json_response(200, {"waited": seconds})


async def send_status(flow_call: FlowCall) -> SandboxResponse:
    """Send the status of `/CODE` as the business response of a flow; `?id=0`, `?retry_after=N`, `?location=URL` vary
    it.
    """
    await flow_call.request.drain()
    status = _number(flow_call.rest)
    if status is None or not 200 <= status <= 999:
        return fault(400, "STATUS/1.0/CODE requires a status of 200 to 999.")
    query = flow_call.request.query
    names = {"retry_after": "Retry-After", "location": "Location"}
    headers = [(name, query[key]) for key, name in names.items() if key in query]
    response = fault(status, "The flow answered this status.", headers)
    response.has_instance_id = query.get("id") != "0"
    return response


async def drop_connection(flow_call: FlowCall) -> SandboxResponse:
    """End the connection: `/before` the response, by `/reset`, in the `/mid` of a sized or a `/chunked` body.

    `/close` is no fault: a complete body that the end of the connection delimits (RFC 9112 section 6.3).
    """
    await flow_call.request.drain()
    how = flow_call.rest.strip("/")
    headers: Fields = [("Content-Type", "application/octet-stream")]
    if how == "mid":
        return SandboxResponse(200, headers, _broken(), length=100_000)
    if how == "chunked":
        return SandboxResponse(200, headers, _broken())
    if how == "close":
        return SandboxResponse(200, headers, _stream(_pieces(100_000)), ends_by_close=True)
    raise Hangup(is_reset=how == "reset")


async def hash_upload(flow_call: FlowCall) -> SandboxResponse:
    """Read a body of any size without storing it. Return its length and SHA-256."""
    await flow_call.request.drain()
    return json_response(200, {"length": flow_call.call.body_length, "sha256": flow_call.call.body_sha256})


async def describe(flow_call: FlowCall) -> SandboxResponse:
    """Return `/metadata`, `/metadata/swagger` or `/metadata/openapi` (also as `.yaml`), with the address of OIC."""
    await flow_call.request.drain()
    make = _PAGES.get(flow_call.rest.removesuffix(".yaml"))
    if make is None:
        return not_found()
    response = json_response(200, make(flow_call))
    if flow_call.rest.endswith(".yaml"):
        text = yaml.safe_dump(make(flow_call), sort_keys=False, width=1000)
        response = SandboxResponse(200, [("Content-Type", "application/yaml")], text.encode())
    response.has_validators = True
    return response


_PAGES: dict[str, Callable[[FlowCall], Any]] = {
    "/metadata": lambda flow_call: api_descriptions.about(flow_call.run.code, flow_call.base),
    "/metadata/swagger": lambda flow_call: api_descriptions.swagger(
        flow_call.run.code, flow_call.base, flow_call.token_url
    ),
    "/metadata/openapi": lambda flow_call: api_descriptions.openapi(
        flow_call.run.code, flow_call.base, flow_call.token_url
    ),
}


FLOWS: dict[str, Flow] = {
    "ECHO": echo,
    "ASYNC": accept_asynchronously,
    "BYTES": send_bytes,
    "SLOW": answer_late,
    "STATUS": send_status,
    "DROP": drop_connection,
    "UPLOAD": hash_upload,
    "BIG": send_big,
}


def _shown(name: bytes, value: bytes) -> str:
    return "(redacted)" if name.lower() == b"authorization" else value.decode("latin-1")


def _number(rest: str) -> int | None:
    digits = rest.strip("/")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 16 else None


def _pieces(length: int, start: int = 0) -> Iterator[bytes]:
    offset = start % len(_BLOCK)
    while length > 0:
        piece = _BLOCK[offset : offset + length]
        yield piece
        length, offset = length - len(piece), 0


async def _stream(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def _broken() -> AsyncIterator[bytes]:
    yield _BLOCK[:50_000]
    raise Hangup
