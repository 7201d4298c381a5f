"""Instants as text: RFC 3339 in UTC with milliseconds; repeated calls in one millisecond cost a comparison."""

import time

# Last instant of each unit and its text: one pair each, replaced as a whole, because events come from any thread.
_cache = {"milli": (-1, ""), "second": (-1, "")}


def timestamp(moment: float) -> str:
    """Return `moment` (seconds since the epoch) as `2026-01-31T12:00:00.123Z`, cut to the millisecond."""
    milli = int(moment * 1000)
    cached, text = _cache["milli"]
    if milli != cached:
        text = f"{_to_second(milli // 1000)}.{milli % 1000:03d}Z"
        _cache["milli"] = (milli, text)
    return text


def _to_second(second: int) -> str:
    cached, text = _cache["second"]
    if second != cached:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        _cache["second"] = (second, text)
    return text
