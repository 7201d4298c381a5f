"""The interface of what serves the requests of callers: the request pipeline of `gateway/proxy`."""

from typing import Protocol, TypeVar

from gateway.errors import GatewayError
from gateway.http.request_body import RequestBody
from gateway.http.request_head import RequestHead

Caller_contra = TypeVar("Caller_contra", contravariant=True)
"""The connection of a caller."""


class RequestHandler(Protocol[Caller_contra]):
    """Serves the requests of all connections."""

    async def serve(self, caller: Caller_contra, head: RequestHead, body: RequestBody) -> bool:
        """Answer one request. Return whether another may follow on its connection."""

    def reject(self, caller: Caller_contra, error: GatewayError, data: bytes) -> None:
        """Answer a request that cannot be read; `data` is its beginning."""

    def log_trailing_bytes(self, caller: Caller_contra, count: int) -> None:
        """Log bytes that came behind a request after its record was written; the connection ends."""

    def is_allowed(self, peer: str | None) -> bool:
        """Return whether this address may call."""

    def answers_half_closed(self, caller: Caller_contra) -> bool:
        """Return whether a caller that has closed its sending side gets the response to its request."""
