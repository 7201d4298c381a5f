"""Finding: the result of one check, with its meaning and its remedy."""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec.structs import replace

from gateway.diagnosis.catalog import MISTAKES

SKIPPED_CODE = "not-tried"
_KEYS = ("ok", "subject", "step", "code", "seen", "means", "remedy")


class Finding(msgspec.Struct, frozen=True):
    """The result of a check, its meaning and its remedy; the last two are empty after success."""

    ok: bool
    subject: str
    """`credential NAME`, `upstream ORIGIN`, `route NAME` or `state (KIND)`."""
    seen: str
    remedy: str = ""
    means: str = ""
    code: str = ""
    """A stable code of `gateway.diagnosis.catalog`; empty after success. With `ok` it is a warning."""
    step: str = ""
    """Which step of the subject: connection, discovery, token, claims, request …"""

    def text(self) -> str:
        """Return the text for a terminal: result → meaning → remedy."""
        has_code = not self.code or self.code == SKIPPED_CODE or self.seen.startswith(f"{self.code}: ")
        seen = self.seen if has_code else f"{self.code}: {self.seen}"
        return "\n     → ".join(filter(None, (f"{self._mark} {self.subject}: {seen}", self.means, self.remedy)))

    @property
    def is_warning(self) -> bool:
        """Return whether the finding is a warning."""
        return self.ok and self.code not in {"", SKIPPED_CODE}

    @property
    def _mark(self) -> str:
        if self.code == SKIPPED_CODE:
            return "skip"
        return "note" if self.is_warning else "ok  " if self.ok else "FAIL"


def failed_finding(code: str, subject: str, seen: str, *, step: str = "", means: str = "", remedy: str = "") -> Finding:
    """Return the finding of a mistake; `means` and `remedy` replace the texts of its catalog entry."""
    entry = MISTAKES[code]
    remedy = (remedy or entry.remedy).replace("login NAME", f"login {subject.partition(' ')[2]}")
    return Finding(
        ok=False, subject=subject, seen=seen, remedy=remedy, means=means or entry.means, code=code, step=step
    )


def warning_finding(code: str, subject: str, seen: str, *, step: str = "") -> Finding:
    """Return a warning: the check did not fail, but proves nothing."""
    return replace(failed_finding(code, subject, seen, step=step), ok=True)


def skipped_finding(subject: str, why: str, *, step: str = "") -> Finding:
    """Return the finding of a skipped step, which is not a failure; another finding has the cause."""
    return Finding(ok=True, subject=subject, seen=f"not tried: {why}", code=SKIPPED_CODE, step=step)


def findings_document(findings: Iterable[Finding]) -> dict[str, Any]:
    """Return the findings as a JSON document."""
    rows = [{key: getattr(finding, key) for key in _KEYS} for finding in findings]
    return {"ok": all(row["ok"] for row in rows), "findings": rows}
