"""Read the configuration file and the files that it includes.

An included file is confined to its folder: its secrets and certificates are files below it. `{env: …}` and other
references would lead to secrets of the whole gateway, and a team could send them to a server of its own.
"""

import codecs
import glob
import hashlib
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from gateway.config.include_model import IncludeSettings, parse_entries
from gateway.config.issue import FILE_KEYS, ConfigIssue, LocatedIssue, Steps
from gateway.config.model import IncludedSettings
from gateway.config.reference_walk import find_references
from gateway.config.source_file import SourceFile
from gateway.config.watched_files import WatchedFiles, find_files, watch_file
from gateway.config.yaml_document import UnreadableYaml, YamlDocument
from gateway.system.confined_files import LeavesFolder, leaves_folder
from gateway.system.confined_path import ConfinedPath
from gateway.system.files import NotRegular, read_file

MAX_BYTES = 8 * 1024 * 1024
"""Largest size of one file."""
MAX_FILES = 1000
"""Largest number of included files."""

_INCLUDED_REMEDY = "write `credentials`, `callers` or `routes` into it, or remove it"


@dataclass(slots=True)
class SourceFiles:
    """All files of a configuration: the main file first, the included ones in the order of `include`. `problems` are
    those of reading, `sha256` is the hash of all contents, one after the other.
    """

    watched: WatchedFiles
    files: list[SourceFile] = field(default_factory=list)
    problems: list[LocatedIssue] = field(default_factory=list)
    sha256: str = ""


def read_sources(path: str | Path) -> SourceFiles:
    """Read a configuration file and the files that it includes. `files` is empty if the main file cannot be read."""
    sources = SourceFiles(watch_file(path))
    digest = hashlib.sha256()
    main = _read_source(sources, str(path), Path(path).absolute(), None, digest)
    if main is not None:
        entries = parse_entries(main.document.value.get("include"))
        seen = {os.path.realpath(main.path): "is this file itself"}
        for index, entry in entries:
            for found in _match(sources, main, index, entry, seen):
                name = _shown_name(str(path), Path(main.path), entry, found)
                _read_included(sources, name, _confined_file(main, entry, Path(found)), entry, digest)
    sources.sha256 = digest.hexdigest()
    return sources


def _match(
    sources: SourceFiles, main: SourceFile, index: int, entry: IncludeSettings, seen: dict[str, str]
) -> Iterator[str]:
    """Yield the files that an entry matches; report others at the entry."""
    pattern = os.path.join(glob.escape(str(Path(main.path).parent)), entry.files)  # noqa: PTH118 - a pattern is no path
    sources.watched = sources.watched.add(pattern)
    found = find_files(pattern)
    steps: Steps = ("include", index)

    def report(what: str, remedy: str, *, is_error: bool = True) -> None:
        issue = ConfigIssue(steps, what, remedy, severity="error" if is_error else "warning")
        sources.problems.append(main.locate(issue))

    if not found:
        is_pattern = glob.has_magic(entry.files)
        report("matches no file" if is_pattern else "does not exist", "correct the path", is_error=not is_pattern)
    if len(seen) + len(found) > MAX_FILES + 1:
        report(f"makes more than {MAX_FILES} included files", "narrow the pattern, or join files")
        return
    for file in found:
        place = os.path.realpath(file)
        if place in seen:
            report(f"includes `{file}`, which {seen[place]}", "narrow the pattern")
            continue
        seen[place] = "is included already"
        yield file


def _shown_name(shown_main: str, main: Path, entry: IncludeSettings, found: str) -> str:
    """Return the path of an included file relative to the same folder as the path of the main file is."""
    if Path(entry.files).is_absolute():
        return found
    return str(Path(shown_main).parent / Path(os.path.relpath(found, main.parent)))


def _read_included(sources: SourceFiles, name: str, path: ConfinedPath, entry: IncludeSettings, digest: Any) -> None:
    source = _read_source(sources, name, path, entry, digest)
    if source is not None:
        sources.problems += map(source.locate, _confine(source))


