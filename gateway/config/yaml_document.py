"""The file's text as plain values and the line of each: YAML 1.2 scalars, no duplicate keys, bounded aliases. Pure.

Only `true`, `false`, `null`, integers and floats become something other than text, so `no` stays "no" and `1:30` stays
"1:30" (YAML 1.2.2 §10.3, core schema).
"""

import re
from collections.abc import Callable
from typing import Any

import yaml

from gateway.config.issue import SECRET_KEYS, ConfigIssue, Steps, is_plain

MAX_VALUES = 200_000
MAX_DEPTH = 24

_TAG = "tag:yaml.org,2002:"
_BREAKS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


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

_NESTS = {yaml.MappingStartEvent: 1, yaml.SequenceStartEvent: 1, yaml.MappingEndEvent: -1, yaml.SequenceEndEvent: -1}

# What PyYAML says, in a person's words; its own text may quote the file, and with it a secret. The last fits anything.
_SYNTAX = (
    ("could not find expected ':'", "context", "has text where a key should be", "write `key: value`, with a blank"),
    ("mapping values are not allowed", "problem", "has a `:` where none fits", "mend the indentation, or use quotes"),
    ("character '\\t'", "problem", "is indented with a tab", "indent with blanks"),
    ("cannot start any token", "problem", "begins with a character that YAML reserves", "put the text in quotes"),
    ("expected <block end>", "problem", "is indented unlike its neighbours", "align the keys of one mapping"),
    ("expected ',' or", "context", "opens a bracket that is not closed", "close it, or put the text in quotes"),
    ("end of stream", "context", "opens a quote or bracket that is not closed", "close it"),
    ("", "problem", "is not valid YAML", "mend the indentation, or put the text in quotes"),
)


class UnreadableYaml(Exception):
    """The text as a whole cannot be read; `finding` says why and in which line."""

    def __init__(self, line: int, what: str, remedy: str) -> None:
        super().__init__(what)
        self.finding = ConfigIssue((), what, remedy, line=line)


