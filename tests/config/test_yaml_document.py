"""YAML text becomes plain values with lines; syntax errors have plain texts."""

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
def test_scalars_follow_yaml_1_2(written: str, value: Any) -> None:
    document = YamlDocument(f"key: {written}\n")
    assert document.value == {"key": value}
    assert type(document.value["key"]) is type(value)
    assert document.issues == []


def test_keys_are_strings_as_written() -> None:
    assert YamlDocument("no: 1\n17: 2\nnull: 3\n").value == {"no": 1, "17": 2, "null": 3}


def test_each_key_and_item_has_its_line() -> None:
    document = YamlDocument("a:\n  b:\n    - x\n    -\n      c: y\nd: {e: f}\n")
    expected = {("a",): 1, ("a", "b"): 2, ("a", "b", 0): 3, ("a", "b", 1): 5, ("a", "b", 1, "c"): 5, ("d", "e"): 6}
    assert {steps: document.lines[steps] for steps in expected} == expected
    assert document.line(("a", "b", 1, "missing", "deeper")) == 5
    assert document.line(("missing",)) == 1


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: 1\nb: 2\na: 3\n", (("a",), 3, "`a` is a duplicate of the key on line 1")),
        ("x:\n  - a: 1\n    'a': 2\n", (("x", 0, "a"), 3, "`a` is a duplicate of the key on line 2")),
        ("'a b': 1\n'a b': 2\n", (("a b",), 2, "a key is a duplicate of the key on line 1")),
        ("a: 1\n? [b]\n: 2\n", ((), 2, "has a key that is not plain text")),
        (
            "a: !!python/object:os.system x\n",
            (("a",), 1, "has a tag (`!`) that is unknown or does not match its value"),
        ),
        ("a: !!int x\n", (("a",), 1, "has a tag (`!`) that is unknown or does not match its value")),
        ("a: !!binary eA==\n", (("a",), 1, "has a tag (`!`) that is unknown or does not match its value")),
        ("a: >\n  folded\n", (("a",), 1, "has a line break or control character")),
        ('a: "\\uD800"\n', (("a",), 1, "has a line break or control character")),
    ],
)
def test_invalid_entry_is_reported_with_its_line(text: str, found: tuple[Steps, int, str]) -> None:
    (issue,) = YamlDocument(text).issues
    assert (issue.steps, issue.line, issue.what) == found


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("a: 1\nb\nc: 2\n", 2, "has text where a key should be"),
        ("a: 1\nb: c: d\n", 2, "has a `:` where none is allowed"),
        ("a:\n\t- b\n", 2, "is indented with a tab"),
        ("a: 1\nb: @c\n", 2, "begins with a character that YAML reserves"),
        ("a: 1\nb: *c\n", 2, "uses an alias (`*`) without an anchor"),
        ("a: &x 1\nb: &x 2\n", 2, "defines an anchor (`&`) a second time"),
        ("a:\n  b: 1\n c: 2\n", 3, "is not indented like its neighbours"),
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
def test_syntax_error_is_reported_with_its_line(text: str, line: int, what: str) -> None:
    with pytest.raises(UnreadableYaml) as refused:
        YamlDocument(text)
    assert (refused.value.issue.line, refused.value.issue.what) == (line, what)


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
def test_aliases_are_expanded_and_invalid_entries_skipped(text: str, value: Any) -> None:
    assert YamlDocument(text).value == value


def test_alias_expansion_is_bounded() -> None:
    assert YamlDocument("a: &x {b: c}\nd: *x\n").value == {"a": {"b": "c"}, "d": {"b": "c"}}
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
    with pytest.raises(UnreadableYaml, match=f"more than {MAX_VALUES} values"):
        YamlDocument(bomb)
