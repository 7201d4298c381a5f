"""The Helm chart as it is: its values match their schema, its templates use them, its configuration passes `check`.

`rendered.py` renders the templates.
"""

import copy
import json
import re
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped] # check-jsonschema brings it
import pytest
import yaml

from gateway import __version__
from tests.deploy.manifests import CHART, KUBERNETES, parse_configuration, write_checkable
from tests.fakes.process import ROOT, run

SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
VALUES = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))


def leaves(values: dict[str, Any], prefix: str = "") -> set[str]:
    """Return the dotted path of each value that templates use as a whole."""
    found: set[str] = set()
    for key, value in values.items():
        path = f"{prefix}{key}"
        is_group = isinstance(value, dict) and value and path not in {"config", "resources"}
        found |= leaves(value, f"{path}.") if is_group else {path}
    return found


def test_the_values_match_their_schema() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.validate(VALUES, SCHEMA)
    assert set(SCHEMA["properties"]) == {*VALUES, "global"}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("replica", 3),
        ("replicas", "3"),
        ("config.listen", "unix:/run/callers"),
        ("config.listen", ["0.0.0.0:8080"]),
        ("config.routes", []),
        ("networkPolicy.callers", [{}]),
        ("serviceMonitor.interval", 30),
        ("image.name", "oic-gateway"),
    ],
)
def test_the_schema_rejects_wrong_values(path: str, value: object) -> None:
    values = copy.deepcopy(VALUES)
    *groups, key = path.split(".")
    group = values
    for name in groups:
        group = group[name]
    group[key] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values, SCHEMA)


def test_the_configuration_is_that_of_the_base() -> None:
    assert VALUES["config"] == parse_configuration((KUBERNETES / "base" / "gateway.yaml").read_text(encoding="utf-8"))


async def test_check_accepts_the_configuration_of_the_chart(tmp_path: Path) -> None:
    file = tmp_path / "rendered.yaml"
    file.write_text(yaml.safe_dump(VALUES["config"], width=1000), encoding="utf-8")
    ended = await run("check", write_checkable(file, tmp_path))
    assert (ended.status, ended.err) == (0, ""), ended.out + ended.err


def test_each_value_is_used_in_a_template() -> None:
    text = "\n".join(file.read_text(encoding="utf-8") for file in (CHART / "templates").iterdir())
    used = set(re.findall(r"\.Values\.([A-Za-z.]+)", text))
    fields = set(re.findall(r"(?:with|if) \.([a-z][A-Za-z]*)", text))
    for leaf in leaves(VALUES):
        group, _, field = leaf.partition(".")
        assert leaf in used or (group in used and field in fields), leaf
    for name in used:
        assert name in leaves(VALUES) or name.split(".")[0] in VALUES, name


def test_chart_and_gateway_have_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)
    page = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
    assert "deploy/helm/oic-gateway" in page
