"""The JSON Schema of the configuration file, for editors: `python -m gateway.config.schema > config/schema.json`."""

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

from gateway.config.model import Config
from gateway.config.values import DURATION_PATTERN, SIZE_PATTERN, duration_text, size_text

_WRITTEN: dict[str, Callable[[Any], Any]] = {DURATION_PATTERN: duration_text, SIZE_PATTERN: size_text}


def schema() -> dict[str, Any]:
    """The schema (draft 2020-12) of what a file may say; whatever `load` takes is valid under it."""
    made = Config.model_json_schema(mode="validation")
    for definition in (made, *made["$defs"].values()):
        definition.pop("title")
        for key in definition["properties"].values():
            _tidy(key)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "oic-gateway configuration"}
    return {**head, **made}


def schema_text() -> str:
    """The schema as it is printed and shipped."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _tidy(key: dict[str, Any]) -> None:
    """Leaves off what only repeats the key, writes a default as the file would, and all choices in one list. Refuses
    names that do not fit the pattern of names.
    """
    key.pop("title", None)
    if "description" in key:
        key["description"] = " ".join(key["description"].split())
    if "patternProperties" in key:
        key["additionalProperties"] = False
    if "anyOf" in key:
        key["anyOf"] = [inner for choice in key["anyOf"] for inner in choice.get("oneOf", [choice])]
    default = key.pop("default", None)
    if default is not None:
        key["default"] = _WRITTEN.get(key.get("pattern", ""), lambda value: value)(default)


def properties(
    definition: dict[str, Any], root: dict[str, Any], path: str = ""
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every key with its dotted path, as `credentials.NAME.client_secret.file` or `routes[].path`.

    Depth first, required keys ahead of the others; each is its schema with `is_required` and `description` added.
    """
    required = definition.get("required", [])
    for name, key in sorted(definition["properties"].items(), key=lambda item: item[0] not in required):
        place = f"{path}{name}"
        inner, mark = _inner(key)
        held = root["$defs"].get(inner, {})
        yield place, {"description": held.get("description", ""), **key, "is_required": name in required}
        if held:
            yield from properties(held, root, f"{place}{mark}.")


def _inner(key: dict[str, Any]) -> tuple[str, str]:
    """The definition that a key holds, and how its place is marked: nothing, `[]` for a list, `.NAME` for names."""
    if "items" in key:
        return _inner(key["items"])[0], "[]"
    if "patternProperties" in key:
        return _inner(*key["patternProperties"].values())[0], ".NAME"
    for choice in (key, *key.get("anyOf", ())):
        if "$ref" in choice:
            return choice["$ref"].rpartition("/")[2], ""
        if "items" in choice and choice is not key:
            return _inner(choice)
    return "", ""


if __name__ == "__main__":
    sys.stdout.write(schema_text())
