"""What the protocols of a caller's connection share: the preface, and the one that serves its requests."""

import asyncio
import enum
import socket
import struct
from contextlib import suppress
from typing import NamedTuple, Protocol

from gateway.http.connection_limits import RefusalReason

RESET = struct.pack("ii", 1, 0)  # struct linger: on, 0 seconds


class OpenConnection(Protocol):
    """A connection as the server sees it at a stop."""

    @property
    def is_finished(self) -> bool:
        """The connection is closed, and the kernel has all bytes that were written."""

    def is_idle(self, since: float) -> bool:
        """Return whether no request is under way or complete, and no byte of one has come after `since`."""

    def descriptor(self) -> int:
        """Return the file descriptor of the connection; -1 when it is closed."""

    def close_idle(self) -> None:
        """Close a connection that `is_idle`."""

    def close(self) -> None:
        """End the connection once the bytes written are sent."""

    def abort(self) -> None:
        """End the connection with RST."""


class ArrivalFailure(enum.Enum):
    """Why a connection ends before its first request; the values are labels of a metric."""

    HANDSHAKE = "handshake"
    """The TLS handshake failed."""
    TIMEOUT = "timeout"
    """It did not end in time."""
    PLAIN_HTTP = "plain-http"
    """Plain HTTP came on a TLS listener."""
    PROXY_HEADER = "proxy-header"
    """A balancer sent no usable header of the PROXY protocol."""


class Arrival(NamedTuple):
    """What is known of a connection before its first byte of HTTP."""

    peer: str | None
    """The address of the caller; None for a unix socket."""
    refusal: RefusalReason | None
    """Why the connection is not admitted; None if it is."""
    destination: tuple[str, int] | None = None
    """The address and port that the caller connected to, as a balancer named them."""


def reset_on_close(transport: asyncio.Transport) -> None:
    """Have the close of a connection send RST."""
    with suppress(OSError):
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
