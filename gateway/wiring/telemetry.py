"""From the setting `telemetry` to the tracer of requests and the exporters of this process."""

import asyncio
import os
import ssl
import time
from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from gateway.config.model import Config
from gateway.config.secrets import SecretReader
from gateway.config.strict_model import ClientTlsSettings, SecretRef
from gateway.network.egress_proxy import ProxyEnvironment
from gateway.observe.metrics import Metrics
from gateway.observe.snapshots import Snapshot
from gateway.system.background_tasks import BackgroundTasks
from gateway.telemetry.export_counters import ExportCounters
from gateway.wiring.outbound import EgressSelector, TlsContexts, client_certificate_context, client_tls_context
from gateway.wiring.secret_reader import build_secret_reader, secret_servers

if TYPE_CHECKING:
    from gateway.config.otel_environment import ExportTarget, ResolvedTelemetry, Signal
    from gateway.telemetry.metric_exporter import MetricExporter
    from gateway.telemetry.otlp_client import ExportCredentials, OtlpClient
    from gateway.telemetry.span_exporter import SpanExporter
    from gateway.telemetry.tracer import Trace, Tracer

FLUSH_TIMEOUT = 5.0
"""Seconds that a stop waits for the last exports."""
FORCED_FLUSH = 0.5
"""The same, after a second signal."""


def import_telemetry(config: Config) -> None:
    """Import the libraries of `telemetry`, which opens files; in a thread where callers are served."""
    if config.telemetry is not None:
        import prometheus_client.openmetrics.exposition  # noqa: F401, PLC0415 - for the first scrape

        from gateway.telemetry import metric_encoding, span_encoding  # noqa: F401, PLC0415 - imports protobuf


