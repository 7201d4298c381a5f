"""The documentation uses plain technical English: no banned words, short table cells, a complete navigation."""

import re
from pathlib import Path

import pytest
import yaml

from tests.fakes.process import ROOT

# A root is a file, or a folder that is searched for the suffixes of `TEXTS`.
ROOTS = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "docs", "bench", "demo", "gateway")
EXCEPTIONS: set[str] = set()

# By word: the plain word to use in its place.
BANNED = {
    "ails": "the problem of",
    "amiss": "wrong",
    "anew": "again",
    "crew": "workers",
    "desk": "admin port, shared gateway",
    "errand": "request",
    "hurried": "stopped at once",
    "luck": "jitter",
    "nobody": "no caller, no person",
    "nursery": "fork server",
    "said": "named, logged",
    "says": "is, names, contains, returns",
    "told": "named, reported",
    "unasked": "unexpectedly",
    "whoever": "the caller, the server, the operator",
}
WORDS = re.compile(rf"\b(?:{'|'.join(BANNED)})\b", re.IGNORECASE)
LONGEST_CELL = 40  # words


def markdown_prose(text: str) -> str:
    """The text with code blanked out: names of events and keys are checked where they are made."""
    without_blocks = re.sub(r"(?m)^```[^\n]*\n(?s:.*?)^```", lambda block: "\n" * block[0].count("\n"), text)
    return re.sub(r"`[^`\n]+`", "``", without_blocks)


def python_prose(text: str) -> str:
    """The text with names as words: names are prose, as comments and strings are."""
    return text.replace("_", " ")


TEXTS = {".md": markdown_prose, ".py": python_prose}


def files() -> list[Path]:
    roots = [ROOT / name for name in ROOTS]
    found = [file for root in roots for file in (root.rglob("*") if root.is_dir() else [root])]
    return sorted(
        file for file in found if file.suffix in TEXTS and file.relative_to(ROOT).as_posix() not in EXCEPTIONS
    )


def name(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("file", files(), ids=name)
def test_no_text_uses_a_banned_word(file: Path) -> None:
    lines = TEXTS[file.suffix](file.read_text(encoding="utf-8")).splitlines()
    found = [
        f"{name(file)}:{number}: {word}: write {BANNED[word.lower()]!r}"
        for number, line in enumerate(lines, 1)
        for word in WORDS.findall(line)
    ]
    assert found == []


@pytest.mark.parametrize("file", [file for file in files() if file.suffix == ".md"], ids=name)
def test_no_table_cell_is_a_paragraph(file: Path) -> None:
    found = [
        f"{name(file)}:{number}: {len(cell.split())} words: {cell.strip()[:60]}"
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if line.startswith("|")
        for cell in re.split(r"(?<!\\)\|", line)
        if len(cell.split()) > LONGEST_CELL
    ]
    assert found == []


def pages(entry: object) -> set[str]:
    """The files that a part of the navigation names."""
    if isinstance(entry, str):
        return {entry}
    parts = entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ()
    return {page for part in parts for page in pages(part)}


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    navigation = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    assert pages(navigation) == {file.name for file in (ROOT / "docs").glob("*.md")}


def test_the_word_list_is_found_in_prose_and_not_in_code() -> None:
    text = "Whoever calls\n\n```sh\nanew\n```\n\n`supervisor-lost` is anew\n"
    assert WORDS.findall(markdown_prose(text)) == ["Whoever", "anew"]
