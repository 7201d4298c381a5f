"""The file's text as plain values and the line of each: YAML 1.2 scalars, no duplicate keys, bounded aliases. Pure.

Only `true`, `false`, `null`, integers and floats become something other than text, so `no` stays "no" and `1:30` stays
"1:30" (YAML 1.2.2 §10.3, core schema).
"""

import re
from collections.abc import Callable
from typing import Any

import yaml

from gateway.config.problem import SECRET_KEYS, Finding, Steps, is_plain

MAX_VALUES = 20_000
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

# What PyYAML says, in a person's words; its own text may quote the file, and with it a secret. The last fits anything.
_SYNTAX = (
    ("could not find expected ':'", "context", "has text where a key should be", "write `key: value`, with a blank"),
    ("mapping values are not allowed", "problem", "has a `:` where none fits", "mend the indentation, or use quotes"),
    ("character '\\t'", "problem", "is indented with a tab", "indent with blanks"),
    ("cannot start any token", "problem", "begins with a character that YAML reserves", "put the text in quotes"),
    ("undefined alias", "problem", "uses an alias (`*`) without an anchor", "put text that begins with `*` in quotes"),
    ("duplicate anchor", "problem", "defines an anchor (`&`) a second time", "give it another name"),
    ("expected <block end>", "problem", "is indented unlike its neighbours", "align the keys of one mapping"),
    ("expected ',' or", "context", "opens a bracket that is not closed", "close it, or put the text in quotes"),
    ("end of stream", "context", "opens a quote or bracket that is not closed", "close it"),
    ("another document", "problem", "begins a second document", "keep one; leave `---` out"),
    ("nested too deep", "problem", f"is nested deeper than {MAX_DEPTH} levels", "write it flatter"),
    ("", "problem", "is not valid YAML", "mend the indentation, or put the text in quotes"),
)


class Unreadable(Exception):
    """The text as a whole cannot be read; `finding` says why and in which line."""

    def __init__(self, line: int, what: str, remedy: str) -> None:
        super().__init__(what)
        self.finding = Finding((), what, remedy, line=line)


class Tree:
    """What a YAML text says: `value`, plain Python; `lines` by steps; `findings`; `broken`, steps without a value."""

    def __init__(self, text: str) -> None:
        """Raises Unreadable when the text is no YAML, is empty or is not a mapping."""
        self.lines: dict[Steps, int] = {(): 1}
        self.findings: list[Finding] = []
        self.broken: set[Steps] = set()
        self._count = 0
        node = _composed(text)
        if node is None:
            raise Unreadable(1, "is empty", "start from config/gateway.example.yaml")
        if not isinstance(node, yaml.MappingNode):
            raise Unreadable(_line(node), "does not hold keys and values", "start from config/gateway.example.yaml")
        self.value: dict[str, Any] = self._built(node, ())

    def line(self, steps: Steps) -> int:
        """The line of the steps, or of the nearest thing around them that stands in the file."""
        while steps not in self.lines:
            steps = steps[:-1]
        return self.lines[steps]

    def _built(self, node: yaml.Node, steps: Steps) -> Any:
        self._count += 1
        if self._count > MAX_VALUES:
            raise Unreadable(_line(node), f"holds more than {MAX_VALUES} values, aliases included", "write less")
        if len(steps) > MAX_DEPTH:
            raise Unreadable(
                _line(node), f"is nested deeper than {MAX_DEPTH} levels, aliases included", "write it flatter"
            )
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, steps)
        if isinstance(node, yaml.SequenceNode):
            return [self._item(item, (*steps, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, steps)

    def _item(self, node: yaml.Node, steps: Steps) -> Any:
        self.lines[steps] = _line(node)
        return self._built(node, steps)

    def _mapping(self, node: yaml.MappingNode, steps: Steps) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or _BREAKS.search(key.value):
                what = "has a key that is not plain text"
                self.findings.append(Finding(steps, what, "write `key: value`", line=_line(key)))
                continue
            inner = (*steps, key.value)
            if key.value in mapping:
                self._duplicate(inner, key)
                continue
            self.lines[inner] = _line(key)
            mapping[key.value] = self._built(value, inner)
        return mapping

    def _duplicate(self, steps: Steps, key: yaml.ScalarNode) -> None:
        line, first = _line(key), self.lines[steps]
        is_shown = is_plain(key.value) and not SECRET_KEYS.intersection(steps[:-1])
        name = f"`{key.value}`" if is_shown else "a key"
        what = f"{name} stands here a second time, first in line {first}"
        self.findings.append(Finding(steps, what, "keep one of the two", line=line))

    def _scalar(self, node: yaml.Node, steps: Steps) -> Any:
        pattern, convert = _SCALARS.get(node.tag, (None, str))
        if pattern is None or not pattern.match(node.value):
            return self._break(steps, node, "has a tag (`!`) that does not fit", "leave the tag out, or use quotes")
        if _BREAKS.search(node.value):
            return self._break(
                steps, node, "has a line break or control character", "write it in one line (`>-`, not `>` or `|`)"
            )
        return convert(node.value)

    def _break(self, steps: Steps, node: yaml.Node, what: str, remedy: str) -> None:
        self.broken.add(steps)
        self.findings.append(Finding(steps, what, remedy, line=_line(node)))


class _Loader(yaml.SafeLoader):
    """PyYAML with the scalars of YAML 1.2 and a bound on nesting, so that composing cannot exhaust the stack."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own name and kind
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Refuses what is nested too deep."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem="nested too deep", problem_mark=self.get_mark())
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


for _tag, (_pattern, _) in _SCALARS.items():
    if _tag != f"{_TAG}str":
        _Loader.add_implicit_resolver(_tag, _pattern, None)


def _composed(text: str) -> yaml.Node | None:
    try:
        return _Loader(text).get_single_node()
    except yaml.MarkedYAMLError as cause:
        raise _syntax(cause) from None
    except yaml.reader.ReaderError as cause:
        line = text.count("\n", 0, int(cause.position)) + 1
        raise Unreadable(line, "has a control character", "take it out") from None
    except (
        ValueError,
        OverflowError,
    ):  # PyYAML lets chr() and int() fail on `"\UFFFFFFFF"` and on huge `%YAML` versions
        raise Unreadable(1, "is not valid YAML", "mend escapes (`\\U…`) and directives (`%`)") from None


def _syntax(cause: yaml.MarkedYAMLError) -> Unreadable:
    said = f"{cause.problem} {cause.context}"
    _, which, what, remedy = next(row for row in _SYNTAX if row[0] in said)
    marks = (cause.context_mark, cause.problem_mark)
    mark = next((mark for mark in (marks if which == "context" else marks[::-1]) if mark), None)
    return Unreadable(mark.line + 1 if mark else 1, what, remedy)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
