"""Arrivals: one request as it came, before anybody has judged it."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl


class TooLarge(Exception):
    """The body is larger than the reader wants to keep."""


@dataclass(frozen=True, slots=True)
class IncomingRequest:
    """One request. `target` is the raw request target; `headers` ignores the case of names; `body` streams once.

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
        """The target up to the query, still encoded."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        """The decoded query parameters; of equal names the last."""
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))

    async def read(self, limit: int = 1 << 20) -> bytes:
        """The whole body. Raises TooLarge past `limit` bytes."""
        content = bytearray()
        async for chunk in self.body:
            content += chunk
            if len(content) > limit:
                raise TooLarge
        return bytes(content)

    async def drain(self) -> None:
        """Reads the body and forgets it."""
        async for _ in self.body:
            pass
