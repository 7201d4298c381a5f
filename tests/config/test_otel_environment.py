"""`telemetry` and the variables of OpenTelemetry."""

from pathlib import Path
from typing import Any

import pytest

from gateway.config.load import ConfigProblems, load
from gateway.config.otel_environment import ExportTarget, ResolvedTelemetry, resolve_telemetry
from gateway.config.telemetry_model import TelemetrySettings
from tests.system.scene import simple, written


def resolved(environ: dict[str, str], **settings: Any) -> ResolvedTelemetry:
    found, issues = resolve_telemetry(TelemetrySettings.model_validate(settings), environ)
    assert issues == []
    assert found is not None
    return found


def target(found: ExportTarget | None) -> ExportTarget:
    assert found is not None
    return found


def issues_of(environ: dict[str, str], **settings: Any) -> list[str]:
    _, issues = resolve_telemetry(TelemetrySettings.model_validate(settings), environ)
    return [str(issue) for issue in issues]


@pytest.mark.parametrize(
    ("settings", "environ", "traces", "metrics"),
    [
        ({}, {}, "http://localhost:4318/v1/traces", "http://localhost:4318/v1/metrics"),
        ({"endpoint": "https://c:1/x"}, {}, "https://c:1/x/v1/traces", "https://c:1/x/v1/metrics"),
        ({"endpoint": "https://c:1/x/"}, {}, "https://c:1/x/v1/traces", "https://c:1/x/v1/metrics"),
        ({}, {"ENDPOINT": "http://e:2/"}, "http://e:2/v1/traces", "http://e:2/v1/metrics"),
        (
            {},
            {"ENDPOINT": "http://e:2", "TRACES_ENDPOINT": "http://t:3/as/is"},
            "http://t:3/as/is",
            "http://e:2/v1/metrics",
        ),
        ({"endpoint": "http://f"}, {"TRACES_ENDPOINT": "http://t"}, "http://f/v1/traces", "http://f/v1/metrics"),
        ({"traces": {"endpoint": "http://own/p"}}, {"ENDPOINT": "http://e"}, "http://own/p", "http://e/v1/metrics"),
        ({}, {"ENDPOINT": "  "}, "http://localhost:4318/v1/traces", "http://localhost:4318/v1/metrics"),
    ],
)
def test_the_urls_of_both_signals(settings: dict[str, Any], environ: dict[str, str], traces: str, metrics: str) -> None:
    found = resolved({f"OTEL_EXPORTER_OTLP_{name}": value for name, value in environ.items()}, **settings)
    assert (target(found.traces).url, target(found.metrics).url) == (traces, metrics)


def test_the_urls_of_oci_apm_are_used_as_they_are() -> None:
    base = "https://aaaa.apm-agt.us-phoenix-1.oci.oraclecloud.com/20200101/opentelemetry"
    found = resolved({}, traces={"endpoint": f"{base}/private/v1/traces"}, metrics={"endpoint": f"{base}/v1/metrics"})
    assert target(found.traces).url == f"{base}/private/v1/traces"
    assert target(found.metrics).url == f"{base}/v1/metrics"


def test_header_fields_are_decoded_and_the_signals_own_count() -> None:
    found = resolved(
        {
            "OTEL_EXPORTER_OTLP_HEADERS": "api-key=a%20b%3D, other = c ",
            "OTEL_EXPORTER_OTLP_METRICS_HEADERS": "Authorization=Basic%20x",
        }
    )
    assert target(found.traces).headers == (("api-key", "a b="), ("other", "c"))
    assert target(found.metrics).headers == (("Authorization", "Basic x"),)
    assert "a b=" not in repr(found)


def test_keys_of_the_file_take_precedence() -> None:
    environ = {
        "OTEL_SERVICE_NAME": "from-env",
        "OTEL_RESOURCE_ATTRIBUTES": "service.name=attribute,a=from%20env,b=2",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "2500",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
        "OTEL_EXPORTER_OTLP_HEADERS": "k=v",
        "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE": "/ca.pem",
    }
    found = resolved(environ)
    assert dict(found.resource) == {"service.name": "from-env", "a": "from env", "b": "2"}
    traces = target(found.traces)
    assert (traces.timeout, traces.is_compressed) == (2.5, False)
    assert traces.tls is not None
    assert traces.tls.ca == "/ca.pem"
    assert target(found.metrics).tls is None
    found = resolved(
        environ,
        service_name="mine",
        resource={"a": "file"},
        timeout="3s",
        compression="gzip",
        headers={"X-Key": {"env": "KEY"}},
    )
    assert dict(found.resource) == {"service.name": "mine", "a": "file", "b": "2"}
    traces = target(found.traces)
    assert (traces.timeout, traces.is_compressed, [name for name, _ in traces.headers]) == (3.0, True, ["X-Key"])


def test_the_default_service_name() -> None:
    assert dict(resolved({}).resource) == {"service.name": "oic-gateway"}


@pytest.mark.parametrize("value", ["true", "TRUE", " True "])
def test_a_disabled_sdk_exports_nothing(value: str) -> None:
    assert resolve_telemetry(TelemetrySettings(), {"OTEL_SDK_DISABLED": value}) == (None, [])


