"""One thing that was tried, and what came of it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from gateway.diagnosis.catalog import MISTAKES

NOT_TRIED = "not-tried"
_KEYS = ("ok", "subject", "step", "code", "seen", "means", "remedy")


@dataclass(frozen=True, slots=True)
class Finding:
    """What was seen, what it means, what to do; the last two are empty where all is well."""

    ok: bool
    subject: str
    """`credential NAME`, `upstream ORIGIN`, `route NAME` or `state (KIND)`."""
    seen: str
    remedy: str = ""
    means: str = ""
    code: str = ""
    """A stable code of `gateway.diagnosis.catalog`; empty where nothing is wrong. With `ok` it is a warning."""
    step: str = ""
    """Which step of the subject: connection, discovery, token, claims, request …"""

    def text(self) -> str:
        """For a person at a terminal: what was seen → what it means → what to do."""
        is_told = not self.code or self.code == NOT_TRIED or self.seen.startswith(f"{self.code}: ")
        seen = self.seen if is_told else f"{self.code}: {self.seen}"
        return "\n     → ".join(filter(None, (f"{self._mark} {self.subject}: {seen}", self.means, self.remedy)))

    @property
    def is_note(self) -> bool:
        """Nothing has failed, and something is left open."""
        return self.ok and self.code not in {"", NOT_TRIED}

    @property
    def _mark(self) -> str:
        if self.code == NOT_TRIED:
            return "skip"
        return "note" if self.is_note else "ok  " if self.ok else "FAIL"


def failed(code: str, subject: str, seen: str, *, step: str = "", means: str = "", remedy: str = "") -> Finding:
    """The finding of a mistake; `means` and `remedy` take the place of what its row says, where more is known."""
    row = MISTAKES[code]
    told = (remedy or row.remedy).replace("login NAME", f"login {subject.partition(' ')[2]}")
    return Finding(ok=False, subject=subject, seen=seen, remedy=told, means=means or row.means, code=code, step=step)


def note(code: str, subject: str, seen: str, *, step: str = "") -> Finding:
    """What is no failure and yet is not known to be well."""
    return replace(failed(code, subject, seen, step=step), ok=True)


def skipped(subject: str, why: str, *, step: str = "") -> Finding:
    """A step that was left out for a reason that another finding tells: no failure of its own."""
    return Finding(ok=True, subject=subject, seen=f"not tried: {why}", code=NOT_TRIED, step=step)


def document(findings: Iterable[Finding]) -> dict[str, Any]:
    """The findings for machines."""
    rows = [{key: getattr(finding, key) for key in _KEYS} for finding in findings]
    return {"ok": all(row["ok"] for row in rows), "findings": rows}
