"""The JSON Schema of the configuration file, for editors: `python -m gateway.config.schema > config/schema.json`."""

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

from gateway.config.model import Config
from gateway.config.values import DURATION_PATTERN, SIZE_PATTERN, duration_text, size_text

_NOTATIONS: dict[str, Callable[[Any], Any]] = {DURATION_PATTERN: duration_text, SIZE_PATTERN: size_text}


def schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12) of the file; every file that `load` accepts is valid under it."""
    document = Config.model_json_schema(mode="validation")
    for definition in (document, *document["$defs"].values()):
        definition.pop("title")
        for key in definition["properties"].values():
            _simplify(key)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "oic-gateway configuration"}
    return {**head, **document}


def schema_text() -> str:
    """Return the schema as text, as printed and shipped."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _simplify(key: dict[str, Any]) -> None:
    """Remove titles, write defaults in the notation of the file, flatten choices into one list, and allow only names
    that match the pattern of names.
    """
    key.pop("title", None)
    if "description" in key:
        key["description"] = " ".join(key["description"].split())
    if "patternProperties" in key:
        key["additionalProperties"] = False
    _flatten_choices(key)
    default = key.pop("default", None)
    if default is not None:
        key["default"] = _NOTATIONS.get(key.get("pattern", ""), lambda value: value)(default)


def _flatten_choices(key: dict[str, Any]) -> None:
    """Write the choices of a value as one list `anyOf`; also those of the entries of a list."""
    choices = key.pop("oneOf", None) or key.get("anyOf")
    if choices:
        key["anyOf"] = [inner for choice in choices for inner in choice.get("oneOf", [choice])]
    for inner in (*key.get("anyOf", ()), key.get("items")):
        if inner is not None:
            _flatten_choices(inner)


def properties(
    definition: dict[str, Any], root: dict[str, Any], path: str = ""
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every key with its dotted path, such as `credentials.NAME.client_secret.file` or `routes[].path`.

    The order is depth first, required keys first. Each key is its schema with `is_required` and `description` added.
    """
    required = definition.get("required", [])
    for name, key in sorted(definition["properties"].items(), key=lambda item: item[0] not in required):
        key_path = f"{path}{name}"
        inner, suffix = _inner_definition(key)
        nested = root["$defs"].get(inner, {})
        yield key_path, {"description": nested.get("description", ""), **key, "is_required": name in required}
        if nested:
            yield from properties(nested, root, f"{key_path}{suffix}.")


def _inner_definition(key: dict[str, Any]) -> tuple[str, str]:
    """Return the name of a key's definition and the suffix of its path: empty, `[]` for a list, `.NAME` for names."""
    if "items" in key:
        return _inner_definition(key["items"])[0], "[]"
    if "patternProperties" in key:
        return _inner_definition(*key["patternProperties"].values())[0], ".NAME"
    for choice in (key, *key.get("anyOf", ())):
        if "$ref" in choice:
            return choice["$ref"].rpartition("/")[2], ""
        if "items" in choice and choice is not key:
            return _inner_definition(choice)
    return "", ""


if __name__ == "__main__":
    sys.stdout.write(schema_text())
