"""Sends one request to the admin port of a gateway. Standard library only, no loop."""

import http.client
import json
import socket
from typing import Any

from gateway.admin.address import AdminAddress, parse_address, reachable


class AdminUnavailable(Exception):
    """The admin port does not answer, or not in HTTP; the text names the cause."""


def fetch(address: str, target: str, *, timeout: float, limit: int) -> tuple[int, bytes]:
    """Return status and up to `limit` bytes of the body of GET `target` at the admin port that listens on `address`.

    `address` is the configured one, `0.0.0.0:9090` and `[::]:9090` included. `timeout` in seconds applies to each step.
    Raise AdminUnavailable.
    """
    try:
        connection = _connection(reachable(parse_address(address)), timeout)
        try:
            connection.request("GET", target, headers={"Connection": "close"})
            reply = connection.getresponse()
            return reply.status, reply.read(limit)
        finally:
            connection.close()
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise AdminUnavailable(f"{address}: {str(error) or type(error).__name__}") from error


def mapping(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a body; empty if it is none, because another program may listen there."""
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket; the Host field is localhost."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _connection(where: AdminAddress, timeout: float) -> http.client.HTTPConnection:
    if where.path:
        return _UnixConnection(where.path, timeout)
    return http.client.HTTPConnection(where.host, where.port, timeout=timeout)
