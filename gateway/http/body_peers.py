"""What bodies use of others: a request body its inspector and both connections, a response body its `BodySink`."""

from typing import Protocol


class BodyInspector(Protocol):
    """Inspects the beginning of a body before any of it is sent."""

    output: list[bytes]
    """The bytes that replace the inspected ones, once `feed` has returned True."""
    removed: int
    """The number of inspected bytes that are not in `output`."""

    def feed(self, data: bytes, *, last: bool) -> bool:
        """Inspect more bytes. Return True once no more are needed; always with `last`. Raise BadRequest for a body that
        must not be sent.
        """


class ReadControl(Protocol):
    """The caller's connection, as a request body uses it."""

    def pause_reading(self) -> None:
        """Stop reading from the caller."""

    def resume_reading(self) -> None:
        """Read from the caller again."""

    async def become_task(self) -> None:
        """Have the handler go on as a task, because it waits for the caller."""


class UpstreamTransport(Protocol):
    """The upstream's connection, as a request body uses it."""

    write_paused: bool
    """Whether it has no room for more bytes."""

    @property
    def is_open(self) -> bool:
        """Whether the connection is open and not closing."""

    @property
    def has_unsent_bytes(self) -> bool:
        """Whether the transport may still send from memory that it got."""

    @property
    def response_head(self) -> object | None:
        """The final head of the response; None before it has been read."""

    def write(self, parts: list[bytes]) -> None:
        """Send bytes of the request."""

    async def drain(self, idle_timeout: float) -> None:
        """Wait until there is room. Raise UpstreamTimeout if the upstream reads nothing for `idle_timeout` seconds."""

    def start_response_timer(self, timeout: float) -> None:
        """Expect the response to begin within `timeout` seconds."""

    def abort(self) -> None:
        """Close the connection at once."""


class BodySink(Protocol):
    """Takes bytes of a response as they arrive."""

    def try_send(self, data: bytes | memoryview) -> bool:
        """Send bytes at once, or return False: then `read_body` returns them."""

    @property
    def has_unsent_bytes(self) -> bool:
        """Whether bytes that were sent may still be in use."""
