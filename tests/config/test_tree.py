"""The text becomes plain values with their lines; what YAML alone forbids is said in a person's words."""

from typing import Any

import pytest

from gateway.config.issue import Steps
from gateway.config.yaml_document import MAX_DEPTH, MAX_VALUES, UnreadableYaml, YamlDocument


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("no", "no"),
        ("Yes", "Yes"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("2020-01-01", "2020-01-01"),
        ("1_000", "1_000"),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("-7", -7),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("-.inf", float("-inf")),
        ("TRUE", True),
        ("false", False),
        ("~", None),
        ("", None),
        ("'17'", "17"),
        ("!!str 17", "17"),
        ("=", "="),
        ("[a, {b: c}]", ["a", {"b": "c"}]),
    ],
)
def test_scalars_are_those_of_yaml_1_2(written: str, value: Any) -> None:
    tree = YamlDocument(f"key: {written}\n")
    assert tree.value == {"key": value}
    assert type(tree.value["key"]) is type(value)
    assert tree.findings == []


def test_a_key_is_text_as_written() -> None:
    assert YamlDocument("no: 1\n17: 2\nnull: 3\n").value == {"no": 1, "17": 2, "null": 3}


def test_each_key_and_item_has_its_line() -> None:
    tree = YamlDocument("a:\n  b:\n    - x\n    -\n      c: y\nd: {e: f}\n")
    expected = {("a",): 1, ("a", "b"): 2, ("a", "b", 0): 3, ("a", "b", 1): 5, ("a", "b", 1, "c"): 5, ("d", "e"): 6}
    assert {steps: tree.lines[steps] for steps in expected} == expected
    assert tree.line(("a", "b", 1, "missing", "deeper")) == 5
    assert tree.line(("missing",)) == 1


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: 1\nb: 2\na: 3\n", (("a",), 3, "`a` stands here a second time, first in line 1")),
        ("x:\n  - a: 1\n    'a': 2\n", (("x", 0, "a"), 3, "`a` stands here a second time, first in line 2")),
        ("'a b': 1\n'a b': 2\n", (("a b",), 2, "a key stands here a second time, first in line 1")),
        ("a: 1\n? [b]\n: 2\n", ((), 2, "has a key that is not plain text")),
        ("a: !!python/object:os.system x\n", (("a",), 1, "has a tag (`!`) that does not fit")),
        ("a: !!int x\n", (("a",), 1, "has a tag (`!`) that does not fit")),
        ("a: !!binary eA==\n", (("a",), 1, "has a tag (`!`) that does not fit")),
        ("a: >\n  folded\n", (("a",), 1, "has a line break or control character")),
        ('a: "\\uD800"\n', (("a",), 1, "has a line break or control character")),
    ],
)
def test_what_does_not_fit_is_found_with_its_line(text: str, found: tuple[Steps, int, str]) -> None:
    (finding,) = YamlDocument(text).findings
    assert (finding.steps, finding.line, finding.what) == found


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("a: 1\nb\nc: 2\n", 2, "has text where a key should be"),
        ("a: 1\nb: c: d\n", 2, "has a `:` where none fits"),
        ("a:\n\t- b\n", 2, "is indented with a tab"),
        ("a: 1\nb: @c\n", 2, "begins with a character that YAML reserves"),
        ("a: 1\nb: *c\n", 2, "uses an alias (`*`) without an anchor"),
        ("a: &x 1\nb: &x 2\n", 2, "defines an anchor (`&`) a second time"),
        ("a:\n  b: 1\n c: 2\n", 3, "is indented unlike its neighbours"),
        ("a: 1\nb: [c, d\ne: f\n", 2, "opens a bracket that is not closed"),
        ("a: 1\nb: 'c\nd: e\n", 2, "opens a quote or bracket that is not closed"),
        ("a: 1\n---\nb: 2\n", 2, "begins a second document"),
        ("a: 1\nb: \x07\n", 2, "has a control character"),
        ("a: %b\n", 1, "begins with a character that YAML reserves"),
        ("%YAML 9.9\n---\na: 1\n", 1, "is not valid YAML"),
        ('a: "\\UFFFFFFFF"\n', 1, "is not valid YAML"),
        ("a: 1\nb: " + "[" * 5000, 2, f"is nested deeper than {MAX_DEPTH} levels"),
        ("a: &a [*a]\n", 1, f"is nested deeper than {MAX_DEPTH} levels, aliases included"),
    ],
)
def test_bad_yaml_is_explained_with_its_line(text: str, line: int, what: str) -> None:
    with pytest.raises(UnreadableYaml) as refused:
        YamlDocument(text)
    assert (refused.value.finding.line, refused.value.finding.what) == (line, what)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: &x {b: &y 1}\nc: *x\nd: [*y, *x]\n", {"a": {"b": 1}, "c": {"b": 1}, "d": [1, {"b": 1}]}),
        ("a: &x b\n*x : 1\n", {"a": "b", "b": 1}),
        ("&x a: 1\nb: *x\n", {"a": 1, "b": "a"}),
        ("a: {x: 1}\na: {y: [1, {z: 2}]}\nb: 2\n", {"a": {"x": 1}, "b": 2}),
        ("? [a, {b: c}]\n: {d: [e]}\nf: g\n", {"f": "g"}),
    ],
)
def test_what_an_alias_stands_for_and_what_is_passed_over(text: str, value: Any) -> None:
    assert YamlDocument(text).value == value


def test_aliases_are_read_but_cannot_blow_up() -> None:
    assert YamlDocument("a: &x {b: c}\nd: *x\n").value == {"a": {"b": "c"}, "d": {"b": "c"}}
    laughs = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
    with pytest.raises(UnreadableYaml, match=f"more than {MAX_VALUES} values"):
        YamlDocument(laughs)
