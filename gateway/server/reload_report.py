"""The outcome of a reload: what changed, or why the former configuration stays in use. Pure."""

from typing import Any

import msgspec

from gateway.config.difference import ConfigDifference
from gateway.config.issue import LocatedIssue


class ReloadReport(msgspec.Struct, frozen=True):
    """One reload. `at` is its end, in seconds since 1970; `message` is one line for people.

    `difference` is to the configuration before. `restart_needed` are the keys that differ from those at the start and
    take effect only at a restart. A refused reload has the `problems` that refused it, unless a worker did.
    """

    at: float
    is_ok: bool
    message: str
    difference: ConfigDifference = msgspec.field(default_factory=ConfigDifference)
    restart_needed: tuple[str, ...] = ()
    problems: tuple[LocatedIssue, ...] = ()
    """Errors and warnings of the configuration that was read."""

    def document(self) -> dict[str, Any]:
        """Return the answer of the admin port."""
        errors = [problem_document(problem) for problem in self.problems if problem.severity == "error"]
        warnings = [problem_document(problem) for problem in self.problems if problem.severity == "warning"]
        shared = {"state": "reloaded" if self.is_ok else "refused", "at": int(self.at), "warnings": warnings}
        if not self.is_ok:
            return {**shared, "detail": self.message, "errors": errors}
        return {**shared, **self.difference.document(), "restart_needed": [*self.restart_needed]}

    def summary(self) -> dict[str, Any]:
        """Return time and result, as `/status` shows them."""
        return {"at": int(self.at), "result": "reloaded" if self.is_ok else "refused", "message": self.message}


def problem_document(problem: LocatedIssue) -> dict[str, Any]:
    """Return a problem of the configuration for a JSON document; `location` is FILE:LINE."""
    location = f"{problem.file}:{problem.line}" if problem.line else problem.file
    owner = {"owner": problem.owner} if problem.owner else {}
    return {"location": location, "key": problem.path, "problem": problem.what, "remedy": problem.remedy, **owner}
