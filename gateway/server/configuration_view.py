"""The configuration in use as the console shows it: YAML blocks without secrets, and the last reload."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from gateway.admin.console_backend import ConfigurationBlock, ReloadOutcome
from gateway.config.difference import canonical_form
from gateway.config.hidden_values import hide_values
from gateway.config.load import Loaded
from gateway.observe.secret_mask import mask
from gateway.server.reload_report import ReloadReport

_NAMED = ("credentials", "callers", "services", "routes")
"""Top-level keys that are shown entry by entry."""


def configuration_blocks(loaded: Loaded) -> tuple[ConfigurationBlock, ...]:
    """Return all blocks in the order of the model; values that are the defaults are left out. Thousands of routes take
    seconds: call it in a thread.
    """
    return tuple(_block(loaded, name, value) for name, value in _named_values(canonical_form(loaded.config)))


def reload_outcome(report: ReloadReport) -> ReloadOutcome:
    """Return a reload as the console shows it."""
    difference = report.difference
    return ReloadOutcome(
        at=report.at,
        ok=report.is_ok,
        message=report.message,
        added=difference.added,
        removed=difference.removed,
        changed=difference.changed,
        problems=tuple(str(problem) for problem in report.problems),
    )


def _named_values(tree: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if key in _NAMED:
            yield from ((f"{key}.{name}", entry) for name, entry in value.items())
        elif key == "listen":
            yield key, [*value.values()]
        else:
            yield key, value


def _block(loaded: Loaded, name: str, value: Any) -> ConfigurationBlock:
    key, _, entry = name.partition(".")
    text = yaml.safe_dump({entry or key: _masked(hide_values(value))}, sort_keys=False, allow_unicode=True, width=100)
    file, line = loaded.positions.get(name, ("", 0))
    return ConfigurationBlock(name, file, line, text)


def _masked(value: Any) -> Any:
    """Return a plain value whose texts are masked where they look like a secret."""
    if isinstance(value, Mapping):
        return {key: _masked(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_masked(inner) for inner in value]
    return mask(value) if isinstance(value, str) else value
