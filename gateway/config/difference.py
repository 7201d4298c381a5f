"""What differs between two configurations, by dotted keys, and what a difference requires: a restart, a sign-in. Pure.

A configuration is compared in its canonical form: plain values without those that are the defaults, routes and
listeners by name. Only keys are reported, never values.
"""

import hashlib
import json
import operator
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import msgspec

from gateway.config.hidden_values import hide_values
from gateway.config.listen_model import START_KEYS
from gateway.config.model import Config
from gateway.config.resolved import RESTART_KEYS, listeners_of
from gateway.config.strict_model import StrictModel

INCLUDE_KEY = "include"
"""Key of a credential in the canonical form: the scope of the included file that has it."""
IDENTITY_KEYS = ("token_url", "client_id", "grant", "scope", "params", "audience", "resource", INCLUDE_KEY)
"""Keys of a credential that, with its name, decide whose stored refresh token it uses."""
_STORE_KEYS = ("path", "redis")
_LARGE = {("routes",)}  # a comparison as a whole would hold the interpreter
_NAMED = ("credentials", "callers", "services", "routes", "listen")
SIGN_IN_GRANT = "authorization_code"
"""The grant for which a person signs in."""

Canonical = Mapping[str, Any]
"""A configuration as nested mappings; a leaf is any value that can be compared."""


class ConfigDifference(msgspec.Struct, frozen=True):
    """The dotted keys that differ. A credential, caller, service, route or listener that is new, or gone, is one key.

    `restart` are those among them that take effect only at a restart, `sign_in` are the names of credentials for which
    a person must sign in again.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
    sign_in: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    def document(self) -> dict[str, list[str]]:
        """Return the difference for a JSON document."""
        return {
            "added": [*self.added],
            "removed": [*self.removed],
            "changed": [*self.changed],
            "restart_needed": [*self.restart],
            "sign_in_needed": [*self.sign_in],
        }

    def lines(self) -> Iterator[str]:
        """Yield each difference as `added KEY`, `removed KEY` or `changed KEY`."""
        for kind in ("added", "removed", "changed"):
            yield from (f"{kind} {key}" for key in getattr(self, kind))


def canonical_form(config: Config, folder: str = "") -> dict[str, Any]:
    """Return the canonical form of a configuration. Paths below `folder` become relative to it, so that the same files
    in two folders are equal.

    Routes are converted one by one: pydantic would hold the interpreter for all of them together, and so the callers.
    """
    tree = _plain(config.model_copy(update={"routes": []}))
    tree["routes"] = {route.name: _plain(route, leave_out={"name"}) for route in config.routes}
    tree["listen"] = dict(_listeners(config))
    routes = {route.name: route for route in config.routes}
    for key, entries in (("credentials", config.credentials), ("callers", config.callers), ("routes", routes)):
        for name, entry in entries.items():
            if entry.file_scope:
                tree[key][name][INCLUDE_KEY] = entry.file_scope
    if folder:
        tree = {key: _map_leaves(value, partial(_shorten, f"{folder.rstrip('/')}/")) for key, value in tree.items()}
    return tree


def digest_form(tree: Canonical) -> dict[str, Any]:
    """Return a canonical form whose leaves are short digests, so that two of them can be compared.

    Values that may be secret are a constant, so that their changes are not found. Other values can be found by guessing
    in `digest_form` and `fingerprint`: they are no secrets. A digest has 16 bits; `fingerprint` shows a missed change.
    """
    return {
        key: {name: _map_leaves(hide_values(entry), _digest) for name, entry in value.items()}
        if key in _NAMED
        else _map_leaves(hide_values(value), _digest)
        for key, value in tree.items()
    }


def fingerprint(tree: Canonical) -> str:
    """Return a hash of a whole canonical form, in which values that may be secret are a constant."""
    digest = hashlib.sha256()
    for key in sorted(tree):
        value = tree[key]
        parts = sorted(value.items()) if key in _NAMED else [("", value)]
        for name, part in parts:  # route by route, because json holds the interpreter
            digest.update(json.dumps([key, name, hide_values(part)], sort_keys=True).encode())
    return digest.hexdigest()[:8]


def free(tree: dict[str, Any]) -> None:
    """Free the routes of a canonical form one by one, for the same reason."""
    while tree["routes"]:
        tree["routes"].popitem()


def compare(before: Canonical, after: Canonical) -> ConfigDifference:
    """Return what differs between two canonical forms."""
    found = sorted(_differences(before, after, ()), key=operator.itemgetter(1))
    keys = {
        kind: tuple(_dotted(steps) for one, steps in found if one == kind) for kind in ("added", "removed", "changed")
    }
    restart = tuple(_dotted(steps) for _, steps in found if _needs_restart(steps, before, after))
    return ConfigDifference(**keys, restart=restart, sign_in=tuple(_sign_ins(before, after)))


def _listeners(config: Config) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the listeners by address; equal addresses, such as those with port 0, are numbered."""
    seen: Counter[str] = Counter()
    for listener in listeners_of(config):
        seen[listener.address] += 1
        number = f"#{seen[listener.address]}" if seen[listener.address] > 1 else ""
        yield listener.address + number, _plain(listener)


def _map_leaves(value: Any, convert: Callable[[Any], Any]) -> Any:
    if isinstance(value, Mapping) and value:
        return {key: _map_leaves(inner, convert) for key, inner in value.items()}
    return convert(value)


def _shorten(folder: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_map_leaves(inner, partial(_shorten, folder)) for inner in value]
    return value.removeprefix(folder) if isinstance(value, str) else value


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:4]


def _plain(settings: StrictModel, *, leave_out: set[str] | None = None) -> dict[str, Any]:
    return settings.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude=leave_out)


def _differences(before: Canonical, after: Canonical, steps: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for key in [*before, *(key for key in after if key not in before)]:
        inner = (*steps, key)
        old, new = before.get(key), after.get(key)
        if inner not in _LARGE and old == new:
            continue
        is_entry = len(inner) == 2 and steps[0] in _NAMED
        is_nested = all(one is None or (isinstance(one, Mapping) and one) for one in (old, new))
        if is_nested and not (is_entry and (old is None or new is None)):
            yield from _differences(old or {}, new or {}, inner)
        else:
            yield "added" if key not in before else "removed" if key not in after else "changed", inner


def _needs_restart(steps: tuple[str, ...], before: Canonical, after: Canonical) -> bool:
    if steps[0] not in RESTART_KEYS:
        return False
    if steps[0] != "listen" or len(steps) == 2:
        return True
    entries = [tree["listen"][steps[1]] for tree in (before, after)]
    return steps[2] == "address" or (steps[2] in START_KEYS and any(steps[2] not in entry for entry in entries))


def _sign_ins(before: Canonical, after: Canonical) -> Iterator[str]:
    """Yield the credentials with a sign-in whose stored refresh token is not that of `before`."""
    states = [tree.get("state", {}) for tree in (before, after)]
    has_other_store = any(states[0].get(key) != states[1].get(key) for key in _STORE_KEYS)
    former = before.get("credentials", {})
    for name, credential in after.get("credentials", {}).items():
        old = former.get(name, {})
        if credential.get("grant") in _SIGN_IN_GRANTS and (
            has_other_store or any(old.get(key) != credential.get(key) for key in IDENTITY_KEYS)
        ):
            yield name


_SIGN_IN_GRANTS = (SIGN_IN_GRANT, _digest(SIGN_IN_GRANT))


def _dotted(steps: tuple[str, ...]) -> str:
    if steps[0] == "listen":
        return ".".join((f"listen[{steps[1]}]", *steps[2:]))
    return ".".join(steps)
