"""Write times as RFC 3339 text in UTC with milliseconds. Repeated calls in one second are cheap."""

import time

# The last second and its text. Any thread may log events: the pair is replaced as a whole.
_cache = [(-1, "")]
_MILLISECONDS = tuple(f".{milli:03d}Z" for milli in range(1000))


def timestamp(epoch_seconds: float) -> str:
    """Return epoch seconds as `2026-01-31T12:00:00.123Z`, cut to the millisecond."""
    second, milli = divmod(int(epoch_seconds * 1000), 1000)
    cached, text = _cache[0]
    if second != cached:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        _cache[0] = (second, text)
    return text + _MILLISECONDS[milli]
