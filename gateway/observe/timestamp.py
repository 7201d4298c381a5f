"""Write times as RFC 3339 text in UTC with milliseconds. Repeated calls in one second are cheap."""

import time

_MILLISECONDS = tuple(f".{milli:03d}Z" for milli in range(1000))
_MAX_SECONDS = 60


class _SecondTexts(dict[int, str]):
    """The texts of the last seconds, made when they are first read; by any thread, as any may log events."""

    def __missing__(self, second: int) -> str:
        if len(self) >= _MAX_SECONDS:
            self.clear()
        text = self[second] = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return text


_seconds = _SecondTexts()


def timestamp(epoch_seconds: float) -> str:
    """Return epoch seconds as `2026-01-31T12:00:00.123Z`, cut to the millisecond."""
    second, milli = divmod(int(epoch_seconds * 1000), 1000)
    return _seconds[second] + _MILLISECONDS[milli]
