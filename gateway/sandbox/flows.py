"""REST triggers: what each integration code answers."""

import asyncio
import functools
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from gateway.sandbox import api_descriptions
from gateway.sandbox.big_document import big
from gateway.sandbox.journal import Call
from gateway.sandbox.request import IncomingRequest
from gateway.sandbox.responses import Fields, Hangup, SandboxResponse, fault, json_reply, no_body, not_found
from gateway.sandbox.runs import Run
from gateway.sandbox.switches import Switches
from gateway.sandbox.url_variants import Spelling
from gateway.sandbox.validators import wanted_range

# A prime length, so that no buffer size of a power of two hides a lost or repeated piece.
_BLOCK = hashlib.shake_256(b"oic-gateway sandbox").digest(65521)


@dataclass(frozen=True, slots=True)
class Visit:
    """One request to one flow: `rest` is the raw path behind the version, `base` the absolute URL up to it.

    `token_url` is that of the identity domain, `spelling` how URLs are written in bodies that stream.
    """

    arrival: IncomingRequest
    call: Call
    run: Run
    rest: str
    base: str
    token_url: str
    spelling: Spelling
    switches: Switches

    @property
    def told_id(self) -> str:
        """The instance id as a body may tell it; empty where it is told nowhere."""
        return "" if self.switches.instance_ids == "none" else self.run.instance_id


Flow = Callable[[Visit], Awaitable[SandboxResponse]]


def pattern(length: int) -> bytes:
    """The bytes that BYTES answers."""
    return b"".join(_pieces(length))


@functools.lru_cache
def pattern_sha256(length: int) -> str:
    """SHA-256 of `pattern(length)` in hex, without building it."""
    digest = hashlib.sha256()
    for piece in _pieces(length):
        digest.update(piece)
    return digest.hexdigest()


async def echo(visit: Visit) -> SandboxResponse:
    """JSON of what arrived; under `/body` the body itself, with its content type and its framing."""
    arrival = visit.arrival
    if visit.rest.startswith("/body"):
        length = None if "Transfer-Encoding" in arrival.headers else int(arrival.headers.get("Content-Length", "0"))
        media_type = arrival.headers.get("Content-Type", "application/octet-stream")
        return SandboxResponse(200, [("Content-Type", media_type)], arrival.body, length=length)
    await arrival.drain()
    content = {
        "method": arrival.method,
        "target": arrival.target,
        "headers": [[name.decode("latin-1"), _shown(name, value)] for name, value in arrival.fields],
        "body": {"length": visit.call.body_length, "sha256": visit.call.body_sha256},
    }
    return json_reply(200, content)


async def accept(visit: Visit) -> SandboxResponse:
    """The reply of an asynchronous flow: accepted, empty, chunked."""
    await visit.arrival.drain()
    return SandboxResponse(202, [], no_body())


async def send_bytes(visit: Visit) -> SandboxResponse:
    """`/N`: N bytes, with Content-Length or, with `?chunked=1`, in chunks; one range of them where it is asked for."""
    await visit.arrival.drain()
    length = _number(visit.rest)
    if length is None:
        return fault(400, "BYTES/1.0/N wants a number of bytes.")
    is_chunked = visit.arrival.query.get("chunked") == "1"
    tag = f'"bytes-{length}"'
    headers = [("Content-Type", "application/octet-stream"), ("Accept-Ranges", "bytes"), ("ETag", tag)]
    is_reading = visit.arrival.method in {"GET", "HEAD"}
    wanted = wanted_range(visit.arrival.headers, length, tag) if is_reading else None
    if wanted is None:
        return SandboxResponse(200, headers, _stream(_pieces(length)), length=None if is_chunked else length)
    if not wanted:
        return SandboxResponse(416, [("Content-Range", f"bytes */{length}")])
    headers.append(("Content-Range", f"bytes {wanted.start}-{wanted.stop - 1}/{length}"))
    pieces = _stream(_pieces(len(wanted), wanted.start))
    return SandboxResponse(206, headers, pieces, length=None if is_chunked else len(wanted))


