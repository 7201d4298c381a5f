"""Parse YAML text into plain values with the line of each: YAML 1.2 scalars, no duplicate keys, bounded aliases. Pure.

Only booleans (`true`, `false`), `null`, integers and floats are converted; all other scalars are strings, such as `no`
and `1:30` (YAML 1.2.2 §10.3, core schema).
"""

import re
from collections.abc import Callable
from typing import Any

import yaml

from gateway.config.issue import SECRET_KEYS, ConfigIssue, Steps, is_plain

MAX_VALUES = 200_000
MAX_DEPTH = 24

_TAG = "tag:yaml.org,2002:"
_CONTROL_CHARACTERS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def _integer(text: str) -> int:
    return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


def _float(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


_SCALARS: dict[str, tuple[re.Pattern[str], Callable[[str], Any]]] = {
    f"{_TAG}null": (re.compile(r"^(~|null|Null|NULL|)$"), lambda _: None),
    f"{_TAG}bool": (re.compile(r"^(true|True|TRUE|false|False|FALSE)$"), lambda text: text.lower() == "true"),
    f"{_TAG}int": (re.compile(r"^([-+]?[0-9]{1,18}|0o[0-7]{1,18}|0x[0-9a-fA-F]{1,15})$"), _integer),
    f"{_TAG}float": (
        re.compile(r"^([-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"),
        _float,
    ),
    f"{_TAG}str": (re.compile(r"", re.DOTALL), str),
}

_DEPTH_CHANGES = {
    yaml.MappingStartEvent: 1,
    yaml.SequenceStartEvent: 1,
    yaml.MappingEndEvent: -1,
    yaml.SequenceEndEvent: -1,
}

# Texts for errors of PyYAML, whose own texts may quote the file, and with it a secret. The last row matches any error.
_SYNTAX_ERRORS = (
    ("could not find expected ':'", "context", "has text where a key should be", "write `key: value`, with a space"),
    (
        "mapping values are not allowed",
        "problem",
        "has a `:` where none is allowed",
        "correct the indentation, or use quotes",
    ),
    ("character '\\t'", "problem", "is indented with a tab", "indent with spaces"),
    ("cannot start any token", "problem", "begins with a character that YAML reserves", "put the text in quotes"),
    ("expected <block end>", "problem", "is not indented like its neighbours", "align the keys of one mapping"),
    ("expected ',' or", "context", "opens a bracket that is not closed", "close it, or put the text in quotes"),
    ("end of stream", "context", "opens a quote or bracket that is not closed", "close it"),
    ("", "problem", "is not valid YAML", "correct the indentation, or put the text in quotes"),
)


class UnreadableYaml(Exception):
    """The whole text cannot be read; `issue` contains the reason and the line."""

    def __init__(self, line: int, what: str, remedy: str) -> None:
        super().__init__(what)
        self.issue = ConfigIssue((), what, remedy, line=line)


class YamlDocument:
    """A parsed YAML text: `value` as plain Python, `lines` by steps, `issues`, `broken` (steps without a value)."""

    value: dict[str, Any]

    def __init__(self, text: str) -> None:
        """Parse the text. Raise UnreadableYaml if it is not YAML, is empty or is not a mapping."""
        try:
            self._read(yaml.CBaseLoader(text))  # libyaml: thirty times as fast, with less precise errors
        except (yaml.YAMLError, ValueError):
            self._read_with_python(text)

    def line(self, steps: Steps) -> int:
        """Return the line of the steps, or of the nearest enclosing steps that are in the file."""
        while steps not in self.lines:
            steps = steps[:-1]
        return self.lines[steps]

    def free(self) -> None:
        """Free the values and lines one by one. To free them all at once would block other threads for up to 40 ms."""
        while self.lines:
            self.lines.popitem()
        containers: list[dict[str, Any] | list[Any]] = [self.value]
        for container in containers:
            values = container.values() if isinstance(container, dict) else container
            containers += [value for value in values if isinstance(value, dict | list)]
        while containers:
            containers.pop().clear()

    def _read_with_python(self, text: str) -> None:
        try:
            self._read(yaml.BaseLoader(text))
        except yaml.MarkedYAMLError as cause:
            raise _explain_syntax(cause) from None
        except yaml.reader.ReaderError as cause:
            line = text.count("\n", 0, int(cause.position)) + 1
            raise UnreadableYaml(line, "has a control character", "remove it") from None
        except (ValueError, OverflowError):  # chr() and int() in PyYAML: `"\UFFFFFFFF"`, huge `%YAML` versions
            raise UnreadableYaml(1, "is not valid YAML", "correct escapes (`\\U…`) and directives (`%`)") from None

    def _read(self, source: yaml.BaseLoader | yaml.CBaseLoader) -> None:
        """Build values directly from events: the nodes of a large file would need more memory than its values."""
        self.lines: dict[Steps, int] = {(): 1}
        self.issues: list[ConfigIssue] = []
        self.broken: set[Steps] = set()
        self._count = 0
        self._source: Callable[[], Any] = source.get_event
        self._pending: list[Any] = []
        self._anchored: dict[str, list[Any]] = {}
        self._next_event()  # the start of the stream
        if isinstance(self._next_event(), yaml.StreamEndEvent):
            raise UnreadableYaml(1, "is empty", "run `oic-gateway init` to write a first configuration")
        root = self._resolve_next()
        value = self._build(root, ())
        self._next_event()  # the end of the document
        if not isinstance(extra_event := self._next_event(), yaml.StreamEndEvent):
            raise UnreadableYaml(_line_of(extra_event), "begins a second document", "keep one; remove `---`")
        if not isinstance(value, dict):
            raise UnreadableYaml(
                _line_of(root),
                "does not contain keys and values",
                "run `oic-gateway init` to write a first configuration",
            )
        self.value = value

    def _next_event(self) -> Any:
        return self._pending.pop() if self._pending else self._source()

    def _read_node(self, first: Any) -> list[Any]:
        """Read all events of the node that begins with `first`."""
        events = [first]
        depth = _DEPTH_CHANGES.get(type(first), 0)
        while depth:
            events.append(self._next_event())
            depth += _DEPTH_CHANGES.get(type(events[-1]), 0)
        return events

    def _resolve_next(self) -> Any:
        """Return the next event; replace an alias with the events of its anchor."""
        event = self._next_event()
        name = getattr(event, "anchor", None)
        if name is None:
            return event
        events = self._anchored.get(name)
        if isinstance(event, yaml.AliasEvent):
            if events is None:
                remedy = "put text that begins with `*` in quotes"
                raise UnreadableYaml(_line_of(event), "uses an alias (`*`) without an anchor", remedy)
        elif events is None:
            events = self._anchored[name] = self._read_node(event)
        elif events[0] is event:  # replayed by an alias
            return event
        else:
            raise UnreadableYaml(_line_of(event), "defines an anchor (`&`) a second time", "give it another name")
        self._pending += events[:0:-1]
        return events[0]

    def _build(self, event: Any, steps: Steps) -> Any:
        self._count += 1
        if self._count > MAX_VALUES:
            raise UnreadableYaml(
                _line_of(event), f"contains more than {MAX_VALUES} values, aliases included", "shorten the file"
            )
        if len(steps) >= MAX_DEPTH:
            aliases = ", aliases included" if self._anchored else ""
            raise UnreadableYaml(
                _line_of(event), f"is nested deeper than {MAX_DEPTH} levels{aliases}", "reduce the nesting"
            )
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(steps)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(steps)
        return self._scalar(event, steps)

    def _sequence(self, steps: Steps) -> list[Any]:
        sequence: list[Any] = []
        while not isinstance(item := self._resolve_next(), yaml.SequenceEndEvent):
            inner = (*steps, len(sequence))
            self.lines[inner] = _line_of(item)
            sequence.append(self._build(item, inner))
        return sequence

    def _mapping(self, steps: Steps) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        while not isinstance(key := self._resolve_next(), yaml.MappingEndEvent):
            if not isinstance(key, yaml.ScalarEvent) or _CONTROL_CHARACTERS.search(key.value):
                what = "has a key that is not plain text"
                self.issues.append(ConfigIssue(steps, what, "write `key: value`", line=_line_of(key)))
                self._read_node(key)
                self._read_node(self._next_event())
                continue
            inner = (*steps, key.value)
            if key.value in mapping:
                self._add_duplicate(inner, key)
                self._read_node(self._next_event())
                continue
            self.lines[inner] = _line_of(key)
            mapping[key.value] = self._build(self._resolve_next(), inner)
        return mapping

    def _add_duplicate(self, steps: Steps, key: yaml.ScalarEvent) -> None:
        line, first = _line_of(key), self.lines[steps]
        is_shown = is_plain(key.value) and not SECRET_KEYS.intersection(steps[:-1])
        name = f"`{key.value}`" if is_shown else "a key"
        what = f"{name} is a duplicate of the key on line {first}"
        self.issues.append(ConfigIssue(steps, what, "keep one of the two", line=line))

    def _scalar(self, event: yaml.ScalarEvent, steps: Steps) -> Any:
        pattern, convert = _SCALARS.get(_tag(event), (None, str))
        if pattern is None or not pattern.match(event.value):
            return self._mark_broken(
                steps,
                event,
                "has a tag (`!`) that is unknown or does not match its value",
                "remove the tag, or use quotes",
            )
        if _CONTROL_CHARACTERS.search(event.value):
            return self._mark_broken(
                steps, event, "has a line break or control character", "write it on one line (`>-`, not `>` or `|`)"
            )
        return convert(event.value)

    def _mark_broken(self, steps: Steps, event: yaml.Event, what: str, remedy: str) -> None:
        self.broken.add(steps)
        self.issues.append(ConfigIssue(steps, what, remedy, line=_line_of(event)))


def _tag(event: yaml.ScalarEvent) -> str:
    """Return the written tag, or the tag of the first matching type; a quoted scalar is a string."""
    if event.tag not in {None, "!"}:
        return str(event.tag)
    if not event.implicit[0]:
        return f"{_TAG}str"
    return next(tag for tag, (pattern, _) in _SCALARS.items() if pattern.match(event.value))


def _explain_syntax(cause: yaml.MarkedYAMLError) -> UnreadableYaml:
    message = f"{cause.problem} {cause.context}"
    _, position, what, remedy = next(row for row in _SYNTAX_ERRORS if row[0] in message)
    marks = (cause.context_mark, cause.problem_mark)
    mark = next((mark for mark in (marks if position == "context" else marks[::-1]) if mark), None)
    return UnreadableYaml(mark.line + 1 if mark else 1, what, remedy)


def _line_of(event: yaml.Event) -> int:
    assert event.start_mark is not None
    return int(event.start_mark.line) + 1
