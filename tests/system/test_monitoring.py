"""Alert rules and dashboard of `deploy`: their metrics and labels exist, promtool accepts and tests the rules."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from gateway.oauth.failures import PERMANENT
from gateway.observe.metric_table import METRICS, PREFIX, MetricDefinition
from tests.fakes.process import ROOT, run_command

PROMTOOL = Path(sys.prefix) / "promtool" / "usr" / "bin" / "promtool"
RULES = ROOT / "deploy" / "prometheus" / "rules.yaml"
DASHBOARD = ROOT / "deploy" / "grafana" / "oic-gateway.json"
TARGET_LABELS = {"instance", "job", "le"}
"""Labels that Prometheus adds to each sample, and that of histograms."""


def rules() -> list[dict[str, str]]:
    return [rule for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"] for rule in group["rules"]]


def panel_expressions() -> Iterator[str]:
    for panel in json.loads(DASHBOARD.read_text("utf-8"))["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))


def samples() -> dict[str, MetricDefinition]:
    """Each metric by the names of its samples, as queries use them."""
    suffixes = {"histogram": ("_bucket", "_sum", "_count")}
    return {name + suffix: row for name, row in METRICS.items() for suffix in suffixes.get(row.kind, ("",))}


@pytest.mark.parametrize("expression", [*(rule["expr"] for rule in rules()), *panel_expressions()])
def test_each_query_uses_samples_and_labels_that_exist(expression: str) -> None:
    metrics = re.findall(rf"({PREFIX}\w+|process_\w+)(?:\{{(.*?)\}})?", expression)
    assert metrics
    for name, matchers in metrics:
        labels = {*(samples()[name].labels if name.startswith(PREFIX) else ()), *TARGET_LABELS}
        assert set(re.findall(r"(\w+)(?:=~|!~|!=|=)\"", matchers)) <= labels
        for group in re.findall(r"by \((.*?)\)", expression):
            assert set(group.split(", ")) <= labels


def test_each_metric_is_on_the_dashboard_or_in_a_rule() -> None:
    used = " ".join([*panel_expressions(), *(rule["expr"] for rule in rules())])
    names = {name for name, row in METRICS.items() if not re.search(rf"\b{name}\b|\b{name}_(?:bucket|sum)\b", used)}
    assert names <= {PREFIX + name for name in NOT_SHOWN}, names


NOT_SHOWN = {
    "token_expiry_timestamp_seconds",
    "token_state",
    "token_obtained_timestamp_seconds",
    "token_waiters",
    "token_coalesced_total",
    "token_replays_total",
    "token_budget_left",
    "connections_refused_total",
    "connections_failed_total",
    "file_shortages_total",
    "workers",
    "build_info",
}
"""Metrics for a closer look."""


def test_each_alert_is_documented() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text("utf-8").partition("## Alerts")[2]
    assert re.findall(r"\| `(OicGateway\w+)` \|", page) == [rule["alert"] for rule in rules()]


def test_the_alert_of_refusals_knows_each_permanent_code() -> None:
    [rule] = [rule for rule in rules() if rule["alert"] == "OicGatewayTokenRefused"]
    [codes] = re.findall(r'code=~"(.*?)"', rule["expr"])
    assert {*codes.split("|"), "sign-in"} == PERMANENT


async def test_promtool_accepts_the_rules_and_their_tests_pass() -> None:
    assert PROMTOOL.is_file(), "run `make test`, or `make .venv/promtool/.installed`"
    status, out, err = await run_command(PROMTOOL, "check", "rules", "--lint-fatal", RULES)
    assert status == 0, (out + err).decode()
    status, out, err = await run_command(PROMTOOL, "test", "rules", RULES.with_name("rules_test.yaml"))
    assert status == 0, (out + err).decode()


def test_each_alert_is_tested_firing_and_silent() -> None:
    text = RULES.with_name("rules_test.yaml").read_text("utf-8")
    healthy, failing = (
        [test["alertname"] for test in part["alert_rule_test"]] for part in yaml.safe_load(text)["tests"]
    )
    assert healthy == failing == [rule["alert"] for rule in rules()]


def test_dashboard_panels_have_a_title_and_a_description() -> None:
    panels = [panel for panel in json.loads(DASHBOARD.read_text("utf-8"))["panels"] if panel["type"] != "row"]
    assert all(panel["title"] and panel["description"] for panel in panels)
    assert len({panel["id"] for panel in panels}) == len(panels)