def test_without_the_key_variables_change_nothing() -> None:
    assert resolve_telemetry(None, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://e"}) == (None, [])


def test_a_signal_can_be_switched_off() -> None:
    found = resolved({"OTEL_METRICS_EXPORTER": "none", "OTEL_TRACES_EXPORTER": "otlp"})
    assert (found.traces is None, found.metrics is None) == (False, True)
    found = resolved({}, traces={"enabled": False})
    assert (found.traces is None, found.metrics is None) == (True, False)


@pytest.mark.parametrize(
    ("environ", "issue"),
    [
        ({"SDK_DISABLED": "yes"}, "OTEL_SDK_DISABLED: warning: is neither true nor false, and is ignored"),
        ({"EXPORTER_OTLP_TIMEOUT": "10s"}, "OTEL_EXPORTER_OTLP_TIMEOUT: warning: is not a number of milliseconds"),
        ({"EXPORTER_OTLP_COMPRESSION": "br"}, "OTEL_EXPORTER_OTLP_COMPRESSION: warning: is not supported"),
        ({"EXPORTER_OTLP_HEADERS": "secret-alone"}, "OTEL_EXPORTER_OTLP_HEADERS: warning: is not a list of pairs"),
        (
            {"EXPORTER_OTLP_HEADERS": "a=b%0d%0ac"},
            "OTEL_EXPORTER_OTLP_HEADERS: warning: has a field that cannot be sent",
        ),
        ({"EXPORTER_OTLP_HEADERS": "Host=x"}, "OTEL_EXPORTER_OTLP_HEADERS: warning: has a field that cannot be sent"),
        ({"RESOURCE_ATTRIBUTES": "a"}, "OTEL_RESOURCE_ATTRIBUTES: warning: is not a list of pairs"),
        ({"EXPORTER_OTLP_ENDPOINT": "collector:4318"}, "OTEL_EXPORTER_OTLP_ENDPOINT: is not an http or https URL"),
        ({"EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL: is a protocol that is not supported"),
        ({"TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER: warning: is not supported, and is ignored"),
    ],
)
def test_a_variable_that_cannot_be_read_is_reported(environ: dict[str, str], issue: str) -> None:
    [found] = issues_of({f"OTEL_{name}": value for name, value in environ.items()})
    assert found.startswith(issue)
    assert "secret-alone" not in found


def test_protocol_of_variables_is_not_for_endpoints_of_the_file() -> None:
    assert issues_of({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, endpoint="http://c:4318") == []


@pytest.mark.parametrize(
    ("telemetry", "problem"),
    [
        ({"headers": {"X": "literal"}}, "telemetry.headers.X: a secret must not be in the file"),
        ({"headers": {"Content-Type": {"env": "K"}}}, "must not set content-type, which the gateway sets"),
        ({"headers": {"a": {"env": "K"}, "A": {"env": "K"}}}, "has a field twice in different spellings"),
        ({"headers": {"b c": {"env": "K"}}}, "is not the name of a header field"),
        ({"headers": {"X": {"env": "MISSING"}}}, "the environment variable `MISSING` is not set"),
        ({"headers": {"X": {"env": "TWO_LINES"}}}, "telemetry.headers.X: is not the value of a header field"),
        ({"endpoint": "http://c.corp", "headers": {"X": {"env": "K"}}}, "sends `telemetry.headers` unencrypted"),
        ({"endpoint": "http://c?x"}, "telemetry.endpoint: must not have a query or fragment"),
        ({"traces": {"endpoint": "http://c?x"}}, "telemetry.traces.endpoint: must not have a query or fragment"),
        ({"traces": {"share": 1.5}}, "telemetry.traces.share: is too large; write 1"),
        ({"traces": {"queue": 1}}, "telemetry.traces.queue: is too small; write 64 or more"),
        ({"trust": ["10.0.0.1/8"]}, "has host bits set"),
        ({"metric": {}}, "telemetry.metric"),
    ],
)
def test_a_wrong_setting_is_reported(tmp_path: Path, telemetry: dict[str, Any], problem: str) -> None:
    file = written(tmp_path, simple("http://127.0.0.1:1/t", "http://127.0.0.1:1/u", telemetry=telemetry))
    environ = {"APP_SECRET": "s", "K": "a dataKey with blanks", "TWO_LINES": "one\ntwo"}
    with pytest.raises(ConfigProblems) as caught:
        load(file, environ=environ)
    assert problem in str(caught.value)
    assert "one\ntwo" not in str(caught.value)


def test_header_fields_may_have_blanks_and_go_to_this_machine(tmp_path: Path) -> None:
    telemetry: dict[str, Any] = {"endpoint": "http://127.0.0.1:4318", "headers": {"Authorization": {"env": "K"}}}
    file = written(tmp_path, simple("http://127.0.0.1:1/t", "http://127.0.0.1:1/u", telemetry=telemetry))
    assert load(file, environ={"APP_SECRET": "s", "K": "dataKey abc"}).warnings == ()
    telemetry = {**telemetry, "endpoint": "http://c.corp", "insecure": True}
    file = written(tmp_path, simple("http://127.0.0.1:1/t", "http://127.0.0.1:1/u", telemetry=telemetry))
    assert load(file, environ={"APP_SECRET": "s", "K": "dataKey abc"}).warnings == ()
