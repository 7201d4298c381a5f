"""Decides whether a request of a browser may be answered: its host, its origin, and where it may be sent next. Pure."""

import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway.config.values import Network, has_dot_segment
from gateway.content.untrusted_text import (
    DEFAULT_PORTS,
    browser_origin,
    is_loopback_host,
    normalize_host,
    read_authority,
    read_ip_address,
)

HOME = "/console/"
_OTHER_SITES = frozenset(("cross-site", "same-site"))
# A path of the console with an optional query: no scheme, no host, no second slash, no backslash, no control character.
_RETURN_PATH = re.compile(r"/console/(?!/)[A-Za-z0-9._~!$&'()*+,;=:@%/-]*(?:\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?")
_MAX_RETURN_PATH = 2048


@dataclass(frozen=True, slots=True)
class ConsoleAddress:
    """How the browser addressed the console: its origin as browsers write it, and whether this is the origin of `url`,
    or this machine by a loopback name.
    """

    origin: str
    is_configured: bool
    is_loopback: bool

    @property
    def is_https(self) -> bool:
        """Return whether the browser uses https, so that cookies can be `Secure`."""
        return self.origin.startswith("https:")


def read_address(url: str | None, host: str) -> ConsoleAddress | None:
    """Return how a Host field addresses the console with this `url`; None for a malformed one.

    A Host that is not that of `url` reached the admin port itself, which uses http.
    """
    named = read_authority(host)
    if named is None:
        return None
    configured = browser_origin(url) if url is not None else None
    for scheme in DEFAULT_PORTS:
        if configured is not None and browser_origin(f"{scheme}://{host}") == configured:
            return ConsoleAddress(configured, is_configured=True, is_loopback=is_loopback_host(named.host))
    return ConsoleAddress(
        browser_origin(f"http://{host}") or "", is_configured=False, is_loopback=is_loopback_host(named.host)
    )


def is_own_origin(origins: Sequence[str], fetch_site: str | None, address: ConsoleAddress) -> bool:
    """Return whether the fields `Origin` and `Sec-Fetch-Site` of a POST prove that a page of the console sent it. A
    missing `Origin` proves nothing.
    """
    return [*origins] == [address.origin] and fetch_site not in _OTHER_SITES


def is_embedded(fetch_site: str | None, fetch_mode: str | None) -> bool:
    """Return whether another site loads a page of the console into its own, instead of linking to it."""
    return fetch_site in _OTHER_SITES and fetch_mode != "navigate"


def is_token(text: str, token: str) -> bool:
    """Return whether a text is the token, in a time that does not depend on it."""
    return bool(token) and hmac.compare_digest(text.encode("utf-8", "replace"), token.encode())


def safe_return_path(text: str) -> str:
    """Return a path of the console to go to after a login or an action; the overview for any other text, above all
    another site's URL.
    """
    path = text.partition("?")[0]
    if len(text) > _MAX_RETURN_PATH or not _RETURN_PATH.fullmatch(text) or path.startswith("/console/log"):
        return HOME
    return text if "//" not in path and not has_dot_segment(path) else HOME


def client_address(peer: str | None, forwarded: Iterable[str], proxies: Sequence[Network]) -> str | None:
    """Return the address of the person: that of the connection, or behind `proxies` the last address in
    `X-Forwarded-For` that is none of them. What stands before it may be invented by the person.
    """
    addresses = [part.strip() for field in forwarded for part in field.split(",")]
    current = peer
    while addresses and _is_in(current, proxies) and read_ip_address(addresses[-1]) is not None:
        current = normalize_host(addresses.pop())
    return current


def _is_in(text: str | None, networks: Sequence[Network]) -> bool:
    address = read_ip_address(text) if text is not None else None
    return address is not None and any(address in network for network in networks if network.version == address.version)