def _read_source(
    sources: SourceFiles, name: str, path: Path | ConfinedPath, entry: IncludeSettings | None, digest: Any
) -> SourceFile | None:
    try:
        content = _read(path)
        digest.update(content)
        document = YamlDocument(_decode(content))
    except UnreadableYaml as cause:
        issue = cause.issue
        remedy = _INCLUDED_REMEDY if entry is not None and "oic-gateway init" in issue.remedy else issue.remedy
        owner = "" if entry is None else entry.owner or ""
        sources.problems.append(LocatedIssue(name, issue.line, "", issue.what, remedy, owner=owner))
        return None
    place = os.path.relpath(path, Path(sources.files[0].path).parent) if entry is not None else ""
    confined = path if isinstance(path, ConfinedPath) else None
    source = SourceFile(name, str(path), hashlib.sha256(content).hexdigest(), document, entry, place, confined)
    sources.files.append(source)
    return source


def _read(path: Path | ConfinedPath) -> bytes:
    try:
        content = read_file(path, MAX_BYTES + 1)
    except LeavesFolder as cause:
        raise UnreadableYaml(0, "is behind a link that leaves its folder", cause.remedy) from None
    except NotRegular:
        raise UnreadableYaml(0, "is not a regular file", "name a regular file, not a pipe or a device") from None
    except FileNotFoundError:
        raise UnreadableYaml(
            0, "does not exist", "create it (`oic-gateway init` writes a first one), or name another file"
        ) from None
    except (OSError, ValueError) as cause:  # ValueError: a NUL in the path
        reason = getattr(cause, "strerror", None) or "not a path"
        raise UnreadableYaml(0, f"cannot be read ({reason})", "change its permissions, or name another file") from None
    if len(content) > MAX_BYTES:
        raise UnreadableYaml(0, "is larger than 8 MiB", "name the right file, or shorten it")
    return content


def _decode(content: bytes) -> str:
    """Decode UTF-8 with or without a byte order mark. Raise UnreadableYaml, which names the likely encoding."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\x00" in content[:2]:
        raise UnreadableYaml(1, "is UTF-16 or UTF-32 text, not UTF-8", "save the file as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        line = content.count(b"\n", 0, cause.start) + 1
        what = f"is not UTF-8 text: byte 0x{content[cause.start]:02X} may be ISO-8859-1"
        raise UnreadableYaml(line, what, "save the file as UTF-8") from None


# The folder of an included file ---------------------------------------------------------------------------------------


def _confined_file(main: SourceFile, entry: IncludeSettings, found: Path) -> ConfinedPath:
    """Return the path of an included file. Folders that a wildcard of the entry matches must not be links that lead out
    of the folder before it: who writes there could have made them.
    """
    parts = PurePath(entry.files).parent.parts
    anchor = Path(main.path).parent.joinpath(*itertools.takewhile(lambda part: not glob.has_magic(part), parts))
    inner = os.path.relpath(found.parent.resolve(), anchor.resolve())
    return ConfinedPath(str(found), anchor=str(anchor), inner=inner, relative=found.name)


def _confine(source: SourceFile) -> Iterator[ConfigIssue]:
    """Confine the paths in an included file to its folder. Yield an issue for each reference that leaves it."""
    own, folder = source.confined, Path(source.path).parent
    assert own is not None
    for holder, key, steps in find_references(IncludedSettings, source.document.value):
        if key not in FILE_KEYS:
            what = "is not a file in the folder of this included file, but a secret of the whole gateway"
            remedy = f"write {{file: PATH}} with a file below `{folder}`, or use a credential that the main file lends"
            yield ConfigIssue(steps, what, remedy)
            continue
        path = str(folder / holder[key])
        holder[key] = confined = ConfinedPath(
            path, anchor=own.anchor, inner=own.inner, relative=_relative_path(holder[key], folder)
        )
        # The first test names what is written, the second follows links.
        if not _is_below(os.path.normpath(path), os.path.normpath(folder)) or leaves_folder(confined):
            yield ConfigIssue(steps, "leaves the folder of this included file", f"name a file below `{folder}`")


def _relative_path(written: str, folder: Path) -> str:
    return os.path.relpath(written, folder) if Path(written).is_absolute() else written


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip("/") + "/")
