"""The schema, the shipped files and the model say the same."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped] # has no types
import pytest
from pydantic import BaseModel

from gateway.config import (
    caller_model,
    include_model,
    listen_model,
    model,
    notify_model,
    route_model,
    state_model,
    telemetry_model,
    vault_model,
)
from gateway.config.load import load
from gateway.config.schema import schema, schema_text
from gateway.config.strict_model import FileScopedModel, StrictModel
from gateway.config.yaml_document import YamlDocument
from gateway.sandbox.clients import DEFAULT_ID
from gateway.sandbox.scope_check import API, AUDIENCE, TRIGGER

FOLDER = Path(__file__).parents[2] / "config"
EXAMPLE = (FOLDER / "gateway.example.yaml").read_text(encoding="utf-8")
TEAM = (FOLDER / "team.example.yaml").read_text(encoding="utf-8")
# A `#` right before a key hides an optional key; a `#` before a blank begins a remark.
UNCOVERED = re.sub(r"(?m)^( *)#(?=[a-z])", r"\1", EXAMPLE)
KINDS = {
    kind
    for module in (
        include_model,
        listen_model,
        state_model,
        notify_model,
        telemetry_model,
        vault_model,
        route_model,
        caller_model,
        model,
    )
    for kind in vars(module).values()
    if isinstance(kind, type)
}
PARTS = [kind for kind in KINDS if issubclass(kind, StrictModel)]
# Shown in a remark: what they stand in place of is shown itself.
BESIDE = {
    (state_model.StateSettings, "path"),
    *((vault_model.VaultAuthSettings, key) for key in ("token", "kubernetes")),
    *((vault_model.KubernetesSettings, key) for key in vault_model.KubernetesSettings.model_fields),
}


def test_the_shipped_schemas_are_those_of_the_model() -> None:
    assert (FOLDER / "schema.json").read_text(encoding="utf-8") == schema_text()
    assert (FOLDER / "included.schema.json").read_text(encoding="utf-8") == schema_text(included=True)


def test_the_module_prints_the_schema() -> None:
    printed = subprocess.run([sys.executable, "-m", "gateway.config.schema"], capture_output=True, check=True)
    assert printed.stdout.decode() == schema_text()


def test_every_key_of_the_model_is_in_the_schema_and_described() -> None:
    document = schema()
    for part in PARTS:
        if part in {StrictModel, FileScopedModel}:
            continue
        definition = (
            document
            if part is model.Config
            else schema(part)
            if part is model.IncludedSettings
            else document["$defs"][part.__name__]
        )
        assert list(definition["properties"]) == [field.alias or name for name, field in part.model_fields.items()]
        assert definition["additionalProperties"] is False
        assert all(key["description"] for key in definition["properties"].values())


def test_defaults_are_written_as_a_file_writes_them() -> None:
    document = schema()
    assert document["properties"]["drain"]["default"] == "330s"
    assert document["$defs"]["LimitSettings"]["properties"]["uri"]["default"] == "8KiB"


@pytest.mark.parametrize("text", [EXAMPLE, UNCOVERED, (FOLDER / "demo.yaml").read_text(encoding="utf-8")])
def test_the_shipped_files_are_right(tmp_path: Path, text: str) -> None:
    assert text.startswith("# yaml-language-server: $schema=schema.json\n")
    file = tmp_path / "gateway.yaml"
    file.write_text(text, encoding="utf-8")
    for name in ("a", "b"):
        team = tmp_path / "teams" / name / "team.yaml"
        team.parent.mkdir(parents=True)
        team.write_text(TEAM if name == "a" else "routes: []\n", encoding="utf-8")
    assert load(file, environ={}, check_secrets=False).warnings == ()
    assert list(complaints(json.loads(json.dumps(YamlDocument(text).value)), schema())) == []


def test_the_example_of_an_included_file_is_right() -> None:
    assert TEAM.startswith("# yaml-language-server: $schema=included.schema.json\n")
    rule = schema(model.IncludedSettings)
    validate = jsonschema.Draft202012Validator(rule)
    assert [*validate.iter_errors(YamlDocument(TEAM).value)] == []
    assert [*validate.iter_errors({"listen": "127.0.0.1:1"})] != []


def test_the_example_shows_every_key() -> None:
    config = model.Config.model_validate(YamlDocument(UNCOVERED).value)
    keys = set(keys_set(config))
    included = model.IncludedSettings.model_validate(YamlDocument(TEAM).value)
    keys |= set(keys_set(included))
    every = {(part, key) for part in PARTS for key in part.model_fields} - BESIDE
    assert "# state: {path: " in EXAMPLE
    assert {(part.__name__, key) for part, key in every - keys if part is not route_model.RouteSettings} == set()


def keys_set(part: BaseModel) -> Iterator[tuple[type[BaseModel], str]]:
    """Every key that is written somewhere, with the part it belongs to."""
    for key in part.model_fields_set:
        yield type(part), key
        value = getattr(part, key)
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
        for item in inner:
            if isinstance(item, BaseModel):
                yield from keys_set(item)


cached_schema = cache(schema)


def complaints(value: Any, rule: dict[str, Any]) -> Iterator[str]:
    """Yield what JSON Schema rejects in the value, for the few words that our schema uses."""
    root = cached_schema()
    if "$ref" in rule:
        yield from complaints(value, root["$defs"][rule["$ref"].rpartition("/")[2]])
    elif "anyOf" in rule and "properties" not in rule:
        if all(list(complaints(value, choice)) for choice in rule["anyOf"]):
            yield f"{value} fits none of {rule['anyOf']}"
    elif rule["type"] == "object":
        yield from _object(value, rule)
    elif rule["type"] == "array":
        if not isinstance(value, list) or len(value) < rule.get("minItems", 0):
            yield f"{value} is not such a list"
        for item in value if isinstance(value, list) else ():
            yield from complaints(item, rule["items"])
    else:
        yield from _single(value, rule)


def _object(value: Any, rule: dict[str, Any]) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{value} is no object"
        return
    yield from (f"{key} is missing" for key in rule.get("required", ()) if key not in value)
    if "anyOf" in rule and not any(set(choice["required"]) <= set(value) for choice in rule["anyOf"]):
        yield "required keys are missing"
    for key, inner in value.items():
        patterns = rule.get("patternProperties", {}).items()
        fitting = next((rule for pattern, rule in patterns if re.search(pattern, key)), None)
        found = rule.get("properties", {}).get(key) or fitting or rule.get("additionalProperties")
        if not isinstance(found, dict):
            yield f"{key} is unknown"
        else:
            yield from complaints(inner, found)


def _single(value: Any, rule: dict[str, Any]) -> Iterator[str]:
    kinds = {"string": str, "integer": int, "number": float, "boolean": bool, "null": type(None)}
    if type(value) is not kinds[rule["type"]]:
        yield f"{value} is no {rule['type']}"
    elif value not in rule.get("enum", [rule.get("const", value)]) or not re.search(
        rule.get("pattern", ""), str(value)
    ):
        yield f"{value} does not fit {rule}"


def test_the_demo_fits_the_sandbox(tmp_path: Path) -> None:
    config = load(FOLDER / "demo.yaml", environ={"OIC_SANDBOX_SECRET": "any"}).config
    assert {credential.client_id for credential in config.credentials.values()} == {DEFAULT_ID}
    assert [credential.scope for credential in config.credentials.values()] == [AUDIENCE + TRIGGER, AUDIENCE + API]
    assert {route_model.path: route_model.upstream for route_model in config.routes} == {
        "/orders/": "http://127.0.0.1:8181/ic/api/integration/v1/flows/rest/ORDERS/1.0/",
        "/async/": "http://127.0.0.1:8181/ic/api/integration/v1/flows/rest/ASYNC/1.0/",
        "/hello/": "http://127.0.0.1:8181/ic/ws/integration/v1/flows/soap/HELLO/1.0/",
        "/developer/": "http://127.0.0.1:8181/ic/api/integration/v1/",
    }
