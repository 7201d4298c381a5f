"""The plain values of the main file and of its included files as one tree, which knows the file of each value. Pure."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any

from gateway.config.include_model import INCLUDED_KEYS
from gateway.config.issue import ConfigIssue, LocatedIssue, Steps, dotted_path, is_plain
from gateway.config.messages import EMPTY, MESSAGES, did_you_mean
from gateway.config.model import Config
from gateway.config.source_file import SourceFile

_NAMED = ("credentials", "callers")
_SHOWN_BY_NAME = (*_NAMED, "services")
_OTHER = "{other}"  # in the text of an issue: the place of `issue.other`


class MergedTree:
    """The tree `value`. Routes of included files follow those of the main file; credentials and callers are joined."""

    def __init__(self, files: Sequence[SourceFile]) -> None:
        """Join the main file, which comes first, and its included files; `problems` are those of joining."""
        self._main = files[0]
        self.value: dict[str, Any] = dict(self._main.document.value)
        self.problems: list[LocatedIssue] = []
        self._starts: list[int] = []  # of the routes of each file of `_route_files`
        self._route_files: list[SourceFile] = []
        self._holders: dict[tuple[str, str], SourceFile] = {}
        for key in _NAMED:
            named = self.value.get(key)
            self._holders |= {(key, name): self._main for name in named} if isinstance(named, dict) else {}
        if isinstance(self.value.get("routes"), list):
            self._append_routes(self._main, [])
        for file in files[1:]:
            self._join(file)

    def scope_of(self, key: str, name: str) -> SourceFile | None:
        """Return the file of a credential or caller, None if there is none of that name."""
        return self._holders.get((key, name))

    def scopes(self, key: str) -> dict[str, str]:
        """Return the scope of each of the `credentials` or `callers` of included files."""
        return {name: file.scope for (held, name), file in self._holders.items() if held == key and file.scope}

    def route_scopes(self) -> dict[int, str]:
        """Return the scope of each route of an included file, by its number in the tree."""
        return {index: file.scope for file, index, _ in self.routes() if file.scope}

    def routes(self) -> Iterator[tuple[SourceFile, int, dict[str, Any]]]:
        """Yield each route with its file and its number in the tree."""
        routes = self.value.get("routes")
        for index, route in enumerate(routes if isinstance(routes, list) else ()):
            if isinstance(route, dict):
                yield self._route_files[bisect_right(self._starts, index) - 1], index, route

    def positions(self) -> Iterator[tuple[str, str, int]]:
        """Yield each block with its file and line: a top-level key, or an entry such as `credentials.acme`."""
        for key, value in self.value.items():
            if key == "routes":
                for file, index, route in self.routes():
                    _, steps = self._origin(("routes", index))
                    yield f"routes.{route.get('name')}", file.path, file.document.line(steps)
            elif key in _SHOWN_BY_NAME and isinstance(value, dict):
                for name in value:
                    file, steps = self._origin((key, name))
                    yield f"{key}.{name}", file.path, file.document.line(steps)
            else:
                yield key, self._main.path, self._main.document.line((key,))

    def locate(self, issue: ConfigIssue) -> Iterator[LocatedIssue]:
        """Yield an issue of the tree with its file and line; one between two files is reported at both."""
        file, steps = self._origin(issue.steps)
        if steps in file.document.broken:
            return  # reported by the document
        if not issue.other:
            yield file.locate(issue._replace(steps=steps))
            return
        other_file, other_steps = self._origin(issue.other)
        for here, at, there, other in ((file, steps, other_file, other_steps), (other_file, other_steps, file, steps)):
            shown = dotted_path(other[:2]) if here is there else f"{there.name}:{there.document.line(other)}"
            yield here.locate(issue._replace(steps=at, what=issue.what.replace(_OTHER, shown)))
            if here is there:
                return

    def _origin(self, steps: Steps) -> tuple[SourceFile, Steps]:
        """Return the file that has the steps, and the steps there."""
        if steps[:1] == ("routes",) and len(steps) > 1 and isinstance(steps[1], int):
            number = bisect_right(self._starts, steps[1]) - 1
            return self._route_files[number], ("routes", steps[1] - self._starts[number], *steps[2:])
        if len(steps) > 1 and steps[0] in _NAMED:
            return self._holders.get((str(steps[0]), str(steps[1])), self._main), steps
        return self._main, steps

    def _join(self, file: SourceFile) -> None:
        for key, value in file.document.value.items():
            problem = _problem_of_key(key, value)
            if problem is not None:
                self.problems.append(file.locate(problem))
            elif key == "routes":
                if isinstance(self.value.get("routes", []), list):
                    self._append_routes(file, value)
            elif isinstance(self.value.get(key, {}), dict):
                self._join_names(file, key, value)

    def _append_routes(self, file: SourceFile, routes: list[Any]) -> None:
        present = self.value.get("routes", [])
        self._starts.append(len(present) if file is not self._main else 0)
        self._route_files.append(file)
        self.value["routes"] = [*present, *routes]

    def _join_names(self, file: SourceFile, key: str, named: dict[str, Any]) -> None:
        present = self.value.get(key, {})
        self.value[key] = {**present, **{name: value for name, value in named.items() if name not in present}}
        for name in named:
            first = self._holders.setdefault((key, name), file)
            if first is file:
                continue
            steps: Steps = (key, name)
            for here, there in ((file, first), (first, file)):
                shown = f"`{name}` is" if is_plain(name) else "is"
                what = f"{shown} also the name of one in {there.name}:{there.document.line(steps)}"
                self.problems.append(here.locate(ConfigIssue(steps, what, "rename one of them")))


def _problem_of_key(key: str, value: Any) -> ConfigIssue | None:
    """Return the problem of a key of an included file at its top level, or None."""
    steps: Steps = (key,)
    if key not in INCLUDED_KEYS:
        if key in Config.model_fields:
            return ConfigIssue(steps, "is a key of the main file only", "write it there, or remove it")
        remedy = f"the keys of an included file are {', '.join(INCLUDED_KEYS)}"
        known = did_you_mean(key, INCLUDED_KEYS, otherwise=remedy) if is_plain(key) else remedy
        return ConfigIssue(steps, "is not a known key of an included file", known)
    if value is None:
        return ConfigIssue(steps, *EMPTY)
    if not isinstance(value, list if key == "routes" else dict):
        return ConfigIssue(steps, *MESSAGES["list_type" if key == "routes" else "dict_type"])
    return None
