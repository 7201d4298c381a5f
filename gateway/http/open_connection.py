"""The interface and the types that are common to the preface of a caller's connection and to its HTTP protocol."""

import asyncio
import enum
import socket
import struct
from contextlib import suppress
from typing import NamedTuple, Protocol

from gateway.http.connection_limits import RefusalReason

RESET = struct.pack("ii", 1, 0)  # struct linger: on, 0 seconds


class OpenConnection(Protocol):
    """The connection of a caller, as the server uses it at a stop."""

    @property
    def is_finished(self) -> bool:
        """Whether the connection is closed, and all written bytes are passed to the kernel."""

    def is_idle(self, since: float) -> bool:
        """Return whether there is no request, complete or in progress, and no byte has arrived after `since`."""

    def descriptor(self) -> int:
        """Return the file descriptor of the connection; -1 when it is closed."""

    def close_idle(self) -> None:
        """Close a connection that `is_idle`."""

    def close(self) -> None:
        """Close the connection once all written bytes are sent."""

    def abort(self) -> None:
        """End the connection with RST."""


class PrefaceFailure(enum.Enum):
    """Why a connection ends before its first request; the values are labels of a metric."""

    HANDSHAKE = "handshake"
    """The TLS handshake failed."""
    TIMEOUT = "timeout"
    """The preface did not end in time."""
    PLAIN_HTTP = "plain-http"
    """Plain HTTP came on a TLS listener."""
    PROXY_HEADER = "proxy-header"
    """A load balancer sent no usable PROXY protocol header."""


class ConnectionInfo(NamedTuple):
    """The facts of a connection that are known before its first byte of HTTP."""

    peer: str | None
    """The address of the caller; None for a unix socket."""
    refusal: RefusalReason | None
    """Why the connection is refused; None if it is admitted."""
    destination: tuple[str, int] | None = None
    """The address and port that the caller connected to, from a PROXY protocol header."""


def reset_on_close(transport: asyncio.Transport) -> None:
    """Make the close of a connection send RST."""
    with suppress(OSError):
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
