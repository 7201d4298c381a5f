"""A container's health check: asks a gateway's admin port whether it is ready. Standard library only, no loop."""

import http.client
import json
import socket
from typing import Any

from gateway.admin.address import Place, place, reachable

_LONGEST = 256 * 1024  # bytes of a readiness document that are read


def probe(address: str, timeout: float = 3.0) -> tuple[bool, str]:
    """Whether the gateway whose admin port listens on `address` is ready, and one line that says why not.

    `address` is what the server was given, `0.0.0.0:9090` and `[::]:9090` included. `timeout` in seconds is for each
    step of the exchange. Never raises: what cannot be reached is not ready.
    """
    try:
        connection = _connection(reachable(place(address)), timeout)
        try:
            connection.request("GET", "/readyz", headers={"Connection": "close"})
            reply = connection.getresponse()
            document = _document(reply.read(_LONGEST))
            return reply.status == 200 and "state" in document, _row(_told(reply.status, document))
        finally:
            connection.close()
    except (OSError, ValueError, http.client.HTTPException) as error:
        return False, _row(f"{address}: {str(error) or type(error).__name__}")


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket; the Host field says localhost."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _connection(where: Place, timeout: float) -> http.client.HTTPConnection:
    if where.path:
        return _UnixConnection(where.path, timeout)
    return http.client.HTTPConnection(where.host, where.port, timeout=timeout)


def _document(body: bytes) -> dict[str, Any]:
    """The readiness document, empty when it is none: something else than a gateway may listen there."""
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _told(status: int, document: dict[str, Any]) -> str:
    """The document's state, then each credential that has no token and why."""
    state = str(document.get("state") or document.get("detail") or f"answered {status}, and not as a gateway does")
    credentials = document.get("credentials")
    troubles = [
        f"{name}: {facts['error']}"
        for name, facts in (credentials.items() if isinstance(credentials, dict) else ())
        if isinstance(facts, dict) and facts.get("error")
    ]
    return "; ".join((state, *troubles))


def _row(text: str) -> str:
    """`text` on one line, without what a terminal would act upon."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())
