"""The counters of exports, for the metrics. Pure: only the event loop changes them."""

from collections import Counter
from collections.abc import Iterator

EXPORT_RESULTS = ("ok", "partial", "refused", "failed")
LOSS_REASONS = ("queue-full", "rejected", "refused", "failed", "stopped")


class ExportCounters:
    """Counts exports by signal and result, and lost spans by reason."""

    def __init__(self) -> None:
        self.exports: Counter[tuple[str, str]] = Counter()
        self.lost: Counter[str] = Counter()

    def add_signal(self, signal: str) -> None:
        """Begin to count a signal, at zero: a rate does not see the first value of a series."""
        self.exports.update({(signal, result): 0 for result in EXPORT_RESULTS})
        if signal == "traces":
            self.lost.update(dict.fromkeys(LOSS_REASONS, 0))

    def metrics(self) -> Iterator[tuple[str, tuple[str, ...], float]]:
        """Yield name, labels and value of each metric."""
        for labels, count in self.exports.items():
            yield "telemetry_exports_total", labels, count
        for reason, count in self.lost.items():
            yield "telemetry_spans_lost_total", (reason,), count