class YamlDocument:
    """What a YAML text says: `value`, plain Python; `lines` by steps; `findings`; `broken`, steps without a value."""

    value: dict[str, Any]

    def __init__(self, text: str) -> None:
        """Raises Unreadable when the text is no YAML, is empty or is not a mapping."""
        try:
            self._read(yaml.CBaseLoader(text))  # libyaml: thirty times as fast, but its complaints tell less
        except (yaml.YAMLError, ValueError):
            self._read_again(text)

    def line(self, steps: Steps) -> int:
        """The line of the steps, or of the nearest thing around them that stands in the file."""
        while steps not in self.lines:
            steps = steps[:-1]
        return self.lines[steps]

    def free(self) -> None:
        """Free the values and lines one by one. Freed with the tree they would take one step of up to 40 ms, in which
        no other thread runs.
        """
        while self.lines:
            self.lines.popitem()
        containers: list[dict[str, Any] | list[Any]] = [self.value]
        for container in containers:
            values = container.values() if isinstance(container, dict) else container
            containers += [value for value in values if isinstance(value, dict | list)]
        while containers:
            containers.pop().clear()

    def _read_again(self, text: str) -> None:
        try:
            self._read(yaml.BaseLoader(text))
        except yaml.MarkedYAMLError as cause:
            raise _syntax(cause) from None
        except yaml.reader.ReaderError as cause:
            line = text.count("\n", 0, int(cause.position)) + 1
            raise UnreadableYaml(line, "has a control character", "remove it") from None
        except (
            ValueError,
            OverflowError,
        ):  # PyYAML lets chr() and int() fail on `"\UFFFFFFFF"` and on huge `%YAML` versions
            raise UnreadableYaml(1, "is not valid YAML", "mend escapes (`\\U…`) and directives (`%`)") from None

    def _read(self, source: yaml.BaseLoader | yaml.CBaseLoader) -> None:
        """Values are built from events as they come, since a large file's nodes would outweigh all that is kept."""
        self.lines: dict[Steps, int] = {(): 1}
        self.findings: list[ConfigIssue] = []
        self.broken: set[Steps] = set()
        self._count = 0
        self._source: Callable[[], Any] = source.get_event
        self._ahead: list[Any] = []
        self._anchored: dict[str, list[Any]] = {}
        self._next()  # the stream's own beginning
        if isinstance(self._next(), yaml.StreamEndEvent):
            raise UnreadableYaml(1, "is empty", "run `oic-gateway init` to write a first configuration")
        root = self._taken()
        value = self._built(root, ())
        self._next()  # the document's end
        if not isinstance(further := self._next(), yaml.StreamEndEvent):
            raise UnreadableYaml(_line(further), "begins a second document", "keep one; leave `---` out")
        if not isinstance(value, dict):
            raise UnreadableYaml(
                _line(root), "does not hold keys and values", "run `oic-gateway init` to write a first configuration"
            )
        self.value = value

    def _next(self) -> Any:
        return self._ahead.pop() if self._ahead else self._source()

    def _whole(self, first: Any) -> list[Any]:
        """All events of what begins with `first`."""
        whole = [first]
        depth = _NESTS.get(type(first), 0)
        while depth:
            whole.append(self._next())
            depth += _NESTS.get(type(whole[-1]), 0)
        return whole

    def _taken(self) -> Any:
        """The next event; in place of an alias the first of what it stands for."""
        event = self._next()
        name = getattr(event, "anchor", None)
        if name is None:
            return event
        whole = self._anchored.get(name)
        if isinstance(event, yaml.AliasEvent):
            if whole is None:
                remedy = "put text that begins with `*` in quotes"
                raise UnreadableYaml(_line(event), "uses an alias (`*`) without an anchor", remedy)
        elif whole is None:
            whole = self._anchored[name] = self._whole(event)
        elif whole[0] is event:  # within an alias
            return event
        else:
            raise UnreadableYaml(_line(event), "defines an anchor (`&`) a second time", "give it another name")
        self._ahead += whole[:0:-1]
        return whole[0]

    def _built(self, event: Any, steps: Steps) -> Any:
        self._count += 1
        if self._count > MAX_VALUES:
            raise UnreadableYaml(_line(event), f"holds more than {MAX_VALUES} values, aliases included", "write less")
        if len(steps) >= MAX_DEPTH:
            aliases = ", aliases included" if self._anchored else ""
            raise UnreadableYaml(_line(event), f"is nested deeper than {MAX_DEPTH} levels{aliases}", "write it flatter")
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(steps)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(steps)
        return self._scalar(event, steps)

    def _sequence(self, steps: Steps) -> list[Any]:
        sequence: list[Any] = []
        while not isinstance(item := self._taken(), yaml.SequenceEndEvent):
            inner = (*steps, len(sequence))
            self.lines[inner] = _line(item)
            sequence.append(self._built(item, inner))
        return sequence

    def _mapping(self, steps: Steps) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        while not isinstance(key := self._taken(), yaml.MappingEndEvent):
            if not isinstance(key, yaml.ScalarEvent) or _BREAKS.search(key.value):
                what = "has a key that is not plain text"
                self.findings.append(ConfigIssue(steps, what, "write `key: value`", line=_line(key)))
                self._whole(key)
                self._whole(self._next())
                continue
            inner = (*steps, key.value)
            if key.value in mapping:
                self._duplicate(inner, key)
                self._whole(self._next())
                continue
            self.lines[inner] = _line(key)
            mapping[key.value] = self._built(self._taken(), inner)
        return mapping

    def _duplicate(self, steps: Steps, key: yaml.ScalarEvent) -> None:
        line, first = _line(key), self.lines[steps]
        is_shown = is_plain(key.value) and not SECRET_KEYS.intersection(steps[:-1])
        name = f"`{key.value}`" if is_shown else "a key"
        what = f"{name} stands here a second time, first in line {first}"
        self.findings.append(ConfigIssue(steps, what, "keep one of the two", line=line))

    def _scalar(self, event: yaml.ScalarEvent, steps: Steps) -> Any:
        pattern, convert = _SCALARS.get(_tag(event), (None, str))
        if pattern is None or not pattern.match(event.value):
            return self._break(steps, event, "has a tag (`!`) that does not fit", "leave the tag out, or use quotes")
        if _BREAKS.search(event.value):
            return self._break(
                steps, event, "has a line break or control character", "write it in one line (`>-`, not `>` or `|`)"
            )
        return convert(event.value)

    def _break(self, steps: Steps, event: yaml.Event, what: str, remedy: str) -> None:
        self.broken.add(steps)
        self.findings.append(ConfigIssue(steps, what, remedy, line=_line(event)))


def _tag(event: yaml.ScalarEvent) -> str:
    """The tag as written, else that of the first kind of scalar that fits; text in quotes is text."""
    if event.tag not in {None, "!"}:
        return str(event.tag)
    if not event.implicit[0]:
        return f"{_TAG}str"
    return next(tag for tag, (pattern, _) in _SCALARS.items() if pattern.match(event.value))


def _syntax(cause: yaml.MarkedYAMLError) -> UnreadableYaml:
    said = f"{cause.problem} {cause.context}"
    _, which, what, remedy = next(row for row in _SYNTAX if row[0] in said)
    marks = (cause.context_mark, cause.problem_mark)
    mark = next((mark for mark in (marks if which == "context" else marks[::-1]) if mark), None)
    return UnreadableYaml(mark.line + 1 if mark else 1, what, remedy)


def _line(event: yaml.Event) -> int:
    assert event.start_mark is not None
    return int(event.start_mark.line) + 1
