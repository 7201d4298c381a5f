"""Which values of a configuration may be secret although secrets are references. Pure.

People write keys into header fields and parameters. The names there are no secrets, the values may be.
"""

from collections.abc import Mapping
from typing import Any

HIDDEN = "…"
_HIDDEN_BELOW: Mapping[str, frozenset[str]] = {
    "params": frozenset(),
    "query": frozenset(),
    "headers": frozenset(("remove",)),
}
"""Keys below which values are hidden, and the keys directly below them that contain names only."""


def hide_values(value: Any) -> Any:
    """Return the plain value of a block, such as one route, with `HIDDEN` for each value that may be secret."""
    if isinstance(value, Mapping):
        return {
            key: _hide_all(inner, _HIDDEN_BELOW[key]) if key in _HIDDEN_BELOW else hide_values(inner)
            for key, inner in value.items()
        }
    return [hide_values(inner) for inner in value] if isinstance(value, list) else value


def _hide_all(value: Any, names_only: frozenset[str] = frozenset()) -> Any:
    if isinstance(value, Mapping):
        return {key: inner if key in names_only else _hide_all(inner) for key, inner in value.items()}
    return [_hide_all(inner) for inner in value] if isinstance(value, list) else HIDDEN
