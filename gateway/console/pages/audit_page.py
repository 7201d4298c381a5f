"""The audit: the last logins and actions."""

from gateway.console.page import AuditRow, Page, PageRequest
from gateway.console.view_state import Tone, state_label

LIMIT = 200
_STATES: dict[str, tuple[Tone, str]] = {"ok": ("ok", "Done"), "failed": ("bad", "Failed"), "denied": ("warn", "Denied")}


async def show_audit(request: PageRequest) -> Page:
    """Return the last entries."""
    entries = [_entry(row) for row in await request.recent_audit(LIMIT)]
    detail = "Each login and each action adds one. Set console.audit to keep them in a file."
    return Page("audit.html", {"title": "Audit", "section": "Audit", "entries": entries, "detail": detail})


def _entry(row: AuditRow) -> dict[str, object]:
    """Return an entry as the template shows it."""
    return {
        "time": row.time,
        "who": row.who,
        "role": row.role,
        "what": row.action,
        "subject": row.target,
        "state": state_label(*_STATES.get(row.result, ("rest", row.result))),
        "detail": row.detail,
        "source": row.client,
    }
