# ruff: noqa: INP001 - a script, no package
"""Copy what the gateway needs at run time into a folder, the root of its image: `python root.py ROOT ENVIRONMENT`.

The Dockerfile runs it in a Debian with the Python that the image will have. It copies the virtual environment, Python's
standard library, and the Debian packages of the shared libraries, the certificates and the time zones. It copies no
shell and no package manager. /var/lib/dpkg/status.d names the packages, so that scanners find them.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

PACKAGES = ("base-files", "ca-certificates", "media-types", "netbase", "tzdata")
"""Packages with files that no library needs but programs read, if they are installed."""
FILES = (
    *(
        "bin",
        "lib",
        "lib64",
        "sbin",
        "etc/group",
        "etc/ld.so.cache",
        "etc/localtime",
        "etc/nsswitch.conf",
        "etc/passwd",
    ),
    *("usr/lib/ssl/cert.pem", "usr/lib/ssl/certs", "usr/lib/ssl/openssl.cnf"),
)
"""Links, and files that Debian writes when it installs packages."""
UNUSED = re.compile(r"/usr/(share/(doc/(?!.*/copyright$)|info/|lintian/|locale/|man/)|s?bin/|lib/.*/gconv/)")
UNUSED_MODULES = shutil.ignore_patterns(
    *(
        "config-*",
        "dist-packages",
        "ensurepip",
        "idlelib",
        "pydoc_data",
        "site-packages",
        "test",
        "tkinter",
        "turtledemo",
    ),
    *("_curses*", "_dbm*", "_gdbm*", "_test*", "_tkinter*", "readline*", "xxlimited*"),
)
"""What no process without a terminal imports from the standard library."""


def run(*command: str | Path) -> str:
    """Return the output of a command; some of the answers may be missing."""
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False).stdout  # noqa: S603 - no shell


def copy(root: Path, path: Path) -> None:
    """Copy a file, a folder without its content, or a link with its target to the same place below `root`."""
    path = path.parent.resolve() / path.name
    target = root / path.relative_to("/")
    if os.path.lexists(target) or not os.path.lexists(path):
        return
    copy(root, path.parent)
    if path.is_symlink():
        target.symlink_to(path.readlink())
        copy(root, path.parent / path.readlink())
    elif path.is_dir():
        target.mkdir()
        shutil.copystat(path, target)
    else:
        shutil.copy2(path, target)


def copy_tree(root: Path, folder: Path, ignore: Callable[[str, list[str]], set[str]] | None = None) -> None:
    """Copy a folder with its content."""
    copy(root, folder)
    shutil.copytree(folder, root / folder.relative_to("/"), symlinks=True, ignore=ignore, dirs_exist_ok=True)


def libraries(root: Path) -> Iterator[Path]:
    """Yield the shared libraries that the programs and extension modules below `root` load."""
    programs = [path for path in root.rglob("*") if path.is_file() and (".so" in path.name or os.access(path, os.X_OK))]
    output = run("ldd", *programs)
    if missing := re.findall(r"\S+ => not found", output):
        sys.exit(f"cannot make the image: missing shared libraries: {', '.join(sorted(set(missing)))}")
    for path in set(re.findall(r"^\s(?:\S+ => )?(/\S+) \(0x", output, re.MULTILINE)):
        yield Path(path)


def owners(path: Path) -> list[str]:
    """Return the Debian packages that own a file. Older packages name it without `/usr`."""
    path = path.parent.resolve() / path.name
    found = run("dpkg-query", "--search", path, str(path).removeprefix("/usr"))
    return [package for line in found.splitlines() for package in line.rpartition(": ")[0].split(", ")]


def copy_package(root: Path, package: str) -> None:
    """Copy the files of a Debian package, and its entry in the database of packages."""
    for line in run("dpkg-query", "--listfiles", package).splitlines():
        if not UNUSED.match(line):
            copy(root, Path(line))
    entry = root / "var/lib/dpkg/status.d" / package.partition(":")[0]
    entry.parent.mkdir(parents=True, exist_ok=True)
    entry.write_text(run("dpkg-query", "--status", package), encoding="utf-8")


def make_root(root: Path, environment: Path) -> None:
    """Fill an empty folder."""
    for name in FILES:
        copy(root, Path("/") / name)
    for program in ("python", "python3"):
        copy(root, Path(sys.base_prefix) / "bin" / program)
    for folder in {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}:
        copy_tree(root, Path(folder), UNUSED_MODULES)
    copy_tree(root, environment)
    packages = {package for package in PACKAGES if run("dpkg-query", "--listfiles", package)}
    for library in libraries(root):
        packages.update(names := owners(library.resolve()))
        if not names:
            copy(root, library)
    for package in sorted(packages):
        copy_package(root, package)
    copy_tree(root, Path("/etc/ssl/certs"))


if __name__ == "__main__":
    make_root(Path(sys.argv[1]), Path(sys.argv[2]))
