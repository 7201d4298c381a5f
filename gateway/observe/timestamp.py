"""Instants as text: RFC 3339 in UTC with milliseconds, at the price of a comparison while the millisecond lasts."""

import time

# The last instant of each grain and its text: one pair each, replaced as a whole, because events come from any thread.
_last = {"milli": (-1, ""), "second": (-1, "")}


def timestamp(moment: float) -> str:
    """`moment` (seconds since the epoch) as `2026-01-31T12:00:00.123Z`, cut to the millisecond."""
    milli = int(moment * 1000)
    known, text = _last["milli"]
    if milli != known:
        text = f"{_to_second(milli // 1000)}.{milli % 1000:03d}Z"
        _last["milli"] = (milli, text)
    return text


def _to_second(second: int) -> str:
    known, text = _last["second"]
    if second != known:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        _last["second"] = (second, text)
    return text
