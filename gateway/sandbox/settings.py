"""Settings: switches written as words, `NAME=VALUE`. Pure.

Every switch can be set so but those that hold an event of a test (`token_gate`, `slow_gate`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from gateway.sandbox.switches import Switches

_FLAGS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Setting:
    """One switch as it is written: its name, what values it takes, its default, and how a value is read."""

    name: str
    values: str
    default: str
    read: Callable[[str], Any]


def read_setting(word: str) -> tuple[str, Any]:
    """Name and typed value of a switch written `NAME=VALUE`; raises ValueError that lists what there is."""
    name, equals, value = word.partition("=")
    known = settings()
    if not equals or name not in known:
        listed = "\n".join(f"  {one.name}={one.values}" for one in known.values())
        raise ValueError(f"{word!r} is not NAME=VALUE of a switch; there are\n{listed}")
    try:
        return name, known[name].read(value)
    except (ValueError, KeyError) as cause:
        raise ValueError(f"{name} cannot be {value!r}; it takes {known[name].values}") from cause


def settings() -> dict[str, Setting]:
    """All switches that can be written, by name."""
    hints = get_type_hints(Switches)
    kinds = [(field.name, _kind(hints[field.name]), field.default) for field in fields(Switches)]
    return {name: Setting(name, kind[0], _spelled(default), kind[1]) for name, kind, default in kinds if kind}


_Kind = tuple[str, Callable[[str], Any]]


def _kind(hint: Any) -> _Kind | None:
    """What values a type takes, and its reader; None for what cannot be written."""
    if get_origin(hint) is Literal:
        choices = {str(choice): choice for choice in get_args(hint)}
        return ", ".join(choice or "(nothing)" for choice in choices), choices.__getitem__
    if get_origin(hint) is tuple:
        return _several(_kind(get_args(hint)[0]))
    if isinstance(hint, UnionType):
        return _optional(_kind(get_args(hint)[0]))
    return _KINDS.get(hint)


def _several(one: _Kind | None) -> _Kind | None:
    return one and (f"several of {one[0]}", lambda text: tuple(one[1](word) for word in text.split(",") if word))


def _optional(one: _Kind | None) -> _Kind | None:
    return one and (f"{one[0]}, (nothing)", lambda text: one[1](text) if text else None)


def _spelled(default: object) -> str:
    if isinstance(default, tuple):
        return ",".join(default)
    if isinstance(default, bool):
        return str(default).lower()
    return "" if default is None else str(default)


def _whole(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError
    return number


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError
    return number


_KINDS: dict[Any, _Kind] = {
    bool: ("true, false", _FLAGS.__getitem__),
    int: ("a whole number", _whole),
    float: ("a number", _finite),
    str: ("text", str),
}
