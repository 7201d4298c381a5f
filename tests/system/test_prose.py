"""The documentation uses plain technical English: no banned words, short table cells, a complete navigation."""

import re

import yaml

from tests.static.prose import ROOT, WORDS, banned_words, files, markdown_prose, name, yaml_comments

LONGEST_CELL = 40  # words


def test_no_text_uses_a_banned_word() -> None:
    assert len(files()) > 400
    assert [line for file in files() for line in banned_words(file)] == []


def test_no_table_cell_is_a_paragraph() -> None:
    found = [
        f"{name(file)}:{number}: {len(cell.split())} words: {cell.strip()[:60]}"
        for file in files()
        if file.suffix == ".md"
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


def test_comments_of_a_data_file_are_prose_and_values_are_not() -> None:
    text = '# whoever\n- name: said\n  why: it is said\n  say: "said"\n'
    assert WORDS.findall(yaml_comments(text)) == ["whoever", "said"]
