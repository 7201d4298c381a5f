"""Traces and metrics for an OpenTelemetry collector, with the setting `telemetry`.

A `Tracer` (`tracer`) begins the `RequestTrace` (`request_trace`) of each request, or continues the caller's by its
`traceparent` (`trace_context`, pure). The request pipeline adds attempts and waits to it. When the record is written,
the trace goes to the queue of the `SpanExporter` (`span_exporter`), which turns batches of traces into spans in a
thread (`span_encoding`). The `MetricExporter` (`metric_exporter`) does the same for snapshots of the metrics
(`metric_encoding`). Both use `otlp_resource`, and an `OtlpClient` (`otlp_client`), which sends by the rules of
`export_policy` (pure) and counts in `export_counters`.

`otlp_resource`, `span_encoding` and `metric_encoding` load protobuf. They are imported only with `telemetry`.
"""
