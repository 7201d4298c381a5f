"""The address of the admin port: where it listens, and where to connect to it."""

from typing import NamedTuple

from gateway.content.untrusted_text import split_host_port

_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1", "*": "127.0.0.1", "": "127.0.0.1"}  # noqa: S104 - never bound


class AdminAddress(NamedTuple):
    """A TCP host and port, or the path of a unix socket (with an empty host and port 0)."""

    host: str
    port: int
    path: str = ""


def parse_address(address: str) -> AdminAddress:
    """Parse `127.0.0.1:9090`, `[::1]:9090`, `:9090` or `unix:/run/admin.sock`. Raise ValueError for anything else."""
    if address.startswith("unix:"):
        return AdminAddress("", 0, address.removeprefix("unix:"))
    host_port = split_host_port(address)
    if host_port is None:
        raise ValueError(f"{address!r} is not HOST:PORT, [IPV6]:PORT or unix:/PATH")
    return AdminAddress(*host_port)


def connect_address(address: AdminAddress) -> AdminAddress:
    """Return the address to connect to, for a server that listens on `address`: loopback in place of all addresses."""
    return address if address.path else address._replace(host=_LOOPBACK.get(address.host, address.host))
