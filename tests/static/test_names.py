"""The check of names finds what it is there for."""

from pathlib import Path

from tests.static import names


def test_check_names_a_class_a_module_and_a_missing_mention(tmp_path: Path) -> None:
    root = tmp_path / "gateway"
    for package in (root, root / "one", root / "two"):
        package.mkdir()
        (package / "__init__.py").write_text(
            '"""A package with `file` and `twin`, `one` and `two`."""\n', encoding="utf-8"
        )
    for package in (root / "one", root / "two"):
        (package / "file.py").write_text("", encoding="utf-8")
        (package / "twin.py").write_text("class Twin: ...\n", encoding="utf-8")
    (root / "lonely.py").write_text("", encoding="utf-8")
    (root / "three").mkdir()
    (root / "three" / "__init__.py").write_text('"""An empty package."""\n', encoding="utf-8")
    assert names.problems(root) == [
        "class Twin is defined twice: gateway/one/twin.py:1, gateway/two/twin.py:1",
        "module twin exists twice: gateway/one/twin.py, gateway/two/twin.py",
        "gateway/__init__.py: the docstring does not name `lonely`",
        "gateway/__init__.py: the docstring does not name `three`",
    ]


def test_test_names_are_short_and_ordinary() -> None:
    tests = names.ROOT.parent / "tests"
    assert list(names.long_test_names(tests.rglob("*.py"))) == []


def test_a_long_test_name_and_an_avoided_word_are_reported(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text(f"def test_{'a' * 56}(): ...\ndef test_nobody(): ...\n", encoding="utf-8")
    assert [line.rpartition(": ")[2] for line in names.long_test_names(tmp_path.glob("*.py"))] == ["61", "nobody"]
