"""From a snapshot of the metrics to metrics of OTLP. Runs in a thread.

The names are those of `/metrics` without `_total`, as a collector that exports to Prometheus adds it: rules and
dashboards work with both. Sums and histograms are cumulative since the start of the gateway.
"""

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_CUMULATIVE,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from gateway.observe.exposition import Labels, Value
from gateway.observe.meters import BUCKETS
from gateway.observe.metric_table import METRICS
from gateway.observe.snapshots import Snapshot
from gateway.telemetry.otlp_resource import SCHEMA_URL, SCOPE, AttributeValue, decode_message, make_attributes

_UNITS = {"_seconds": "s", "_bytes": "By"}


def encode_metrics(snapshot: Snapshot, resource: Resource, *, started_at: float, now: float) -> bytes:
    """Return the request that exports these values, which count since `started_at`; times in epoch seconds."""
    times = int(started_at * 1e9), int(now * 1e9)
    metrics = [_metric(name, rows, times) for name, rows in snapshot.items() if rows]
    scope = ScopeMetrics(scope=SCOPE, metrics=metrics, schema_url=SCHEMA_URL)
    of_process = ResourceMetrics(resource=resource, scope_metrics=[scope], schema_url=SCHEMA_URL)
    body: bytes = ExportMetricsServiceRequest(resource_metrics=[of_process]).SerializeToString()
    return body


def read_metric_response(body: bytes) -> tuple[int, str]:
    """Return the number of rejected points and the text in a response. Raise ValueError if it is malformed."""
    response = decode_message(ExportMetricsServiceResponse, body)
    return response.partial_success.rejected_data_points, response.partial_success.error_message


def _metric(name: str, rows: dict[Labels, Value], times: tuple[int, int]) -> Metric:
    definition = METRICS[name]
    exported = name.removesuffix("_total")
    unit = next((unit for suffix, unit in _UNITS.items() if exported.endswith(suffix)), "")
    metric = Metric(name=exported, description=definition.help, unit=unit)
    if definition.kind == "histogram":
        metric.histogram.aggregation_temporality = AGGREGATION_TEMPORALITY_CUMULATIVE
        metric.histogram.data_points.extend(
            _histogram_point(_labels(definition.labels, key), value, times) for key, value in rows.items()
        )
        return metric
    points = [_number_point(_labels(definition.labels, key), value, times) for key, value in rows.items()]
    if definition.kind == "counter":
        metric.sum.aggregation_temporality = AGGREGATION_TEMPORALITY_CUMULATIVE
        metric.sum.is_monotonic = True
        metric.sum.data_points.extend(points)
    else:
        metric.gauge.data_points.extend(points)
    return metric


def _labels(names: Labels, key: Labels) -> dict[str, AttributeValue]:
    return dict(zip(names, key, strict=True))


def _number_point(labels: dict[str, AttributeValue], value: Value, times: tuple[int, int]) -> NumberDataPoint:
    assert not isinstance(value, list)
    start, now = times
    return NumberDataPoint(
        attributes=make_attributes(labels), start_time_unix_nano=start, time_unix_nano=now, as_double=value
    )


def _histogram_point(labels: dict[str, AttributeValue], value: Value, times: tuple[int, int]) -> HistogramDataPoint:
    assert isinstance(value, list)
    *counts, total = value
    start, now = times
    return HistogramDataPoint(
        attributes=make_attributes(labels),
        start_time_unix_nano=start,
        time_unix_nano=now,
        count=int(sum(counts)),
        sum=total,
        bucket_counts=[int(count) for count in counts],
        explicit_bounds=BUCKETS,
    )
