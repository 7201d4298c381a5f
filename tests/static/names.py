"""Check that names are unique and that each package names its modules; run as `python -m tests.static.names`.

A class name is unique in `gateway/`, so that a search for it finds one thing. A module name is unique too, except the
names below, which stand in a folder that makes them clear. The docstring of a package names each of its modules
and packages.
"""

import ast
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2] / "gateway"
REPEATED = {"__init__", "__main__", "file", "memory", "redis"}
"""Names of modules that may stand in several packages."""
MAX_TEST_NAME = 60
AVOIDED_IN_TESTS = {"told", "tells", "said", "says", "amiss", "whoever", "nobody", "anew", "unasked", "errand", "crew"}


def classes(root: Path) -> dict[str, list[str]]:
    """Return for each class name the places (`file:line`) that define it."""
    places = defaultdict(list)
    for file in sorted(root.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{file.relative_to(root.parent)}:{node.lineno}")
    return places


def modules(root: Path) -> dict[str, list[str]]:
    """Return for each module name the files that have it."""
    places = defaultdict(list)
    for file in sorted(root.rglob("*.py")):
        places[file.stem].append(str(file.relative_to(root.parent)))
    return places


def unnamed_modules(root: Path) -> Iterator[str]:
    """Yield each module and package that the docstring of its package does not name in backquotes."""
    for package in sorted(root.rglob("__init__.py")):
        docstring = ast.get_docstring(ast.parse(package.read_text(encoding="utf-8"))) or ""
        words = set(docstring.replace("`", " ` ").replace(".", " . ").split())
        packages = [inner.parent for inner in package.parent.glob("*/__init__.py")]
        for file in sorted([*package.parent.glob("*.py"), *packages]):
            if not file.stem.startswith("__") and file.stem not in words:
                yield f"{package.relative_to(root.parent)}: the docstring does not name `{file.stem}`"


def long_test_names(files: Iterable[Path]) -> Iterator[str]:
    """Yield each test whose name has more than `MAX_TEST_NAME` characters or a word of `AVOIDED_IN_TESTS`."""
    for file in sorted(files):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not node.name.startswith("test_"):
                continue
            avoided = AVOIDED_IN_TESTS.intersection(node.name.split("_"))
            if len(node.name) > MAX_TEST_NAME or avoided:
                yield f"{file}:{node.lineno}: {node.name}: {', '.join(sorted(avoided)) or len(node.name)}"


def problems(root: Path) -> list[str]:
    """Return one line for each name that breaks a rule."""
    found = [f"class {name} is defined twice: {', '.join(at)}" for name, at in classes(root).items() if len(at) > 1]
    found += [
        f"module {name} exists twice: {', '.join(at)}"
        for name, at in modules(root).items()
        if len(at) > 1 and name not in REPEATED
    ]
    return found + list(unnamed_modules(root))


if __name__ == "__main__":
    lines = [*problems(ROOT), *long_test_names((ROOT.parent / "tests").rglob("*.py"))]
    print(*lines, sep="\n", end="\n" if lines else "")  # noqa: T201 - the output of a command
    sys.exit(bool(lines))
