"""Validators: entity tags and digests of whole replies, conditional requests and ranges. Pure.

RFC 9110 sections 8.8.3, 13.1.2 and 14; RFC 9530 for `Content-Digest` and `Repr-Digest`, RFC 3230 for `Digest`. Whoever
changes a body on its way must drop or renew all of these, which is why they are here: [U] of the real thing.
"""

import base64
import hashlib
import re
from collections.abc import Mapping

from gateway.sandbox.request import IncomingRequest
from gateway.sandbox.responses import SandboxResponse

_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.IGNORECASE)


def validated(reply: SandboxResponse, arrival: IncomingRequest) -> SandboxResponse:
    """The reply with tag and digests of its content as it is sent; 304 when `If-None-Match` names the tag."""
    if not reply.has_validators or not isinstance(reply.body, bytes):
        return reply
    digest = hashlib.sha256(reply.body).digest()
    packed = base64.b64encode(digest).decode()
    tag = f'"{digest.hex()[:32]}"'
    is_reading = arrival.method in {"GET", "HEAD"} and reply.status == 200
    if is_reading and _names(arrival.headers.get("If-None-Match", ""), tag):
        kept = [field for field in reply.headers if not field[0].startswith("Content-")]
        return SandboxResponse(304, [*kept, ("ETag", tag)])
    reply.headers += [
        ("ETag", tag),
        ("Content-Digest", f"sha-256=:{packed}:"),
        ("Repr-Digest", f"sha-256=:{packed}:"),
        ("Digest", f"SHA-256={packed}"),
    ]
    return reply


def wanted_range(headers: Mapping[str, str], length: int, tag: str) -> range | None:
    """The one range of bytes that is asked for; None for all of them, an empty range for one that there is not.

    Several ranges, and one of another version (`If-Range`), are answered with all, as RFC 9110 section 14.2 allows.
    """
    match = _RANGE.fullmatch(headers.get("Range", "").strip())
    if match is None or headers.get("If-Range", tag) != tag or not (match[1] or match[2]):
        return None
    if not match[1]:
        return range(max(0, length - int(match[2])), length)
    first, last = int(match[1]), int(match[2] or length)
    return None if last < first else range(first, min(last + 1, length))


def _names(condition: str, tag: str) -> bool:
    """Weak comparison (RFC 9110 section 8.8.3.2)."""
    tags = [one.strip().removeprefix("W/") for one in condition.split(",")]
    return tag in tags or tags == ["*"]
