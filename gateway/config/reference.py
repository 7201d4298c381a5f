"""Generate the reference of the configuration file from its schema: `python -m gateway.config.reference`."""

import itertools
import sys
from collections.abc import Iterable
from typing import Any

from gateway.config.schema import properties, schema
from gateway.config.values import DURATION_PATTERN, DURATION_UNITS, SIZE_PATTERN, SIZE_UNITS

_INTRODUCTION = f"""\
# Configuration

Every key of the configuration file. This page is generated from the model (`make schema`); do not edit it.
[`config/gateway.example.yaml`](../config/gateway.example.yaml) uses all of them. `oic-gateway check FILE`
reports every error of a file, `oic-gateway schema` prints the JSON Schema for an editor.

* **Durations** have a unit: {", ".join(f"`{unit}`" for unit in DURATION_UNITS)}, as in `330s` or `1.5m`.
* **Sizes** have a unit: {", ".join(f"`{unit}`" for unit in SIZE_UNITS)}, as in `64KiB`. A bare number is an error.
* **Secrets** are references: `{{file: PATH}}`, `{{env: NAME}}`, `{{credential: NAME}}` (systemd's LoadCredential=),
  `{{oci_vault: OCID}}` or `{{vault: {{path: PATH, field: NAME}}}}` ([HashiCorp Vault](vault.md)); a secret in the file
  is an error. They are read again for each token (those of a vault every `oci.refresh` or `vault.refresh`), so a
  changed secret needs no restart.
* **Paths of files** are relative to the folder of the file that contains them.
* [Teams](teams.md) describes `include` and `watch`. An included file has the keys `credentials`, `callers` and `routes`
  only.
* **Unknown keys** and repeated keys are errors. The file is YAML 1.2: only `true`, `false`, `null` and numbers are not
  strings, so `no` is a string. The file is UTF-8 of at most 8 MiB.
* `defaults` has the settings of a route except `name`, `path` and `upstream`. A setting of the route overrides it; in
  `timeout`, `headers` and `query` each key separately.

"""

_SINGLE = {"workers", "allow", "hosts", "public_url"}
_HEAD = "| key | value | default | meaning |\n|---|---|---|---|\n"
_TYPES = {"string": "string", "integer": "whole number", "number": "number", "boolean": "`true` or `false`"}
_PATTERNS = {DURATION_PATTERN: "duration", SIZE_PATTERN: "size"}


def reference_text() -> str:
    """Return the page in Markdown: one table for each section of the file, one line for each key."""
    whole = schema()
    sections = itertools.groupby(properties(whole, whole), key=lambda item: _section(item[0], whole))
    return _INTRODUCTION + "\n".join(_table(name, rows) for name, rows in sections)


def _section(path: str, whole: dict[str, Any]) -> str:
    """Return the section of a key: single values of the top level share one, each mapping has its own."""
    top = path.replace("[", ".").partition(".")[0]
    is_single = whole["properties"][top].get("type") == "string" or top in _SINGLE
    return "the gateway" if is_single else top


def _table(name: str, rows: Iterable[tuple[str, dict[str, Any]]]) -> str:
    lines = "".join(f"| `{path}` | {_value(key)} | {_default(key)} | {_meaning(key)} |\n" for path, key in rows)
    return f"## {name.capitalize() if ' ' in name else f'`{name}`'}\n\n{_HEAD}{lines}"


def _value(key: dict[str, Any]) -> str:
    if "anyOf" in key:
        return " or ".join(_value(choice) for choice in key["anyOf"] if choice.get("type") != "null")
    if words := key.get("enum", [key["const"]] if "const" in key else []):
        return ", ".join(f"`{word}`" for word in words)
    if "items" in key:
        return f"list of {_value(key['items'])}"
    if "$ref" in key or key["type"] == "object":
        return "keys"
    return _PATTERNS.get(key.get("pattern", ""), _TYPES[key["type"]]) + _bounds(key)


def _bounds(key: dict[str, Any]) -> str:
    if "maximum" in key:
        return f", {key['minimum']} to {key['maximum']}"
    return f", {key['minimum']} or more" if "minimum" in key else ""


def _default(key: dict[str, Any]) -> str:
    if key["is_required"]:
        return "**required**"
    return f"`{key['default']}`" if "default" in key else ""


def _meaning(key: dict[str, Any]) -> str:
    return str(key["description"]).replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(reference_text())
