"""Counters of the Prometheus text that pages need, summed by one label. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gateway.observe.metric_table import PREFIX

_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_SAMPLE = re.compile(r'[^{]*\{((?:\w+="(?:[^"\\]|\\.)*",?)*)\} (\S+)')
_ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}
_ESCAPED = re.compile(r'\\[\\"n]')


@dataclass(frozen=True, slots=True)
class Sample:
    """A value of a metric with its labels."""

    labels: Mapping[str, str]
    value: float


def metric_samples(text: bytes, name: str) -> list[Sample]:
    """Return the samples of the metric `name`, given without its prefix."""
    start = (PREFIX + name + "{").encode()
    return [_sample(line.decode()) for line in text.splitlines() if line.startswith(start)]


def sum_by(samples: Iterable[Sample], *labels: str) -> dict[tuple[str, ...], float]:
    """Return the sums of samples by the values of these labels."""
    sums: dict[tuple[str, ...], float] = {}
    for sample in samples:
        key = tuple(sample.labels.get(label, "") for label in labels)
        sums[key] = sums.get(key, 0.0) + sample.value
    return sums


def instance_id_percent(text: bytes, route: str) -> float | None:
    """Return the percentage of a route's responses that had an instance id; None without a response."""
    samples = [one for one in metric_samples(text, "instance_ids_total") if one.labels.get("route") == route]
    counts = sum_by(samples, "result")
    total = sum(counts.values())
    return 100 * counts.get(("found",), 0.0) / total if total else None


def _sample(line: str) -> Sample:
    match = _SAMPLE.match(line)
    labels, value = match.groups() if match else ("", "0")
    pairs = _LABEL.findall(labels)
    return Sample({name: _ESCAPED.sub(lambda one: _ESCAPES[one[0]], text) for name, text in pairs}, float(value))
