"""Metrics: snapshots, their Prometheus text, and the sum of several processes."""

import asyncio
import subprocess
import sys
from typing import Any

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from gateway.observe.metric_table import METRICS, PREFIX, UNROUTED
from gateway.observe.metrics import Metrics
from gateway.observe.record import Record
from gateway.observe.scrape import ProcessStats, render_processes
from gateway.observe.snapshots import Snapshot, counters_only, join_snapshot, merge_snapshots, split_snapshot


def answered(
    duration_ms: float = 100.0, *, method: str = "GET", status: int = 200, bytes_in: int = 1, bytes_out: int = 1
) -> Record:
    return Record(
        method=method,
        status=status,
        duration_ms=duration_ms,
        upstream_ms=duration_ms / 2,
        bytes_in=bytes_in,
        bytes_out=bytes_out,
    )


def used() -> Metrics:
    metrics = Metrics("1.2.3")
    orders = metrics.route("orders")
    for duration in (0.002, 0.7, 400.0):
        orders.begun += 1
        orders.ended.append(answered(1000 * duration, method="POST", status=202, bytes_in=10, bytes_out=20))
    orders.record_retry("401")
    orders.begun += 1
    token = metrics.token("orders-app")
    token.record_fetch("ok", 0.3)
    token.expiry = 1_700_000_000.5
    orders.ended[-1].caller, orders.ended[-1].messages = "erp", 3
    metrics.watch_callers(
        lambda: [
            ("caller_connections", (), 5),
            ("caller_connections_limit", (), 10),
            ("connections_refused_total", ("limit",), 2),
            ("connections_failed_total", ("127.0.0.1:8443", "handshake"), 1),
            ("certificate_expiry_timestamp_seconds", ("127.0.0.1:8443",), 1_900_000_000),
            ("file_shortages_total", (), 1),
        ]
    )
    metrics.watch_connections(lambda: [("https://oic.example:443", "idle", 3)])
    metrics.watch_tokens(
        lambda: [
            ("token_state", ("orders-app", "fresh"), 1),
            ("token_failing", ("orders-app",), 0),
            ("token_obtained_timestamp_seconds", ("orders-app",), 1_700_000_000.0),
            ("token_last_error_timestamp_seconds", ("orders-app", "timeout"), 1_700_000_100.0),
            ("secret_changed_timestamp_seconds", ("orders-app",), 1_600_000_000.0),
            ("token_waiters", ("orders-app",), 2),
            ("token_budget_left", ("orders-app",), 119),
        ]
    )
    metrics.watch_services(
        lambda: [
            ("service_calls_limit", ("acme",), 90),
            ("service_calls_running", ("acme",), 90),
            ("service_calls_waiting", ("acme",), 7),
            ("service_queue_seconds", ("acme",), [*[1] * 19, 2.5]),
            ("service_circuit_state", ("acme", "closed"), 1),
            ("service_rejections_total", ("acme", "overloaded"), 3),
        ]
    )
    metrics.watch_limits(
        lambda: [
            ("caller_quota_limit", ("erp", "messages"), 8000),
            ("caller_quota_used", ("erp", "messages"), 6400),
            ("caller_rejections_total", ("erp", "rate"), 2),
            ("caller_limits_shared", (), 1),
        ]
    )
    metrics.watch_notifications(lambda: [("notifications_total", ("notify[0]", "ok"), 3)])
    metrics.watch_telemetry(
        lambda: [
            ("telemetry_exports_total", ("traces", "ok"), 4),
            ("telemetry_spans_lost_total", ("queue-full",), 12),
        ]
    )
    metrics.watch_store(lambda: True)
    metrics.watch_lost_lines(lambda: 4)
    return metrics


def text_of(metrics: Metrics) -> bytes:
    return b"".join(asyncio.run(metrics.text()))


def exposed(snapshot: Snapshot, processes: ProcessStats) -> bytes:
    return b"".join(asyncio.run(render_processes(snapshot, processes)))


