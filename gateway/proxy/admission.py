"""Pure: who may call. Address, Host and browser origin, since nobody authenticates to the gateway.

A page in a browser must not be able to drive the gateway, by DNS rebinding either: a Host is accepted only when no
public name server can make it ours (see `is_accepted_host`).
"""

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache

from gateway.errors import BadRequest, Forbidden

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

PRIVATE_SUFFIXES = (".localhost", ".local", ".internal", ".svc", ".cluster.local")
HOST = re.compile(r"(\[[0-9A-Fa-f:.]+(?:%25[0-9A-Za-z._~-]+)?\]|[A-Za-z0-9._~-]+)(?::([0-9]{0,5}))?")
FOREIGN_SITES = frozenset({b"cross-site", b"same-site"})


class Admission:
    """Who may call this gateway: compiled from `allow` and `hosts`."""

    def __init__(self, allow: Iterable[Network], hosts: Iterable[str]) -> None:
        self._allow = tuple(allow)
        self._hosts = frozenset(host.lower().rstrip(".") for host in hosts)
        self.accepts_host = lru_cache(maxsize=1024)(self._accepts_host)

    def accepts_address(self, address: str | None) -> bool:
        """True for loopback, a unix socket (None or empty) and the networks of `allow`."""
        if not address:
            return True
        peer = ipaddress.ip_address(address.partition("%")[0])
        if isinstance(peer, ipaddress.IPv6Address) and peer.ipv4_mapped is not None:
            peer = peer.ipv4_mapped
        return peer.is_loopback or any(peer in network for network in self._allow if network.version == peer.version)

    def check_host(self, host: bytes | None, *, required: bool) -> None:
        """Raises BadRequest for a missing, repeated or malformed Host (RFC 9112 §3.2), Forbidden for a foreign one."""
        if host is None:
            if required:
                raise BadRequest("The Host field is missing.")
            return
        accepted = self.accepts_host(host.decode("latin-1"))
        if accepted is None:
            raise BadRequest("The Host field is malformed.")
        if not accepted:
            raise Forbidden("This Host is not a name of the gateway; add it to `hosts`.")

    def _accepts_host(self, host: str) -> bool | None:
        parts = HOST.fullmatch(host)
        if parts is None:
            return None
        return is_accepted_host(parts[1].lower().rstrip("."), self._hosts)


def is_accepted_host(name: str, listed: frozenset[str]) -> bool:
    """True for an IP literal, a name of one label, a name under a private suffix, or a listed one: names that nobody
    outside can point at this machine.
    """
    if name in listed or "." not in name or name.startswith("["):
        return True
    if name.endswith(PRIVATE_SUFFIXES):
        return True
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True


def check_browser(origin: bytes | None, fetch_site: bytes | None, origins: frozenset[str]) -> None:
    """Raises Forbidden for a request that a page made (Fetch standard: Origin, Sec-Fetch-Site), unless the route
    lists the origin.
    """
    if origin is None and (fetch_site is None or fetch_site.lower() not in FOREIGN_SITES):
        return
    if "*" in origins or (origin is not None and origin.decode("latin-1") in origins):
        return
    raise Forbidden("Requests that a browser page makes are refused; add the page's origin to the route's `origins`.")
