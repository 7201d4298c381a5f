"""Instants as text: RFC 3339 in UTC with milliseconds, at the price of a comparison while the millisecond lasts."""

import time

_second = -1
_second_text = ""
_milli = -1
_milli_text = ""


def stamp(moment: float) -> str:
    """`moment` (seconds since the epoch) as `2026-01-31T12:00:00.123Z`, cut to the millisecond."""
    global _milli, _milli_text  # a cache of one entry; an object would double its price
    milli = int(moment * 1000)
    if milli == _milli:
        return _milli_text
    _milli_text = f"{_to_second(milli // 1000)}.{milli % 1000:03d}Z"
    _milli = milli
    return _milli_text


def _to_second(second: int) -> str:
    global _second, _second_text
    if second != _second:
        _second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        _second = second
    return _second_text
