"""Who may hold a connection of the callers' port: a bounded number in all, and of each address a share of it.

Connections that are not admitted take no place of the others. A few of them are kept for a moment, to be told why; the
rest are closed at once.
"""

import enum
from collections import Counter
from ipaddress import ip_address


class RefusalReason(enum.Enum):
    """Why a connection is not admitted; the values are labels of a metric."""

    FORBIDDEN = "forbidden"
    """The address is not allowed."""
    ADDRESS = "address"
    """The address has its share already."""
    LIMIT = "limit"
    """All places are taken."""


class ConnectionLimits:
    """Counts the connections of callers. `admitted` ones hold a place, `turned_away` ones are there only for an answer;
    `refusals` counts by cause all that were not admitted so far.
    """

    __slots__ = ("_by_address", "_most_refused", "admitted", "limit", "per_address", "refusals", "turned_away")

    def __init__(self, limit: int, *, refused: int, address_share: float = 1.0) -> None:
        """At most `limit` connections are served, `limit * address_share` of one address, and `refused` more are told
        why they are not.
        """
        self.limit = limit
        self.per_address = max(1, int(limit * address_share))
        self._most_refused = refused
        self._by_address: Counter[str] = Counter()
        self.admitted = self.turned_away = 0
        self.refusals: Counter[RefusalReason] = Counter()

    def admit(self, address: str | None, *, is_allowed: bool) -> RefusalReason | None:
        """Counts one more connection (address None: of a unix socket); why it holds no place, or None."""
        refusal = self._why_not(address) if is_allowed else RefusalReason.FORBIDDEN
        if refusal is None:
            self.admitted += 1
            if address is not None:
                self._by_address[_counted_as(address)] += 1
        else:
            self.turned_away += 1
            self.refusals[refusal] += 1
        return refusal

    def release(self, address: str | None, refusal: RefusalReason | None) -> None:
        """One that `enter` has counted has gone."""
        if refusal is not None:
            self.turned_away -= 1
            return
        self.admitted -= 1
        if address is not None:
            counted = _counted_as(address)
            self._by_address[counted] -= 1
            if not self._by_address[counted]:
                del self._by_address[counted]

    @property
    def is_crowded(self) -> bool:
        """More connections wait to be told why they are not served than there is room for."""
        return self.turned_away > self._most_refused

    def _why_not(self, address: str | None) -> RefusalReason | None:
        if self.admitted >= self.limit:
            return RefusalReason.LIMIT
        if self.per_address >= self.limit or address is None:
            return None
        is_over = self._by_address[_counted_as(address)] >= self.per_address
        return RefusalReason.ADDRESS if is_over and not ip_address(_unmapped(address)).is_loopback else None


def _counted_as(address: str) -> str:
    """A caller of IPv6 may use any address of its network of 64 bits (RFC 4291 §2.5.4): they count as one."""
    address = _unmapped(address)
    return str(int(ip_address(address)) >> 64) if ":" in address else address


def _unmapped(address: str) -> str:
    """An IPv4 address is the same on a socket of IPv6 (RFC 4291 §2.5.5.2)."""
    return address.removeprefix("::ffff:") if "." in address else address
