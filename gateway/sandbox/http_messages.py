"""Requests and responses of the sandbox, as values. Pure; `sandbox_server` reads and sends them."""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl


class TooLarge(Exception):
    """The body exceeds the limit of its reader."""


@dataclass(frozen=True, slots=True)
class IncomingRequest:
    """One request. `target` is the raw request target; `headers` is case-insensitive; `body` streams once.

    `certificate` is the client certificate of the TLS connection in DER, empty without one.
    """

    method: str
    target: str
    headers: Mapping[str, str] = field(repr=False)
    fields: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    body: AsyncIterator[bytes] = field(repr=False)
    certificate: bytes = field(default=b"", repr=False)

    @property
    def path(self) -> str:
        """Return the target up to the query, still encoded."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        """Return the decoded query parameters; the last of equal names."""
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))

    async def read(self, limit: int = 1 << 20) -> bytes:
        """Return the whole body. Raise TooLarge above `limit` bytes."""
        content = bytearray()
        async for chunk in self.body:
            content += chunk
            if len(content) > limit:
                raise TooLarge
        return bytes(content)

    async def json(self) -> dict[str, Any]:
        """Return the body as a JSON object; empty if it is none."""
        try:
            document = json.loads(await self.read())
        except (TooLarge, ValueError, RecursionError):
            return {}
        return document if isinstance(document, dict) else {}

    async def drain(self) -> None:
        """Read and discard the body."""
        async for _ in self.body:
            pass


Fields = list[tuple[str, str]]

_TEXTS = ("json", "xml", "yaml", "text/")
_PHRASES = {known.value: known.phrase for known in HTTPStatus}


class Hangup(Exception):
    """The connection ends here, without a response or within one; `is_reset`: by a TCP reset."""

    def __init__(self, *, is_reset: bool = False) -> None:
        super().__init__("hang up")
        self.is_reset = is_reset


@dataclass(slots=True)
class SandboxResponse:
    """One response. `body` is complete, or a stream of `length` bytes, chunked if `length` is None.

    With `ends_by_close` the end of the connection ends a stream. With `has_instance_id` the flow wants an instance id
    in the response; the switch may forbid it. With `has_validators` a complete body has an entity tag and digests.
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
        """Return the media type in lower case, without parameters; empty without one."""
        written = next((value for name, value in self.headers if name == "Content-Type"), "")
        return written.partition(";")[0].strip().lower()

    @property
    def is_text(self) -> bool:
        """Return whether the body may contain URLs: JSON, XML, YAML, HTML, text."""
        return any(word in self.media_type for word in _TEXTS)


async def no_body() -> AsyncIterator[bytes]:
    """Return an empty stream, which is sent as a chunked body without chunks."""
    nothing: tuple[bytes, ...] = ()
    for chunk in nothing:
        yield chunk


def json_response(status: int, content: Any, headers: Fields | None = None) -> SandboxResponse:
    """Return a JSON response with these header fields."""
    return SandboxResponse(
        status, [("Content-Type", "application/json"), *(headers or [])], json.dumps(content).encode()
    )


def fault(status: int, detail: str, headers: Fields | None = None) -> SandboxResponse:
    """Return an error in the style of an OIC trigger."""
    title = _PHRASES.get(status, "Status")
    content = {
        "type": f"http://www.w3.org/Protocols/rfc2616/rfc2616-sec10.html#{status}",
        "title": title,
        "detail": detail,
        "o:errorCode": str(status),
        "o:errorDetails": [{"title": title, "o:errorCode": str(status)}],
    }
    return json_response(status, content, headers)


def not_found(detail: str = "The integration is not found or not activated.") -> SandboxResponse:
    """Return the 404 of a wrong URL, a wrong version or an inactive integration."""
    return fault(404, detail)
