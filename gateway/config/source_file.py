"""One file of a configuration, as it was read. Pure."""

from dataclasses import dataclass

from gateway.config.include_model import IncludeSettings
from gateway.config.issue import ConfigIssue, LocatedIssue, dotted_path
from gateway.config.yaml_document import YamlDocument
from gateway.system.confined_path import ConfinedPath


@dataclass(slots=True, eq=False)
class SourceFile:
    """A file of the configuration. `name` is the path as a person knows it; `path` is absolute. `entry` is the
    one of `include` that names the file, None for the main file; `place` is its path relative to the folder of the main
    file.
    """

    name: str
    path: str
    digest: str
    document: YamlDocument
    entry: IncludeSettings | None = None
    place: str = ""
    confined: ConfinedPath | None = None
    """The path of an included file: the files that it names must stay in the same folder."""

    @property
    def owner(self) -> str:
        """Return the owner of the file; empty if none is named."""
        return (self.entry.owner or "") if self.entry is not None else ""

    @property
    def scope(self) -> str:
        """Return the name that files with common credentials and callers share; empty for the main file.

        It is part of the key of stored tokens, so it is the same wherever the folder of the main file is.
        """
        return "" if self.entry is None else f"owner {self.owner}" if self.owner else f"file {self.place}"

    def locate(self, issue: ConfigIssue) -> LocatedIssue:
        """Return an issue of this file, whose steps are those in this file, with its line."""
        line = issue.line or self.document.line(issue.steps)
        path = dotted_path(issue.steps)
        return LocatedIssue(self.name, line, path, issue.what, issue.remedy, issue.severity, self.owner)
