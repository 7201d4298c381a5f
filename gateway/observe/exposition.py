"""Metrics in the text format 0.0.4 of Prometheus, piece by piece. Pure.

prometheus-client creates an object for each sample: the series of 3,000 routes take a second. Here each series is one
text, and other tasks of the loop can run between two pieces.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate

from gateway.observe.meters import BUCKETS

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""The media type of the Prometheus text."""
Labels = tuple[str, ...]
Value = float | list[float]

_BUCKET_LABELS = (*(f"{bound:g}" for bound in BUCKETS), "+Inf")


def render_head(name: str, kind: str, description: str) -> str:
    """Return the lines before the samples of a metric."""
    return f"# HELP {name} {description}\n# TYPE {name} {kind}\n"


def render_samples(name: str, kind: str, labels: Labels, values: Mapping[Labels, Value]) -> Iterator[str]:
    """Yield the samples of a metric, one piece for each set of label values: a line, or a whole histogram."""
    render = _sample_renderer(name, kind, labels)
    for key, value in tuple(values.items()):
        yield render(key, value)


def _sample_renderer(name: str, kind: str, labels: Labels) -> Callable[[Labels, Value], str]:
    """Return a function that renders the sample of one set of label values."""
    order = tuple(sorted(range(len(labels)), key=labels.__getitem__))  # the order of prometheus-client
    names = tuple(labels[at] for at in order)

    def pairs(key: Labels) -> str:
        return ",".join([f'{name}="{_escape_label(key[at])}"' for name, at in zip(names, order, strict=True)])

    if kind == "histogram":
        return lambda key, value: _render_histogram(name, pairs(key), value)
    return lambda key, value: f"{name}{_enclose_labels(pairs(key))} {_render_number(value)}\n"


def _render_histogram(name: str, pairs: str, value: Value) -> str:
    assert isinstance(value, list)
    *counts, total = value
    comma = "," if pairs else ""
    start = f'{name}_bucket{{{pairs}{comma}le="'
    buckets = "".join(
        [
            f'{start}{bound}"}} {float(count)!r}\n'
            for bound, count in zip(_BUCKET_LABELS, accumulate(counts), strict=True)
        ]
    )
    braced = _enclose_labels(pairs)
    return f"{buckets}{name}_sum{braced} {float(total)!r}\n{name}_count{braced} {float(sum(counts))!r}\n"


def _enclose_labels(pairs: str) -> str:
    return f"{{{pairs}}}" if pairs else ""


def _escape_label(value: str) -> str:
    if value.isprintable() and "\\" not in value and '"' not in value:
        return value
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _render_number(value: Value) -> str:
    assert not isinstance(value, list)
    return repr(float(value))
