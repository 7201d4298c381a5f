"""What a collector's response means, and when an export is sent again (OTLP specification, OTLP/HTTP). Pure."""

from dataclasses import dataclass
from typing import Literal

from gateway.content.untrusted_text import read_retry_after

Outcome = Literal["ok", "partial", "retry", "refused"]

RETRYABLE = frozenset({429, 502, 503, 504})
"""The statuses after which an export is sent again; after all others its data is dropped."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds of the pause after the first failure, which doubles, and its maximum."""
LONGEST_RETRY_AFTER = 600.0
"""Maximum seconds that a collector can ask for."""
MAX_RETRY_TIME = 60.0
"""Seconds from the first attempt of an export after which it is not sent again."""


@dataclass(frozen=True, slots=True)
class ExportResult:
    """The result of one attempt. `rejected` items of a `partial` success are lost; `reason` is for the log."""

    outcome: Outcome
    rejected: int = 0
    reason: str = ""
    retry_after: float | None = None
    """Seconds."""


def result_of_status(status: int, retry_after: str | None, *, now: float) -> ExportResult:
    """Return the result of a response that is not a success; `now` is in epoch seconds."""
    if status in RETRYABLE:
        wait = None if retry_after is None else read_retry_after(retry_after, now=now)
        return ExportResult("retry", reason=f"status {status}", retry_after=wait)
    return ExportResult("refused", reason=f"status {status}")


def retry_pause(failures: int, result: ExportResult, random_fraction: float) -> float:
    """Return the seconds to wait after so many failures: those of Retry-After, else an exponential back-off with
    jitter, for a `random_fraction` in [0, 1).
    """
    pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (failures - 1)) * (0.5 + random_fraction / 2)
    return pause if result.retry_after is None else max(min(result.retry_after, LONGEST_RETRY_AFTER), pause)
