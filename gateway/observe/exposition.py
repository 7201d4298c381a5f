"""Metrics in the text format 0.0.4 of Prometheus, and in OpenMetrics 1.0, piece by piece. Pure.

prometheus-client creates an object for each sample: the series of 3,000 routes take a second. Here each series is one
text, and other tasks of the loop can run between two pieces.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import accumulate
from types import MappingProxyType

from gateway.observe.meters import BUCKETS, Exemplar

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""The media type of the Prometheus text."""
OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
"""The media type of OpenMetrics."""
Labels = tuple[str, ...]
Value = float | list[float]

_BUCKET_LABELS = (*(f"{bound:g}" for bound in BUCKETS), "+Inf")
_CANONICAL_LABELS = (*(repr(float(bound)) for bound in BUCKETS), "+Inf")  # as OpenMetrics requires


def render_head(name: str, kind: str, description: str) -> str:
    """Return the lines before the samples of a metric."""
    return f"# HELP {name} {description}\n# TYPE {name} {kind}\n"


def render_openmetrics_head(name: str, kind: str, description: str) -> str:
    """Return the same of OpenMetrics: the name of a counter has no `_total` there."""
    family = name.removesuffix("_total") if kind == "counter" else name
    return f"# HELP {family} {description}\n# TYPE {family} {kind}\n"


def accepts_openmetrics(accept: str) -> bool:
    """Return whether an Accept field names OpenMetrics with a weight that is not 0 (RFC 9110 §12.4.2)."""
    for member in accept.lower().split(","):
        media_type, *parameters = (part.replace(" ", "") for part in member.split(";"))
        if media_type == "application/openmetrics-text":
            return not any(re.fullmatch(r"q=0(\.0*)?", parameter) for parameter in parameters)
    return False


def render_exemplars(
    name: str, labels: Labels, values: Mapping[Labels, Value], exemplars: Mapping[Labels, Mapping[int, Exemplar]]
) -> Iterator[str]:
    """Yield a histogram in OpenMetrics, with the exemplars of its buckets, by label values and index of the bucket."""
    for key, value in tuple(values.items()):
        pairs = _label_pairs(labels, key)
        yield _render_histogram(name, pairs, value, _CANONICAL_LABELS, exemplars.get(key, {}))


def render_samples(name: str, kind: str, labels: Labels, values: Mapping[Labels, Value]) -> Iterator[str]:
    """Yield the samples of a metric, one piece for each set of label values: a line, or a whole histogram."""
    render = _sample_renderer(name, kind, labels)
    for key, value in tuple(values.items()):
        yield render(key, value)


def _sample_renderer(name: str, kind: str, labels: Labels) -> Callable[[Labels, Value], str]:
    """Return a function that renders the sample of one set of label values."""
    pairs = partial(_label_pairs, labels)
    if kind == "histogram":
        return lambda key, value: _render_histogram(name, pairs(key), value)
    return lambda key, value: f"{name}{_enclose_labels(pairs(key))} {_render_number(value)}\n"


def _label_pairs(labels: Labels, key: Labels) -> str:
    names, order = _label_order(labels)
    return ",".join([f'{name}="{_escape_label(key[at])}"' for name, at in zip(names, order, strict=True)])


@lru_cache(maxsize=256)
def _label_order(labels: Labels) -> tuple[Labels, tuple[int, ...]]:
    """Return the labels in the order of prometheus-client, and where they were."""
    order = tuple(sorted(range(len(labels)), key=labels.__getitem__))
    return tuple(labels[at] for at in order), order


def _render_histogram(
    name: str,
    pairs: str,
    value: Value,
    bounds: Sequence[str] = _BUCKET_LABELS,
    exemplars: Mapping[int, Exemplar] = MappingProxyType({}),
) -> str:
    assert isinstance(value, list)
    *counts, total = value
    comma = "," if pairs else ""
    start = f'{name}_bucket{{{pairs}{comma}le="'
    buckets = "".join(
        [
            f'{start}{bound}"}} {float(count)!r}{_render_exemplar(exemplars.get(index))}\n'
            for index, (bound, count) in enumerate(zip(bounds, accumulate(counts), strict=True))
        ]
    )
    braced = _enclose_labels(pairs)
    return f"{buckets}{name}_sum{braced} {float(total)!r}\n{name}_count{braced} {float(sum(counts))!r}\n"


def _render_exemplar(exemplar: Exemplar | None) -> str:
    return "" if exemplar is None else f' # {{trace_id="{exemplar.trace_id}"}} {exemplar.seconds!r} {exemplar.at:.3f}'


def _enclose_labels(pairs: str) -> str:
    return f"{{{pairs}}}" if pairs else ""


def _escape_label(value: str) -> str:
    if value.isprintable() and "\\" not in value and '"' not in value:
        return value
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _render_number(value: Value) -> str:
    assert not isinstance(value, list)
    return repr(float(value))
