"""The current problem of a caller with limits: a quota that is used up, or a rate that is exceeded."""

from gateway.diagnosis.catalog import MISTAKES

_SEEN = {
    "rate": "the caller exceeded its `rate` in the last minute",
    "calls": "the caller has used its `quota.calls`",
    "messages": "the caller has used its `quota.messages`",
}


def limit_problem(kind: str, *, resets_in: float | None = None) -> dict[str, str]:
    """Return code, result, meaning and remedy for `/status`. `kind` is `rate`, `calls` or `messages`; `resets_in` are
    the seconds until the quota begins again.
    """
    until = "" if resets_in is None else f"; it begins again in {resets_in:g} s"
    entry = MISTAKES["too-many-requests"]
    return {
        "code": "too-many-requests",
        "seen": f"{_SEEN[kind]}{until}",
        "means": entry.means,
        "remedy": entry.remedy,
    }
