"""Codings: content codings of replies (RFC 9110 section 8.4), whole or streamed. Pure."""

import zlib
from collections.abc import AsyncIterator

from gateway.sandbox.responses import SandboxResponse
from gateway.sandbox.switches import ContentCoding, Switches

_WINDOW_BITS: dict[ContentCoding, int] = {"gzip": 31, "deflate": 15}  # `deflate` is the zlib format, section 8.4.1.2


def encoded(reply: SandboxResponse, accepted: str | None, switches: Switches) -> SandboxResponse:
    """The reply in the coding of the switch, where `Accept-Encoding` allows it or the switch forces it."""
    coding = switches.content_coding
    if not coding or not reply.body or not reply.is_text:
        return reply
    if not switches.content_coding_forced:
        reply.headers.append(("Vary", "Accept-Encoding"))
        if not _allows(accepted or "", coding):
            return reply
    reply.headers.append(("Content-Encoding", coding))
    packer = zlib.compressobj(wbits=_WINDOW_BITS[coding])
    if isinstance(reply.body, bytes):
        reply.body = packer.compress(reply.body) + packer.flush()
    else:
        reply.body, reply.length = _packed(reply.body, packer), None
    return reply


async def _packed(body: AsyncIterator[bytes], packer: "zlib._Compress") -> AsyncIterator[bytes]:
    async for piece in body:
        yield packer.compress(piece)
    yield packer.flush()


def _allows(accepted: str, coding: str) -> bool:
    """Whether the field names the coding, or `*`, with a weight above zero (section 12.5.3)."""
    weights: dict[str, bool] = {}
    for member in accepted.split(","):
        name, _, weight = member.partition(";")
        digits = weight.strip().lower().removeprefix("q=").strip()
        weights[name.strip().lower()] = not digits or bool(digits.strip("0."))
    return weights.get(coding, weights.get("*", False))
