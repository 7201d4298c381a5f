"""Asks a gateway's admin port one question. Standard library only, no loop."""

import http.client
import json
import socket
from typing import Any

from gateway.admin.address import AdminAddress, parse_address, reachable


class AdminUnavailable(Exception):
    """Nobody answers there, or not as HTTP; the text says why."""


def fetch(address: str, target: str, *, timeout: float, most: int) -> tuple[int, bytes]:
    """Status and up to `most` bytes of the body of GET `target` at the admin port that listens on `address`.

    `address` is what the server was given, `0.0.0.0:9090` and `[::]:9090` included. `timeout` in seconds is for each
    step of the exchange. Raises NoAnswer.
    """
    try:
        connection = _connection(reachable(parse_address(address)), timeout)
        try:
            connection.request("GET", target, headers={"Connection": "close"})
            reply = connection.getresponse()
            return reply.status, reply.read(most)
        finally:
            connection.close()
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise AdminUnavailable(f"{address}: {str(error) or type(error).__name__}") from error


def mapping(body: bytes) -> dict[str, Any]:
    """The JSON document of an answer, empty when it is none: something else than a gateway may listen there."""
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket; the Host field says localhost."""

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
