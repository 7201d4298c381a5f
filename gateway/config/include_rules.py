"""Checks of included files: whose credentials and callers a route may use, and where its path may lie. Pure.

The checks use the plain values of the files. The model reports values of the wrong type.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from gateway.config.include_model import SHARED_SETTINGS, IncludeSettings, parse_entries
from gateway.config.issue import ConfigIssue, Steps, is_plain
from gateway.config.merged_tree import MergedTree
from gateway.config.messages import did_you_mean
from gateway.config.source_file import SourceFile


def check_includes(tree: MergedTree) -> Iterator[ConfigIssue]:
    """Yield issues of the routes of all files, and of what the main file lends."""
    entries = parse_entries(tree.value.get("include"))
    if not entries:
        return
    yield from _lent_credentials(tree, entries)
    defaults = _mapping(tree.value.get("defaults"))
    yield from _defaults(tree, defaults)
    yield from _shared_limits(tree)
    paths = [entry for _, entry in entries if entry.path is not None]
    for file, index, route in tree.routes():
        steps: Steps = ("routes", index)
        yield from _credential(tree, file, steps, route, defaults)
        yield from _callers(tree, file, steps, route)
        if file.entry is not None and isinstance(route.get("path"), str):
            yield from _path(file.entry, (*steps, "path"), route["path"], paths)


def _lent_credentials(tree: MergedTree, entries: Sequence[tuple[int, IncludeSettings]]) -> Iterator[ConfigIssue]:
    own = [name for name in _mapping(tree.value.get("credentials")) if _scope(tree, "credentials", name) == ""]
    for index, entry in entries:
        for number, name in enumerate(entry.lend):
            if name not in own:
                otherwise = f"the credentials of this file are {', '.join(filter(is_plain, sorted(own)))}"
                what = f"names the credential `{name}` that this file does not have"
                remedy = did_you_mean(name, own, otherwise=otherwise if own else "add it under `credentials`")
                yield ConfigIssue(("include", index, "lend", number), what, remedy)


def _shared_limits(tree: MergedTree) -> Iterator[ConfigIssue]:
    """Yield an issue for each included setting that takes from other files: all credentials of a token endpoint share
    the smallest `budget`, and all callers of a service share its places by `share`.
    """
    for (key, setting), (what, remedy) in SHARED_SETTINGS.items():
        for name, named in _mapping(tree.value.get(key)).items():
            if _scope(tree, key, name) and _mapping(named).get(setting) is not None:
                yield ConfigIssue((key, name, setting), what, remedy)


def _defaults(tree: MergedTree, defaults: dict[str, Any]) -> Iterator[ConfigIssue]:
    named: list[tuple[Steps, str, Any]] = [(("defaults", "credential"), "credentials", defaults.get("credential"))]
    callers = defaults.get("callers")
    for index, name in enumerate(callers if isinstance(callers, list) else ()):
        named.append((("defaults", "callers", index), "callers", name))
    for steps, key, name in named:
        if isinstance(name, str) and _scope(tree, key, name):
            yield _foreign(tree, steps, key, name, "name one of this file")


def _credential(
    tree: MergedTree, file: SourceFile, steps: Steps, route: dict[str, Any], defaults: dict[str, Any]
) -> Iterator[ConfigIssue]:
    name, fallback = route.get("credential"), defaults.get("credential")
    lent = [] if file.entry is None else file.entry.lend
    used = fallback if name is None else name
    if not isinstance(used, str) or used in lent or _scope(tree, "credentials", used) in {None, file.scope}:
        return
    is_of_main = _scope(tree, "credentials", used) == ""
    remedy = "use a credential of this file"
    if is_of_main:
        remedy += f", or add `lend: [{used}]` to the entry of this file under `include`"
    if name is not None:
        yield _foreign(tree, (*steps, "credential"), "credentials", used, remedy)
    elif is_of_main:
        what = "has no credential, and `defaults.credential` is not lent to this file"
        yield ConfigIssue(steps, what, remedy)


def _callers(tree: MergedTree, file: SourceFile, steps: Steps, route: dict[str, Any]) -> Iterator[ConfigIssue]:
    names = route.get("callers")
    for index, name in enumerate(names if isinstance(names, list) else ()):
        if isinstance(name, str) and _scope(tree, "callers", name) not in {None, "", file.scope}:
            remedy = "use a caller of this file" + (" or of the main file" if file.scope else "")
            yield _foreign(tree, (*steps, "callers", index), "callers", name, remedy)


def _path(entry: IncludeSettings, steps: Steps, path: str, claims: Sequence[IncludeSettings]) -> Iterator[ConfigIssue]:
    if entry.path is not None and not _is_under(path, entry.path):
        what = f"does not lie under `{entry.path}`, where the routes of this file must lie"
        yield ConfigIssue(steps, what, f"write it like {entry.path.rstrip('/')}/orders/")
        return
    claim = max((one for one in claims if _is_under(path, str(one.path))), key=_length, default=None)
    if claim is not None and claim is not entry and (claim.owner is None or claim.owner != entry.owner):
        if entry.path is not None and _length(entry) >= _length(claim):
            return
        whose = f"the files of {claim.owner}" if claim.owner else f"the files `{claim.files}`"
        yield ConfigIssue(steps, f"lies under `{claim.path}`, which `include` reserves for {whose}", "change the path")


def _foreign(tree: MergedTree, steps: Steps, key: str, name: str, remedy: str) -> ConfigIssue:
    file = tree.scope_of(key, name)
    assert file is not None
    kind = key.removesuffix("s")
    shown = f"the {kind} `{name}`" if is_plain(name) else f"a {kind}"
    return ConfigIssue(steps, f"names {shown} of {file.name}, which this file may not use", remedy)


def _scope(tree: MergedTree, key: str, name: str) -> str | None:
    """Return the scope of a credential or caller, None if there is none of that name."""
    file = tree.scope_of(key, name)
    return None if file is None else file.scope


def _is_under(path: str, prefix: str) -> bool:
    return f"{path.rstrip('/')}/".startswith(f"{prefix.rstrip('/')}/")


def _length(entry: IncludeSettings) -> int:
    return len((entry.path or "").rstrip("/"))


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
