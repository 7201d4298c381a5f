"""Pure: who may call. Address, Host and browser origin, since callers do not authenticate to the gateway.

A web page must not be able to use the gateway, not even by DNS rebinding: a Host is accepted only if no public name
server can point it at this machine.
"""

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache

from gateway.errors import BadRequest, Forbidden

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

PRIVATE_SUFFIXES = (".localhost", ".local", ".internal", ".svc", ".cluster.local")
# RFC 9110 §7.2: a host and a port. Of the names that RFC 3986 §3.2.2 allows, those that DNS can resolve.
HOST_FIELD_VALUE = re.compile(r"(?:\[([0-9A-Fa-f]*:[0-9A-Fa-f:.]+)\]|([A-Za-z0-9_~-][A-Za-z0-9._~-]*))(?::[0-9]{0,5})?")
MAX_HOST_SIZE = 260
ALLOWED_FETCH_SITES = frozenset({b"same-origin", b"none"})


class Admission:
    """The callers and the host names that are accepted, compiled from `allow` and `hosts`."""

    def __init__(self, allow: Iterable[Network], hosts: Iterable[str]) -> None:
        self._allow = tuple(allow)
        self._hosts = frozenset(host.lower().rstrip(".") for host in hosts)
        self._accepts_host = lru_cache(maxsize=1024)(self._check_host)
        self._accepts_address = lru_cache(maxsize=1024)(self._is_caller)

    def accepts_address(self, address: str | None) -> bool:
        """Return True for loopback, a unix socket (None or empty) and the networks of `allow`."""
        return not address or self._accepts_address(address)

    def check_address(self, address: str | None) -> None:
        """Raise Forbidden for an address that may not call."""
        if address and not self._accepts_address(address):
            raise Forbidden("This address may not call; add its network to `allow`.")

    def accepts_host(self, host: bytes) -> bool | None:
        """Return True for a name that `is_accepted_host`, False for another one, None for a malformed one."""
        return self._accepts_host(host) if len(host) <= MAX_HOST_SIZE else None

    def check_host_form(self, host: bytes | None, *, required: bool) -> bool | None:
        """Return whether the Host is accepted. Raise BadRequest for a missing, repeated or malformed one (RFC 9112
        §3.2).
        """
        if host is None:
            if required:
                raise BadRequest("The Host field is missing.")
            return True
        accepted = self.accepts_host(host)
        if accepted is None:
            raise BadRequest("The Host field is malformed.")
        return accepted

    def check_host(self, host: bytes | None, *, required: bool) -> None:
        """Raise BadRequest as `check_host_form` does, Forbidden for a Host that is not accepted."""
        if host is not None and len(host) <= MAX_HOST_SIZE and self._accepts_host(host):
            return  # as most
        if not self.check_host_form(host, required=required):
            raise Forbidden("This Host is not a name of the gateway; add it to `hosts`.")

    def _is_caller(self, address: str) -> bool:
        peer = ipaddress.ip_address(address)
        if isinstance(peer, ipaddress.IPv6Address) and peer.ipv4_mapped is not None:
            peer = peer.ipv4_mapped
        return peer.is_loopback or any(peer in network for network in self._allow if network.version == peer.version)

    def _check_host(self, host: bytes) -> bool | None:
        match = HOST_FIELD_VALUE.fullmatch(host.decode("latin-1"))
        if match is None or (match[1] and not _is_address(match[1])):
            return None
        return match[2] is None or is_accepted_host(match[2].lower().rstrip("."), self._hosts)


def is_accepted_host(name: str, listed: frozenset[str]) -> bool:
    """Return True for an IPv4 address, a name of one label, a name under a private suffix, or a listed one: names that
    no one outside can point at this machine. `name` is in lower case.
    """
    return "." not in name or name in listed or name.endswith(PRIVATE_SUFFIXES) or _is_address(name)


def check_browser(origin: bytes | None, fetch_site: bytes | None, origins: frozenset[str]) -> None:
    """Raise Forbidden for a request that a web page made (Fetch standard: Origin, Sec-Fetch-Site), unless the route
    lists its origin.
    """
    if origin is None and (fetch_site is None or fetch_site.lower() in ALLOWED_FETCH_SITES):
        return
    if "*" in origins or (origin is not None and origin.decode("latin-1") in origins):
        return
    raise Forbidden("Requests sent by web pages are rejected; add the page's origin to the route's `origins`.")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
