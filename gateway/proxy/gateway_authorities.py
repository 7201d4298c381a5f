"""Pure: whether the authority of an absolute-form target names this gateway.

A caller that can only set an HTTP proxy sends all its plain HTTP traffic here, for any host (RFC 9112 §3.2.2). Only a
target that names the listener it reached is matched by its path.
"""

from collections.abc import Iterable

from gateway.content.untrusted_text import DEFAULT_PORTS, is_loopback_host, normalize_host, read_url, resolve_authority
from gateway.http.local_address import LocalAddress


class GatewayAuthorities:
    """The authorities of one gateway beside those of its listeners, compiled from `hosts` and `public_url`."""

    def __init__(self, *, hosts: Iterable[str], public_url: str | None) -> None:
        self._hosts = frozenset(map(normalize_host, hosts))
        public = read_url(public_url) if public_url else None
        self._public: tuple[str, int] | None = None
        if public is not None:
            self._public = normalize_host(public.host), public.effective_port

    def contains(self, scheme: str, authority: str, local: LocalAddress | None) -> bool:
        """Return whether the authority of an `http` or `https` target means this gateway. `local` is what the caller's
        connection was accepted on, None for a unix socket.

        These do: the local address, the configured host of this listener, `localhost` and loopback addresses, with the
        listener's port; a name of `hosts` with the listener's port or the scheme's default; `public_url`.
        """
        default = DEFAULT_PORTS[scheme]
        named = resolve_authority(authority, default_port=default)
        if named is None:
            return False
        host, port = named
        is_listener_port = local is not None and port == local.port
        if host in self._hosts and (is_listener_port or port == default):
            return True
        if (
            self._public is not None
            and host == self._public[0]
            and _is_same_port(port, self._public[1], default=default)
        ):
            return True
        if local is None or not is_listener_port:
            return False
        return host in {normalize_host(local.host), local.listener_host} or is_loopback_host(host)


def _is_same_port(port: int, public: int, *, default: int) -> bool:
    """Compare ports. Callers of plain HTTP name an https URL as http: the default ports of both schemes are equal."""
    return port == public or (port == default and public in DEFAULT_PORTS.values())
