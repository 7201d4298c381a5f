"""The JSON Schema of the configuration file, and of one that it includes, for editors.

`python -m gateway.config.schema > config/schema.json`, with the argument `included` for `config/included.schema.json`.
"""

import ast
import functools
import inspect
import itertools
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

from gateway.config.include_model import SHARED_SETTINGS
from gateway.config.issue import FILE_KEYS
from gateway.config.model import Config, IncludedSettings
from gateway.config.strict_model import StrictModel
from gateway.config.values import DURATION_PATTERN, SIZE_PATTERN, duration_text, size_text

_NOTATIONS: dict[str, Callable[[Any], Any]] = {DURATION_PATTERN: duration_text, SIZE_PATTERN: size_text}


def schema(file: type[StrictModel] = Config) -> dict[str, Any]:
    """Return the schema (draft 2020-12) of a whole file; every file that `load` accepts is valid under it."""
    document = file.model_json_schema(mode="validation")
    if file is IncludedSettings:
        _remove_main_file_keys(document)
    models = {model.__name__: model for model in _submodels(StrictModel)}
    for definition in (document, *document["$defs"].values()):
        meanings = key_meanings(models[definition.pop("title")])
        for name, key in definition["properties"].items():
            definition["properties"][name] = _simplified({**key, "description": meanings[name]})
    title = "oic-gateway configuration" if file is Config else "included file of an oic-gateway configuration"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **document}


def schema_text(*, included: bool = False) -> str:
    """Return the schema as text, as printed and shipped; with `included` that of an included file."""
    return json.dumps(schema(IncludedSettings if included else Config), indent=2, ensure_ascii=False) + "\n"


def _remove_main_file_keys(document: dict[str, Any]) -> None:
    """Remove the keys that only the main file may have, and the definitions that nothing refers to without them."""
    definitions = document["$defs"]
    for key, setting in SHARED_SETTINGS:
        entries = document["properties"][key]["patternProperties"]
        for name in [entry["$ref"].rpartition("/")[2] for entry in entries.values()]:
            del definitions[name]["properties"][setting]
    reference = definitions["SecretRef"]
    reference["properties"] = {key: value for key, value in reference["properties"].items() if key in FILE_KEYS}
    reference["oneOf"] = [choice for choice in reference["oneOf"] if FILE_KEYS.issuperset(choice["required"])]
    text = json.dumps(document)
    for name in [name for name in definitions if f'"#/$defs/{name}"' not in text]:
        del definitions[name]


def key_meanings(model: type[StrictModel]) -> dict[str, str]:
    """Return the docstring of each key of a part of the file, on one line.

    Only the schema reads the source: pydantic's `use_attribute_docstrings` reads it at each import of the model, which
    takes a quarter longer.
    """
    parts = [part for part in reversed(model.__mro__) if issubclass(part, StrictModel)]
    texts = {name: text for part in parts for name, text in _docstrings(part.__module__)[part.__name__].items()}
    return {field.alias or name: texts.get(name, "") for name, field in model.model_fields.items()}


@functools.cache
def _docstrings(module: str) -> dict[str, dict[str, str]]:
    """Return the docstrings of attributes by class and name: the text below `name: type`."""
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    return {node.name: dict(_attribute_docstrings(node)) for node in classes}


def _attribute_docstrings(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for statements in itertools.pairwise(node.body):
        match statements:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, " ".join(text.split())


def _submodels(model: type[StrictModel]) -> Iterator[type[StrictModel]]:
    for part in model.__subclasses__():
        yield part
        yield from _submodels(part)


def _simplified(key: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a key in alphabetical order, without titles, with its default in the notation of the file,
    with choices in one list, and with names that match the pattern of names only.
    """
    key = {word: key[word] for word in sorted(key) if word != "title"}
    if "patternProperties" in key:
        key["additionalProperties"] = False
    _flatten_choices(key)
    default = key.pop("default", None)
    if default is not None:
        key["default"] = _NOTATIONS.get(key.get("pattern", ""), lambda value: value)(default)
    return key


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
    choices = definition.get("anyOf") or [definition]  # the first choice is that without `include`
    required = choices[0].get("required", [])
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
    sys.stdout.write(schema_text(included=sys.argv[1:] == ["included"]))
