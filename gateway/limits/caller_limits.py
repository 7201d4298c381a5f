"""The limits of one caller, as they are configured. Pure."""

from typing import Literal, NamedTuple

LimitKind = Literal["rate", "calls", "messages"]
"""The kinds of limits: `rate`, `quota.calls`, `quota.messages`."""


class RateLimit(NamedTuple):
    """`calls` in each period of so many `seconds`, evenly spread, and up to `burst` of them at once."""

    calls: int
    seconds: int
    burst: int

    @property
    def per_second(self) -> float:
        """The calls of one second."""
        return self.calls / self.seconds


class Quota(NamedTuple):
    """At most `limit` in each window of so many seconds; windows begin at multiples of it since 1970 UTC."""

    limit: int
    window: int


class CallerLimits(NamedTuple):
    """All limits of a caller; None: no limit."""

    rate: RateLimit | None = None
    calls: Quota | None = None
    messages: Quota | None = None
