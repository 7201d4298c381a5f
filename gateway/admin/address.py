"""Where the admin port listens, and where to ask it, out of one text."""

from typing import NamedTuple

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1", "*": "127.0.0.1", "": "127.0.0.1"}  # noqa: S104 - read, not bound to


class AdminAddress(NamedTuple):
    """A TCP host and port, or the path of a unix socket (then the host is empty and the port 0)."""

    host: str
    port: int
    path: str = ""


def parse_address(address: str) -> AdminAddress:
    """`127.0.0.1:9090`, `[::1]:9090`, `:9090`, `unix:/run/admin.sock` as a `Place`; ValueError when none of them."""
    if address.startswith("unix:"):
        return AdminAddress("", 0, address.removeprefix("unix:"))
    host, colon, port = address.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError(f"{address!r} is no HOST:PORT, [IPV6]:PORT or unix:/PATH")
    return AdminAddress(host.removeprefix("[").removesuffix("]"), int(port))


def reachable(where: AdminAddress) -> AdminAddress:
    """The place to ask when `where` is what a server listens on: loopback in place of all addresses."""
    return where if where.path else where._replace(host=_ANY.get(where.host, where.host))