def parsed(text: bytes) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(text.decode())}


def value(text: bytes, sample: str, **labels: str) -> float:
    (found,) = [
        each.value
        for family in parsed(text).values()
        for each in family.samples
        if each.name == PREFIX + sample and each.labels == labels
    ]
    return found


def test_every_metric_has_its_kind_help_and_labels() -> None:
    served = parsed(text_of(used()))
    for name, row in METRICS.items():
        family = served[name.removesuffix("_total") if row.kind == "counter" else name]
        assert (family.type, family.documentation) == (row.kind, row.help)
        assert family.samples, name
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(row.labels)


def test_an_unused_gateway_has_the_heads_of_all_metrics() -> None:
    text = text_of(Metrics("1")).decode()
    assert all(f"# TYPE {name} {row.kind}\n" in text for name, row in METRICS.items())


def test_values() -> None:
    text = text_of(used())
    assert value(text, "requests_total", route="orders", method="POST", status="2xx", blame="none") == 3
    assert value(text, "requests_in_flight", route="orders") == 1
    assert value(text, "request_duration_seconds_bucket", route="orders", le="0.0025") == 1
    assert value(text, "request_duration_seconds_bucket", route="orders", le="330") == 2
    assert value(text, "request_duration_seconds_bucket", route="orders", le="+Inf") == 3
    assert value(text, "request_duration_seconds_count", route="orders") == 3
    assert value(text, "request_duration_seconds_sum", route="orders") == 400.702
    assert value(text, "request_bytes_total", route="orders") == 30
    assert value(text, "response_bytes_total", route="orders") == 60
    assert value(text, "replays_total", route="orders", reason="401") == 1
    assert value(text, "token_requests_total", credential="orders-app", result="ok") == 1
    assert value(text, "token_expiry_timestamp_seconds", credential="orders-app") == 1_700_000_000.5
    assert value(text, "upstream_connections", origin="https://oic.example:443", state="idle") == 3
    assert value(text, "log_lines_lost_total") == 4
    assert value(text, "build_info", version="1.2.3") == 1


def test_process_metrics_describe_only_this_process() -> None:
    names = {name for name in parsed(text_of(used())) if not name.startswith(PREFIX)}
    assert {"process_resident_memory_bytes", "process_cpu_seconds", "python_gc_collections", "python_info"} <= names
    assert all(name.startswith(("process_", "python_")) for name in names)


def test_a_meter_is_the_same_for_its_name_and_labels_are_escaped() -> None:
    metrics = Metrics("1")
    assert metrics.route(UNROUTED) is metrics.route(UNROUTED)
    assert metrics.token("a") is metrics.token("a")
    metrics.watch_connections(lambda: [('a"\n\\', "idle", 1)])
    assert value(text_of(metrics), "upstream_connections", origin='a"\n\\', state="idle") == 1


def test_a_route_never_used_has_no_series() -> None:
    metrics = Metrics("1")
    metrics.route("idle")
    assert b'route="idle"' not in text_of(metrics)
    metrics.route("idle").begun += 1
    assert value(text_of(metrics), "requests_in_flight", route="idle") == 1


def test_a_credential_without_token_requests_has_no_series() -> None:
    metrics = Metrics("1")
    metrics.token("refused")  # of a configuration that another worker refused
    assert b'credential="refused"' not in text_of(metrics)
    metrics.token("refused").record_fetch("ok", 0.1)
    assert value(text_of(metrics), "token_coalesced_total", credential="refused") == 0


def test_the_parts_of_a_snapshot_are_joined_unchanged() -> None:
    metrics = used()
    for number in range(2500):
        metrics.route(f"route-{number}").ended.append(answered())
    snapshot = metrics.snapshot()
    parts = list(split_snapshot(snapshot))
    assert max(len(rows) for part in parts for rows in part.values()) <= 1000
    assert join_snapshot(parts) == snapshot


