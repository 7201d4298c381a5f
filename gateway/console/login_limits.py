"""The limit of failed logins, for each address and each name. Pure."""

import ipaddress
from collections import OrderedDict
from collections.abc import Iterable, Sequence

ATTEMPTS = 5
PERIOD = 60.0  # seconds
MAX_KEYS = 10_000
"""Keys that are remembered; above it, the one whose last attempt is the oldest is forgotten."""


class FailedLogins:
    """Times of the last attempts by key, such as an address. An attempt counts from its start, so that simultaneous
    ones cannot exceed the limit; a successful one is forgotten.
    """

    def __init__(self) -> None:
        self._attempts: OrderedDict[str, list[float]] = OrderedDict()

    def begin(self, keys: Sequence[str], *, now: float) -> float:
        """Count an attempt for each key and return 0; or count nothing, and return the seconds until one is allowed."""
        waits = [self._wait(key, now) for key in keys]
        if any(waits):
            return max(waits)
        for key in keys:
            self._attempts.setdefault(key, []).append(now)
            self._attempts.move_to_end(key)
        while len(self._attempts) > MAX_KEYS:
            self._attempts.popitem(last=False)
        return 0.0

    def forget(self, keys: Iterable[str], *, began: float) -> None:
        """Forget the attempt that began at this time: it succeeded."""
        for key in keys:
            attempts = self._attempts.get(key, [])
            if began in attempts:
                attempts.remove(began)

    def _wait(self, key: str, now: float) -> float:
        attempts = [at for at in self._attempts.get(key, ()) if now - at < PERIOD]
        if key in self._attempts:
            self._attempts[key] = attempts
        return attempts[0] + PERIOD - now if len(attempts) >= ATTEMPTS else 0.0


def address_key(address: str | None) -> str:
    """Return the key of an address: for IPv6 its /64 network, which one person may have as a whole."""
    if address is None:
        return "address unix"
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return f"address {address[:64]}"
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return f"address {ipaddress.ip_network((parsed, 64), strict=False)}"
    return f"address {getattr(parsed, 'ipv4_mapped', None) or parsed}"
