"""Resolve `telemetry` and the environment variables of OpenTelemetry to what is exported where. Pure.

A key of the file takes precedence, then the variable of a signal, then the variable for all signals. As the
specification asks, a value that cannot be read is reported and ignored; only a URL or a protocol that cannot be used is
an error, because the export would go elsewhere.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote

from pydantic import TypeAdapter, ValidationError

from gateway.config.issue import LocatedIssue, Severity
from gateway.config.strict_model import ClientTlsSettings, SecretRef
from gateway.config.telemetry_model import OWN_HEADERS, SignalUrl, TelemetrySettings
from gateway.config.values import FIELD_PATTERN, VALUE_PATTERN

Signal = Literal["traces", "metrics"]
Header = tuple[str, SecretRef | str]
"""Name and value of a header field; a value of the environment may be secret, too."""

DEFAULT_ENDPOINT, DEFAULT_TIMEOUT, DEFAULT_NAME = "http://localhost:4318", 10.0, "oic-gateway"
DISABLED = "OTEL_SDK_DISABLED"
_PREFIX = "OTEL_EXPORTER_OTLP_"
_URL: TypeAdapter[str] = TypeAdapter(SignalUrl)
_PROTOCOL = "http/protobuf"


@dataclass(frozen=True, slots=True)
class ExportTarget:
    """Where and how one signal is exported. `timeout` is in seconds."""

    url: str
    headers: tuple[Header, ...] = field(repr=False)
    timeout: float
    is_compressed: bool
    tls: ClientTlsSettings | None


@dataclass(frozen=True, slots=True)
class ResolvedTelemetry:
    """`telemetry` with the variables applied. A signal without a target is not exported."""

    settings: TelemetrySettings
    traces: ExportTarget | None
    metrics: ExportTarget | None
    resource: tuple[tuple[str, str], ...]
    """Attributes of the resource, with `service.name`."""


def resolve_telemetry(
    settings: TelemetrySettings | None, environ: Mapping[str, str]
) -> tuple[ResolvedTelemetry | None, list[LocatedIssue]]:
    """Return what is exported, and the problems of variables. None: nothing is, and callers' fields pass unchanged."""
    variables = _Variables(environ)
    if settings is None or variables.is_true(DISABLED):
        return None, variables.issues
    targets = {signal: _target(settings, signal, variables) for signal in ("traces", "metrics")}
    resource = variables.pairs("OTEL_RESOURCE_ATTRIBUTES") | settings.resource
    if name := settings.service_name or variables.text("OTEL_SERVICE_NAME"):
        resource["service.name"] = name
    attributes = tuple({"service.name": DEFAULT_NAME, **resource}.items())
    return ResolvedTelemetry(settings, targets["traces"], targets["metrics"], attributes), variables.issues


def _target(settings: TelemetrySettings, signal: Signal, variables: "_Variables") -> ExportTarget | None:
    own = settings.traces if signal == "traces" else settings.metrics
    exporter = variables.choice(f"OTEL_{signal.upper()}_EXPORTER", ("otlp", "none"))
    if not own.enabled or exporter == "none":
        return None
    coding = settings.compression or variables.choice(variables.name(signal, "COMPRESSION"), ("gzip", "none"))
    headers: tuple[Header, ...] = tuple(settings.headers.items())
    return ExportTarget(
        url=own.endpoint or _endpoint(settings, signal, variables),
        headers=headers or variables.headers(variables.name(signal, "HEADERS")),
        timeout=settings.timeout or variables.timeout(variables.name(signal, "TIMEOUT")),
        is_compressed=coding != "none",
        tls=settings.tls or _tls(signal, variables),
    )


def _endpoint(settings: TelemetrySettings, signal: Signal, variables: "_Variables") -> str:
    if settings.endpoint is not None:
        return f"{settings.endpoint.rstrip('/')}/v1/{signal}"
    variables.require_protocol(variables.name(signal, "PROTOCOL"))
    if url := variables.url(f"{_PREFIX}{signal.upper()}_ENDPOINT"):
        return url
    base = variables.url(f"{_PREFIX}ENDPOINT") or DEFAULT_ENDPOINT
    return f"{base.rstrip('/')}/v1/{signal}"


def _tls(signal: Signal, variables: "_Variables") -> ClientTlsSettings | None:
    names = ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY")
    ca, cert, key = (variables.text(variables.name(signal, name)) for name in names)
    return ClientTlsSettings(ca=ca or None, cert=cert or None, key=key or None) if ca or cert else None


class _Variables:
    """Reads variables, and collects their problems. An empty variable counts as not set."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.issues: list[LocatedIssue] = []

    def name(self, signal: Signal, key: str) -> str:
        """Return the name of the variable that counts: that of the signal if it is set, else that for all."""
        own = f"{_PREFIX}{signal.upper()}_{key}"
        return own if self.text(own) else f"{_PREFIX}{key}"

    def text(self, name: str) -> str:
        return self._environ.get(name, "").strip()

    def is_true(self, name: str) -> bool:
        text = self.text(name).lower()
        if text not in {"", "true", "false"}:
            self._report(name, "is neither true nor false, and is ignored", "write true, or unset it")
        return text == "true"

    def choice(self, name: str, known: tuple[str, ...]) -> str:
        text = self.text(name).lower()
        if text and text not in known:
            self._report(name, "is not supported, and is ignored", f"write {' or '.join(known)}, or unset it")
            return ""
        return text

    def timeout(self, name: str) -> float:
        text = self.text(name)
        if re.fullmatch(r"[0-9]{1,9}", text) and int(text) > 0:
            return int(text) / 1000
        if text:
            self._report(name, "is not a number of milliseconds, and is ignored", "write it like 10000")
        return DEFAULT_TIMEOUT

    def url(self, name: str) -> str:
        text = self.text(name)
        try:
            return _URL.validate_python(text) if text else ""
        except ValidationError as error:
            what, _, remedy = str(error.errors()[0].get("ctx", {}).get("error", "is not a URL")).partition("; ")
            self._report(name, what, remedy or "write it like http://collector.corp:4318", severity="error")
            return ""

    def require_protocol(self, name: str) -> None:
        """Report a protocol that the gateway does not speak: the endpoint of the environment is for this protocol."""
        if (protocol := self.text(name)) and protocol != _PROTOCOL:
            remedy = f"write {_PROTOCOL} and the endpoint for it, often port 4318, or set `telemetry.endpoint`"
            self._report(name, "is a protocol that is not supported", remedy, severity="error")

    def headers(self, name: str) -> tuple[Header, ...]:
        pairs = self.pairs(name)
        usable = all(
            re.fullmatch(FIELD_PATTERN, key) and key.lower() not in OWN_HEADERS and re.fullmatch(VALUE_PATTERN, value)
            for key, value in pairs.items()
        )
        if not usable:
            self._report(name, "has a field that cannot be sent, and is ignored", "write it like api-key=value")
            return ()
        return tuple(pairs.items())

    def pairs(self, name: str) -> dict[str, str]:
        """Return the members of a list like `a=1,b=2`, percent-decoded; none if one of them is malformed."""
        found: dict[str, str] = {}
        for member in filter(str.strip, self.text(name).split(",")):
            key, equals, value = member.partition("=")
            if not equals or not key.strip():
                self._report(name, "is not a list of pairs, and is ignored", "write it like key=value,other=value")
                return {}
            found[unquote(key.strip())] = unquote(value.strip())
        return found

    def _report(self, name: str, what: str, remedy: str, severity: Severity = "warning") -> None:
        issue = LocatedIssue("", 0, name, what, remedy, severity)
        if issue not in self.issues:
            self.issues.append(issue)
