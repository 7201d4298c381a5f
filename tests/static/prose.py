"""Check that documentation and code use plain words; run as `python -m tests.static.prose`."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# A root is a file, or a folder that is searched for the suffixes of `TEXTS`.
ROOTS = (
    *("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "docs", "bench", "demo", "gateway"),
    *("tests/README.md", "tests/corpus", "tests/fakes"),
)
EXCEPTIONS: set[str] = set()

# By word: the plain word to use in its place.
BANNED = {
    "ails": "the problem of",
    "amiss": "wrong",
    "anew": "again",
    "becomes of": "is treated, happens to",
    "crew": "workers",
    "desk": "admin port, shared gateway",
    "errand": "request",
    "heap up": "accumulate",
    "hurried": "stopped at once",
    "looks away": "does not read",
    "luck": "jitter",
    "nobody": "no caller, no person",
    "nursery": "fork server",
    "said": "named, logged",
    "says": "is, names, contains, returns",
    "tells": "is, names, shows",
    "thus": "so",
    "told": "named, reported",
    "unasked": "unexpectedly",
    "unsaid": "by default",
    "whoever": "the caller, the server, the operator",
}
WORDS = re.compile(rf"\b(?:{'|'.join(BANNED)})\b", re.IGNORECASE)


def markdown_prose(text: str) -> str:
    """The text with code blanked out: names of events and keys are checked where they are made."""
    without_blocks = re.sub(r"(?m)^```[^\n]*\n(?s:.*?)^```", lambda block: "\n" * block[0].count("\n"), text)
    return re.sub(r"`[^`\n]+`", "``", without_blocks)


def python_prose(text: str) -> str:
    """The text with names as words: names are prose, as comments and strings are."""
    return text.replace("_", " ")


def yaml_comments(text: str) -> str:
    """The comments and reasons of a data file; its other values are bytes."""
    return "\n".join(line if re.match(r" *#|  why:", line) else "" for line in text.splitlines())


TEXTS = {".md": markdown_prose, ".py": python_prose, ".yaml": yaml_comments}


def files() -> list[Path]:
    roots = [ROOT / name for name in ROOTS]
    found = [file for root in roots for file in (root.rglob("*") if root.is_dir() else [root])]
    return sorted(
        file for file in found if file.suffix in TEXTS and file.relative_to(ROOT).as_posix() not in EXCEPTIONS
    )


def name(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def banned_words(file: Path) -> list[str]:
    """Return one line for each word of `file` that has a plain word in its place."""
    lines = TEXTS[file.suffix](file.read_text(encoding="utf-8")).splitlines()
    return [
        f"{name(file)}:{number}: {word}: write {BANNED[word.lower()]!r}"
        for number, line in enumerate(lines, 1)
        for word in WORDS.findall(line)
    ]


if __name__ == "__main__":
    problems = [line for file in files() for line in banned_words(file)]
    print(*problems, sep="\n", end="\n" if problems else "")  # noqa: T201 - the output of a command
    sys.exit(bool(problems))
