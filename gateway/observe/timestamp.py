"""Write times as RFC 3339 text in UTC with milliseconds. Repeated calls in one millisecond cost a comparison."""

import time

# The last time of each unit, and its text. Any thread may log events: each pair is replaced as a whole.
_cache = {"milli": (-1, ""), "second": (-1, "")}


def timestamp(epoch_seconds: float) -> str:
    """Return epoch seconds as `2026-01-31T12:00:00.123Z`, cut to the millisecond."""
    milli = int(epoch_seconds * 1000)
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
