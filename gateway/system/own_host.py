"""Find whether a host is this machine, without a name server."""

import ipaddress
import socket


def is_own_host(host: str) -> bool:
    """Return whether an IP address, or a name, is one of this machine: an address that a socket can be bound to, or the
    name of the machine, with or without its domain.
    """
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
    except ValueError:
        own = socket.gethostname().lower()
        return host.lower() in {own, own.partition(".")[0]}
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True
