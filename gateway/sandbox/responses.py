"""Replies: what the sandbox answers, as values. Pure; `server` puts them on the wire."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

Fields = list[tuple[str, str]]

_TEXTS = ("json", "xml", "yaml", "text/")
_PHRASES = {known.value: known.phrase for known in HTTPStatus}


class Hangup(Exception):
    """The connection ends here, without an answer or in the middle of one; `is_reset` with a TCP reset."""

    def __init__(self, *, is_reset: bool = False) -> None:
        super().__init__("hang up")
        self.is_reset = is_reset


@dataclass(slots=True)
class SandboxResponse:
    """One reply. `body` is whole, or a stream: of `length` bytes, or chunked when `length` is None.

    With `ends_by_close` a stream has neither Content-Length nor chunks: the end of the connection ends it.
    `has_instance_id` is what a flow wishes; the switch may forbid it. With `has_validators` a whole body is sent with
    its entity tag and digests.
    """

    status: int
    headers: Fields = field(default_factory=list)
    body: bytes | AsyncIterator[bytes] = b""
    length: int | None = None
    ends_by_close: bool = False
    has_instance_id: bool = True
    has_validators: bool = False

    @property
    def media_type(self) -> str:
        """The media type in lower case, without parameters; empty without one."""
        written = next((value for name, value in self.headers if name == "Content-Type"), "")
        return written.partition(";")[0].strip().lower()

    @property
    def is_text(self) -> bool:
        """Whether the body is of a kind that names URLs: JSON, XML, YAML, HTML, text."""
        return any(word in self.media_type for word in _TEXTS)


async def no_body() -> AsyncIterator[bytes]:
    """An empty stream: sent as a chunked body of no chunks."""
    nothing: tuple[bytes, ...] = ()
    for chunk in nothing:
        yield chunk


def json_reply(status: int, content: Any, headers: Fields | None = None) -> SandboxResponse:
    """A reply of JSON, plus the given header fields."""
    return SandboxResponse(
        status, [("Content-Type", "application/json"), *(headers or [])], json.dumps(content).encode()
    )


def fault(status: int, detail: str, headers: Fields | None = None) -> SandboxResponse:
    """An error in the style of an OIC trigger."""
    title = _PHRASES.get(status, "Status")
    content = {
        "type": f"http://www.w3.org/Protocols/rfc2616/rfc2616-sec10.html#{status}",
        "title": title,
        "detail": detail,
        "o:errorCode": str(status),
        "o:errorDetails": [{"title": title, "o:errorCode": str(status)}],
    }
    return json_reply(status, content, headers)


def not_found(detail: str = "The integration is not found or not activated.") -> SandboxResponse:
    """The 404 of a wrong URL, a wrong version or an integration that is not activated."""
    return fault(404, detail)
