"""Sends one request to the admin port of a gateway. Standard library only, no loop."""

import http.client
import json
import socket
from typing import Any

from gateway.admin.address import AdminAddress, connect_address, parse_address


class AdminUnavailable(Exception):
    """The admin port does not answer, or not in HTTP; the text names the cause."""


def fetch(address: str, target: str, *, timeout: float, limit: int) -> tuple[int, bytes]:
    """Return status and body of GET `target` at the admin port that listens on `address`.

    `address` is the one in the configuration; it may be `0.0.0.0:9090` or `[::]:9090`. `timeout` in seconds applies to
    each step. Raise AdminUnavailable, also for a body of more than `limit` bytes and for one that is cut off.
    """
    try:
        connection = _connection(connect_address(parse_address(address)), timeout)
        try:
            connection.request("GET", target, headers={"Connection": "close"})
            response = connection.getresponse()
            body = response.read(limit + 1)
            if len(body) > limit:
                raise AdminUnavailable(f"{address}: the response is larger than {limit // 1024} KiB")
            if response.length:  # http.client reads a short body without an error
                raise AdminUnavailable(f"{address}: the response is cut off")
            return response.status, body
        finally:
            connection.close()
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise AdminUnavailable(f"{address}: {str(error) or type(error).__name__}") from error


def parse_object(body: bytes) -> dict[str, Any]:
    """Parse a body that is a JSON object; return an empty one for any other body, because another program may listen
    there.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
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


def _connection(address: AdminAddress, timeout: float) -> http.client.HTTPConnection:
    if address.path:
        return _UnixConnection(address.path, timeout)
    return http.client.HTTPConnection(address.host, address.port, timeout=timeout)
