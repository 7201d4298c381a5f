"""Limit the connections of callers, in total and for each address. Pure.

Refused connections do not count against the limit. A limited number of them stays open for a moment, for a response
that names the reason. The others are closed at once.
"""

import enum
from collections import Counter
from functools import lru_cache
from ipaddress import ip_address

CACHED_ADDRESSES = 1024
"""Number of addresses whose key is remembered."""


class RefusalReason(enum.Enum):
    """Why a connection is refused; the values are labels of a metric."""

    FORBIDDEN = "forbidden"
    """The address is not allowed."""
    ADDRESS = "address"
    """The address has reached its share."""
    LIMIT = "limit"
    """The limit is reached."""


class ConnectionLimits:
    """Counts the open connections that are `admitted` or `refused` (open only for a response), and all `refusals` so
    far by reason.
    """

    __slots__ = ("_by_address", "_refused_limit", "admitted", "limit", "per_address", "refusals", "refused")

    def __init__(self, limit: int, *, refused: int, address_share: float = 1.0) -> None:
        """Admit at most `limit` connections, and `limit * address_share` of one address. At most `refused` others may
        be open for a response.
        """
        self.limit = limit
        self.per_address = max(1, int(limit * address_share))
        self._refused_limit = refused
        self._by_address: dict[str, int] = {}
        self.admitted = self.refused = 0
        self.refusals: Counter[RefusalReason] = Counter()

    def admit(self, address: str | None, *, is_allowed: bool) -> RefusalReason | None:
        """Count a connection; `address` is None for a unix socket. Return why it is refused, or None."""
        refusal = self._refusal_reason(address) if is_allowed else RefusalReason.FORBIDDEN
        if refusal is None:
            self.admitted += 1
            if address is not None:
                key = _address_key(address)
                self._by_address[key] = self._by_address.get(key, 0) + 1
        else:
            self.refused += 1
            self.refusals[refusal] += 1
        return refusal

    def release(self, address: str | None, refusal: RefusalReason | None) -> None:
        """Count the end of a connection; `refusal` is what `admit` returned for it."""
        if refusal is not None:
            self.refused -= 1
            return
        self.admitted -= 1
        if address is not None:
            key = _address_key(address)
            count = self._by_address.pop(key) - 1
            if count:
                self._by_address[key] = count

    @property
    def has_too_many_refused(self) -> bool:
        """Return whether more refused connections are open than allowed."""
        return self.refused > self._refused_limit

    def _refusal_reason(self, address: str | None) -> RefusalReason | None:
        if self.admitted >= self.limit:
            return RefusalReason.LIMIT
        if self.per_address >= self.limit or address is None:
            return None
        is_over = self._by_address.get(_address_key(address), 0) >= self.per_address
        return RefusalReason.ADDRESS if is_over and not ip_address(_remove_mapped_prefix(address)).is_loopback else None


@lru_cache(maxsize=CACHED_ADDRESSES)
def _address_key(address: str) -> str:
    """Return the key by which an address is counted. An IPv6 host may use every address of its /64 network (RFC 4291
    §2.5.4), so they count as one.
    """
    address = _remove_mapped_prefix(address)
    return str(int(ip_address(address)) >> 64) if ":" in address else address


def _remove_mapped_prefix(address: str) -> str:
    """Return an IPv4 address without its IPv6-mapped prefix (RFC 4291 §2.5.5.2)."""
    return address.removeprefix("::ffff:") if "." in address else address