class Telemetry:
    """The tracer and the exporters of this process, by the present configuration. Construct it inside the loop; call
    `close` at the end.

    `instance_id` is that of the gateway, the same in all its processes. `meters` gets the exemplars; None: this process
    serves no callers, and traces nothing. `read_metrics` returns the values of the whole
    gateway; None: another process exports them.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        instance_id: str,
        meters: Metrics | None = None,
        read_metrics: Callable[[], Awaitable[Snapshot]] | None = None,
    ) -> None:
        self.tracer: Tracer | None = None
        self.read_metrics = read_metrics
        self._environ = environ
        self._instance_id = instance_id
        self._meters = meters
        self._started_at = time.time()
        self._counters = ExportCounters()
        self._resolved: ResolvedTelemetry | None = None
        self._exporters: list[SpanExporter | MetricExporter] = []
        self._closing = BackgroundTasks()

    def configure(self, config: Config) -> None:
        """Use the settings of a configuration from now on. What is queued goes to the former collector."""
        resolved = None
        if config.telemetry is not None:
            from gateway.config.otel_environment import resolve_telemetry  # noqa: PLC0415 - only with `telemetry`

            import_telemetry(config)
            resolved, _ = resolve_telemetry(config.telemetry, self._environ)
        if resolved == self._resolved:
            return
        former, self._exporters, self._resolved = self._exporters, [], resolved
        self.tracer = None if resolved is None or self._meters is None else self._open_tracer(resolved, config)
        if resolved is not None and resolved.metrics is not None and self.read_metrics is not None:
            self._exporters.append(self._open_metrics(resolved, resolved.metrics, self.read_metrics, config))
        if former:
            self._closing.start(_close_all(former, FLUSH_TIMEOUT))

    def metrics(self) -> Iterator[tuple[str, tuple[str, ...], float]]:
        """Yield name, labels and value of each metric."""
        return self._counters.metrics()

    async def close(self, within: float = FLUSH_TIMEOUT) -> None:
        """Export what is queued, for at most `within` seconds."""
        await asyncio.gather(_close_all(self._exporters, within), self._closing.wait())

    def _open_tracer(self, resolved: "ResolvedTelemetry", config: Config) -> "Tracer":
        from gateway.telemetry.tracer import Tracer  # noqa: PLC0415 - only with `telemetry`

        settings, target = resolved.settings, resolved.traces
        export: Callable[[Trace], None] = _drop
        if target is not None:
            from gateway.telemetry.otlp_resource import make_resource  # noqa: PLC0415 - imports protobuf
            from gateway.telemetry.span_encoding import encode_traces, read_trace_response  # noqa: PLC0415 - likewise
            from gateway.telemetry.span_exporter import SpanExporter  # noqa: PLC0415 - only with `telemetry`

            resource = make_resource(resolved.resource, instance_id=self._instance_id, process_id=os.getpid())

            def encode(batch: "Sequence[Trace]") -> bytes:
                self._record_exemplars(batch)
                return encode_traces(batch, resource)

            exporter = SpanExporter(
                self._client("traces", target, config, read_trace_response),
                encode=encode,
                max_queue=settings.traces.queue,
                counters=self._counters,
            )
            self._exporters.append(exporter)
            export = exporter.export
        return Tracer(share=settings.traces.share, trust=settings.trust, export=export)

    def _record_exemplars(self, batch: "Sequence[Trace]") -> None:
        """Make these traces the examples of their durations; in the thread that encodes them."""
        if self._meters is None:
            return
        from gateway.telemetry.request_trace import RequestTrace  # noqa: PLC0415 - only with `telemetry`

        for trace in batch:
            record = trace.record if isinstance(trace, RequestTrace) else None
            if record is not None and record.route is not None:
                seconds = record.duration_ms / 1000
                ended_at = time.time() - time.monotonic() + trace.started_at + seconds
                self._meters.route(record.route).record_exemplar(trace.trace_id, seconds, ended_at)

    def _open_metrics(
        self,
        resolved: "ResolvedTelemetry",
        target: "ExportTarget",
        read: Callable[[], Awaitable[Snapshot]],
        config: Config,
    ) -> "MetricExporter":
        from gateway.telemetry.metric_encoding import encode_metrics, read_metric_response  # noqa: PLC0415 - imports protobuf
        from gateway.telemetry.metric_exporter import MetricExporter  # noqa: PLC0415 - only with `telemetry`
        from gateway.telemetry.otlp_resource import make_resource  # noqa: PLC0415 - likewise

        resource = make_resource(resolved.resource, instance_id=self._instance_id, process_id=os.getpid())

        def encode(snapshot: Snapshot, now: float) -> bytes:
            return encode_metrics(snapshot, resource, started_at=self._started_at, now=now)

        client = self._client("metrics", target, config, read_metric_response)
        return MetricExporter(client, read=read, encode=encode, interval=resolved.settings.metrics.every)

    def _client(
        self,
        signal: "Signal",
        target: "ExportTarget",
        config: Config,
        read_response: Callable[[bytes], tuple[int, str]],
    ) -> "OtlpClient":
        from gateway.telemetry.otlp_client import OtlpClient  # noqa: PLC0415 - imports aiohttp

        return OtlpClient(
            signal,
            target.url,
            load=_credential_loader(target, config, self._environ),
            read_response=read_response,
            timeout=target.timeout,
            is_compressed=target.is_compressed,
            counters=self._counters,
        )


def _credential_loader(
    target: "ExportTarget", config: Config, environ: Mapping[str, str]
) -> "Callable[[], ExportCredentials]":
    """Return a function that reads the header fields, certificates and proxy of an export."""
    from gateway.telemetry.otlp_client import ExportCredentials  # noqa: PLC0415 - imports aiohttp

    assert config.telemetry is not None
    settings, tls = config.telemetry, target.tls
    secrets = build_secret_reader(environ, secret_servers(config))
    egress = EgressSelector(ProxyEnvironment.from_environ(environ), secrets)
    is_https = target.url.lower().startswith("https:")
    contexts: dict[Hashable, ssl.SSLContext] = {}

    def load() -> ExportCredentials:
        headers = {
            name: secrets.read(value).get_secret_value() if isinstance(value, SecretRef) else value
            for name, value in target.headers
        }
        state = None if tls is None else secrets.fingerprint(tls)
        if is_https and state not in contexts:  # the first export, or a file has changed
            contexts.clear()
            contexts[state] = _tls_context(tls, secrets)
        load_proxy = egress.proxy_loader(target.url, settings.proxy, tls, TlsContexts())
        return ExportCredentials(headers, contexts.get(state), None if load_proxy is None else load_proxy())

    return load


def _tls_context(tls: ClientTlsSettings | None, secrets: SecretReader) -> ssl.SSLContext:
    if tls is None:
        return client_tls_context(None)
    password = str if tls.key_password is None else secrets.reader(tls.key_password)
    return client_certificate_context(tls, password)


async def _close_all(exporters: "list[SpanExporter | MetricExporter]", within: float) -> None:
    await asyncio.gather(*(exporter.close(within) for exporter in exporters))


def _drop(_: "Trace") -> None:
    """Export nothing."""