async def test_a_scrape_of_thousands_of_routes_yields_to_the_loop() -> None:
    metrics = Metrics("1")
    for number in range(3000):
        metrics.route(f"route-{number}").ended.append(answered())
    steps = 0
    scrape = asyncio.ensure_future(metrics.text())
    while not scrape.done():
        await asyncio.sleep(0)
        steps += 1
    assert b'request_bytes_total{route="route-2999"} 1' in b"".join(scrape.result())
    assert steps > 20


def test_token_sources_are_read_at_each_scrape() -> None:
    metrics = used()
    budget = [7.0, 6.0]
    metrics.watch_tokens(lambda: [("token_budget_left", ("orders-app",), budget.pop(0))])
    assert value(text_of(metrics), "token_budget_left", credential="orders-app") == 7
    assert value(text_of(metrics), "token_budget_left", credential="orders-app") == 6


def test_a_request_without_a_status_has_status_none() -> None:
    metrics = Metrics("1")
    metrics.route("a").ended.append(Record(method="GET", status=0, error="bad-request"))
    assert value(text_of(metrics), "requests_total", route="a", method="GET", status="none", blame="caller") == 1


def test_snapshots_of_several_processes_become_one() -> None:
    one, other = used(), used()
    other.token("orders-app").expiry = 1_800_000_000.0
    other.route("bills").begun += 1
    merged = merge_snapshots([one.snapshot(), other.snapshot()])
    assert merged[PREFIX + "requests_total"]["orders", "POST", "2xx", "none"] == 6
    assert merged[PREFIX + "requests_in_flight"] == {("orders",): 2, ("bills",): 1}
    assert merged[PREFIX + "token_expiry_timestamp_seconds"] == {("orders-app",): 1_800_000_000.0}
    assert merged[PREFIX + "build_info"] == {("1.2.3",): 1}
    assert value(exposed(merged, ProcessStats(tuple)), "request_duration_seconds_count", route="orders") == 6


def test_a_snapshot_is_a_copy() -> None:
    metrics = used()
    before = metrics.snapshot()
    metrics.route("orders").ended.append(answered())
    metrics.token("orders-app").record_fetch("ok", 1.0)
    assert before == used().snapshot()


def test_only_counters_are_kept_of_an_ended_process() -> None:
    metrics = used()
    metrics.route("idle")
    counters = counters_only(metrics.snapshot())
    assert counters[PREFIX + "requests_total"] == {("orders", "POST", "2xx", "none"): 3}
    assert counters[PREFIX + "request_bytes_total"] == {("orders",): 30}
    assert not [name for name in counters if METRICS[name].kind == "gauge"]
    merged = merge_snapshots([counters, Metrics("1").snapshot()])
    assert merged[PREFIX + "request_duration_seconds"]["orders",] == metrics.route("orders").duration
    assert merged[PREFIX + "requests_in_flight"] == {}


def test_cpu_time_of_ended_processes_still_counts() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "print(sum(range(2_000_000)), flush=True); input()"], **PIPES
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        others = [other.pid]
        processes = ProcessStats(lambda: others)
        alone, both = ProcessStats(tuple), processes
        text = exposed(used().snapshot(), both)
        assert value(text, "requests_in_flight", route="orders") == 1
        memory = {
            name: value_without_labels(exposed(used().snapshot(), each), "process_resident_memory_bytes")
            for name, each in (("alone", alone), ("both", both))
        }
        assert memory["both"] > memory["alone"] + 1024 * 1024
        spent = value_without_labels(text, "process_cpu_seconds_total")
        others.clear()
        assert value_without_labels(exposed(used().snapshot(), both), "process_cpu_seconds_total") >= spent
        other.kill()


PIPES: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}


def value_without_labels(text: bytes, sample: str) -> float:
    """The value of a sample without labels; `sample` is its whole name."""
    return next(row.value for family in parsed(text).values() for row in family.samples if row.name == sample)
