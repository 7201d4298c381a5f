"""Pure: the response fields that describe the limits of a caller (draft-ietf-httpapi-ratelimit-headers-10)."""

import math
from collections.abc import Iterator

from gateway.limits.caller_limits import CallerLimits
from gateway.limits.limit_messages import Denial

_PERIODS = {1: "a second", 60: "a minute", 3600: "an hour", 86400: "a day"}


def ratelimit_lines(limits: CallerLimits, denial: Denial, now: float) -> tuple[str, ...]:
    """Return the field lines `RateLimit-Policy`, with each limit, and `RateLimit`, with what is left of it."""
    states = ", ".join(
        f'"{state.kind}";r={state.remaining};t={max(1, math.ceil(state.resets_at - now))}' for state in denial.states
    )
    lines = (f"RateLimit-Policy: {', '.join(_policies(limits))}", f"RateLimit: {states}")
    return lines if states else ()


def limit_text(limits: CallerLimits, denial: Denial) -> str:
    """Return the limit that was reached, in words."""
    if denial.kind == "rate" and limits.rate is not None:
        rate = limits.rate
        return f"{rate.calls} calls {_PERIODS[rate.seconds]}, {rate.burst} at once"
    quota = limits.messages if denial.kind == "messages" else limits.calls
    return "" if quota is None else f"{quota.limit} {denial.kind} {_PERIODS[quota.window]}"


def _policies(limits: CallerLimits) -> Iterator[str]:
    if (rate := limits.rate) is not None:
        yield f'"rate";q={rate.calls};w={rate.seconds}'
    if (calls := limits.calls) is not None:
        yield f'"calls";q={calls.limit};w={calls.window}'
    if (messages := limits.messages) is not None:
        yield f'"messages";q={messages.limit};w={messages.window};qu="messages"'