async def send_big(visit: Visit) -> SandboxResponse:
    """`/N`: a JSON document of about N MiB, streamed; `?links=0` without links."""
    await visit.arrival.drain()
    number = _number(visit.rest)
    if number is None:
        return fault(400, "BIG/1.0/N wants a number of MiB.")
    has_links = visit.arrival.query.get("links") != "0"
    pieces = big(number, visit.base, has_links=has_links, spell=lambda text: visit.spelling.text(text, "json"))
    return SandboxResponse(200, [("Content-Type", "application/json")], _stream(pieces))


async def be_slow(visit: Visit) -> SandboxResponse:
    """`/SECONDS`: the head comes that late; with `switches.slow_gate`, when that opens."""
    await visit.arrival.drain()
    gate = visit.switches.slow_gate
    try:
        seconds = float(visit.rest.strip("/") or 1)
    except ValueError:
        return fault(400, "SLOW/1.0/SECONDS wants a number of seconds.")
    await (asyncio.sleep(seconds) if gate is None else gate.wait())
    return json_reply(200, {"waited": seconds})


async def give_status(visit: Visit) -> SandboxResponse:
    """`/CODE`: that status as a flow's business answer; `?id=0`, `?retry_after=N`, `?location=URL` vary it."""
    await visit.arrival.drain()
    status = _number(visit.rest)
    if status is None or not 200 <= status <= 999:
        return fault(400, "STATUS/1.0/CODE wants a status of 200 to 999.")
    query = visit.arrival.query
    names = {"retry_after": "Retry-After", "location": "Location"}
    headers = [(name, query[key]) for key, name in names.items() if key in query]
    reply = fault(status, "The flow answered this status.", headers)
    reply.has_instance_id = query.get("id") != "0"
    return reply


async def drop(visit: Visit) -> SandboxResponse:
    """The connection dies: `/before` the reply, by `/reset`, in the `/mid` of a sized or a `/chunked` body.

    `/close` is no fault: a whole body that the end of the connection ends (RFC 9112 section 6.3).
    """
    await visit.arrival.drain()
    how = visit.rest.strip("/")
    headers: Fields = [("Content-Type", "application/octet-stream")]
    if how == "mid":
        return SandboxResponse(200, headers, _broken(), length=100_000)
    if how == "chunked":
        return SandboxResponse(200, headers, _broken())
    if how == "close":
        return SandboxResponse(200, headers, _stream(_pieces(100_000)), ends_by_close=True)
    raise Hangup(is_reset=how == "reset")


async def take_upload(visit: Visit) -> SandboxResponse:
    """Takes a body of any size without keeping it; replies its length and SHA-256."""
    await visit.arrival.drain()
    return json_reply(200, {"length": visit.call.body_length, "sha256": visit.call.body_sha256})


async def describe(visit: Visit) -> SandboxResponse:
    """`/metadata`, `/metadata/swagger`, `/metadata/openapi` (with `.yaml` too): they name OIC's own address."""
    await visit.arrival.drain()
    make = _PAGES.get(visit.rest.removesuffix(".yaml"))
    if make is None:
        return not_found()
    reply = json_reply(200, make(visit))
    if visit.rest.endswith(".yaml"):
        text = yaml.safe_dump(make(visit), sort_keys=False, width=1000)
        reply = SandboxResponse(200, [("Content-Type", "application/yaml")], text.encode())
    reply.has_validators = True
    return reply


_PAGES: dict[str, Callable[[Visit], Any]] = {
    "/metadata": lambda visit: api_descriptions.about(visit.run.code, visit.base),
    "/metadata/swagger": lambda visit: api_descriptions.swagger(visit.run.code, visit.base, visit.token_url),
    "/metadata/openapi": lambda visit: api_descriptions.openapi(visit.run.code, visit.base, visit.token_url),
}


FLOWS: dict[str, Flow] = {
    "ECHO": echo,
    "ASYNC": accept,
    "BYTES": send_bytes,
    "SLOW": be_slow,
    "STATUS": give_status,
    "DROP": drop,
    "UPLOAD": take_upload,
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
