"""The shape of `telemetry:`, the export to an OpenTelemetry collector."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from gateway.config.strict_model import ClientTlsSettings, ProxySettings, SecretRef, StrictModel
from gateway.config.values import BaseUrl, Duration, HeaderName, HttpUrl, Network, Text

OWN_HEADERS = frozenset(
    "connection content-encoding content-length content-type expect host te trailer transfer-encoding upgrade "
    "user-agent".split()
)
"""Fields of an export that the gateway sets."""


def _headers(value: dict[str, SecretRef]) -> dict[str, SecretRef]:
    names = [name.lower() for name in value]
    if taken := sorted(OWN_HEADERS.intersection(names)):
        raise ValueError(f"must not set {', '.join(taken)}, which the gateway sets; remove it")
    if len(set(names)) != len(names):
        raise ValueError("has a field twice in different spellings; remove one")
    return value


def _signal_url(value: str) -> str:
    if "?" in value or "#" in value:
        raise ValueError("must not have a query or fragment; remove what follows the path")
    return value


SignalUrl = Annotated[HttpUrl, AfterValidator(_signal_url)]


class TraceSettings(StrictModel):
    """Export of traces."""

    enabled: bool = True
    """False: no traces are exported. Calls are traced all the same: `traceparent`, `trace_id` in the record."""
    endpoint: SignalUrl | None = None
    """URL that traces are sent to, used as it is; omitted: `telemetry.endpoint` and `/v1/traces`."""
    share: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of the traces that begin at the gateway and are exported. A trace that a trusted caller began is exported
    if the caller sampled it. Calls with an error are always exported."""
    queue: Annotated[int, Field(ge=64, le=1_000_000)] = 4096
    """Largest number of calls that wait for their export, in each worker; further ones are lost and
    counted."""


class MetricExportSettings(StrictModel):
    """Export of metrics."""

    enabled: bool = True
    """False: no metrics are exported."""
    endpoint: SignalUrl | None = None
    """URL that metrics are sent to, used as it is; omitted: `telemetry.endpoint` and `/v1/metrics`."""
    every: Duration = 60.0
    """Time between two exports."""


class TelemetrySettings(StrictModel):
    """Export of traces and metrics by OTLP over HTTP, to any OpenTelemetry collector. Environment variables of
    OpenTelemetry replace keys that are not set; docs/telemetry.md lists them.
    """

    endpoint: BaseUrl | None = None
    """URL of the collector; the gateway adds `/v1/traces` and `/v1/metrics`. Omitted: OTEL_EXPORTER_OTLP_ENDPOINT, or
    http://localhost:4318."""
    insecure: bool = False
    """True: allow `headers` to an http:// URL of another machine; they are sent unencrypted."""
    headers: Annotated[dict[HeaderName, SecretRef], AfterValidator(_headers)] = Field(default_factory=dict)
    """Header fields of each export, each value by reference. Omitted: OTEL_EXPORTER_OTLP_HEADERS."""
    service_name: Text | None = None
    """Resource attribute `service.name`; omitted: OTEL_SERVICE_NAME, or oic-gateway."""
    resource: dict[Text, str] = Field(default_factory=dict)
    """More resource attributes, which describe this gateway. They are added to those of OTEL_RESOURCE_ATTRIBUTES."""
    trust: list[Network] = Field(default_factory=list)
    """Networks (CIDR) of callers whose `traceparent` is continued; a caller on a unix socket counts as 127.0.0.1. For
    all others the gateway begins a new trace."""
    timeout: Duration | None = None
    """Time limit of one export; omitted: OTEL_EXPORTER_OTLP_TIMEOUT, or 10s."""
    compression: Literal["gzip", "none"] | None = None
    """Content coding of exports; omitted: OTEL_EXPORTER_OTLP_COMPRESSION, or gzip."""
    tls: ClientTlsSettings | None = None
    """Verification of the collector's certificate, and the client certificate. Omitted:
    OTEL_EXPORTER_OTLP_CERTIFICATE, OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY."""
    proxy: ProxySettings | None = None
    """Egress proxy to the collector; omitted: that of HTTPS_PROXY, with the exceptions of NO_PROXY."""
    traces: TraceSettings = Field(default_factory=TraceSettings)
    """Export of traces."""
    metrics: MetricExportSettings = Field(default_factory=MetricExportSettings)
    """Export of metrics."""
