"""Check that the developers' documents name existing things; run as `python -m tests.static.mentions`.

A path is relative to the project or to `gateway/`. Names in parentheses after a Python file are defined in this file,
other names anywhere in `gateway/` or in the fakes. A word in lower case without an underscore is not checked: it may be
a configuration key.
"""

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("CONTRIBUTING.md", "docs/architecture.md", "docs/glossary.md", "tests/README.md")
HEADER_FIELDS = {"Host", "Via"}
BLOCK = re.compile(r"(?ms)^```.*?^```$")
QUOTED = re.compile(r"`([^`\n]+)`")
PATH = re.compile(r"[\w.-]+(?:/[\w.-]+)*/|(?:[\w.-]+/)+[\w.-]+|[\w.-]+\.(?:py|md|ya?ml|toml|lock)")
IN_FILE = re.compile(r"`([\w/.-]+\.py)`[^|`(]{0,3}\(([^)]*)\)")
NAME = re.compile(r"[A-Z]\w+(?:\.\w+)?|_[a-zA-Z]\w+|[a-z]+(?:_[a-z]+)+")
TARGET = re.compile(r"\bmake ([a-z][a-z-]*)\b")


def exists(path: str) -> bool:
    """Return whether a file or folder exists; a bare file name may be anywhere in `gateway/`."""
    places = (ROOT / path, ROOT / "gateway" / path, ROOT / "tests" / "fakes" / path, ROOT / "docs" / path)
    return any(place.exists() for place in places) or ("/" not in path and any((ROOT / "gateway").rglob(path)))


@cache
def defined(file: Path) -> frozenset[str]:
    """Return the names that a file defines: classes, functions, variables, attributes and parameters."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                names.add(name)
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()) | ast.arg(arg=name):
                names.add(name)
    return frozenset(names)


@cache
def all_defined() -> frozenset[str]:
    """Return the names that `gateway/` and the fakes define, and the names of their modules and packages."""
    files = [*(ROOT / "gateway").rglob("*.py"), *(ROOT / "tests" / "fakes").glob("*.py")]
    places = {name for file in files for name in (file.stem, file.parent.name)}
    return frozenset(places.union(*map(defined, files)))


def targets() -> set[str]:
    """Return the targets of the Makefile."""
    return set(re.findall(r"(?m)^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8")))


def missing(text: str) -> Iterator[str]:
    """Yield each path, name and make target of a document that does not exist."""
    prose = BLOCK.sub("", text)
    for word in QUOTED.findall(prose):
        if PATH.fullmatch(word):
            if not exists(word):
                yield word
        elif NAME.fullmatch(word) and word not in HEADER_FIELDS and not all_defined().issuperset(word.split(".")):
            yield word
    for path, words in IN_FILE.findall(prose):
        [file, *_] = [place for place in (ROOT / path, ROOT / "gateway" / path) if place.exists()] or [None]
        names = [word for word in QUOTED.findall(words) if NAME.fullmatch(word)]
        if file is not None:
            yield from (f"{name} in {path}" for name in names if name not in defined(file))
    for target in TARGET.findall("\n".join(QUOTED.findall(prose) + BLOCK.findall(text))):
        if target not in targets():
            yield f"make {target}"


def problems() -> list[str]:
    """Return one line for each thing that a document names and that does not exist."""
    return [
        f"{name}: does not exist: {word}"
        for name in DOCUMENTS
        for word in missing((ROOT / name).read_text(encoding="utf-8"))
    ]


if __name__ == "__main__":
    lines = problems()
    print(*lines, sep="\n", end="\n" if lines else "")  # noqa: T201 - the output of a command
    sys.exit(bool(lines))
