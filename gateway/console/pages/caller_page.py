"""The callers: how much they call, with which result, and how much of their quotas is used."""

from typing import Any

from gateway.console.page import Page, PageRequest
from gateway.console.pages.configuration_page import block_names
from gateway.console.view_callers import RECENT, caller_rows, recent_calls, with_last_seen
from gateway.history.interface import Unsearchable
from gateway.history.query import MAX_LIMIT, HistoryQuery

MAX_CALLERS = 200
"""Rows of the page; the filter finds the others."""
MAX_SEARCHES = 20
"""Searches of the history for the last calls of callers that were quiet lately."""


async def show_callers(request: PageRequest) -> Page:
    """Return the callers of the configuration, and those that called."""
    status = await request.backend.status()
    names = block_names(await request.backend.configuration(), "callers")
    recent = recent_calls(await _lines(request, since=round((request.now - RECENT) * 1000), limit=MAX_LIMIT))
    found = caller_rows(names, status, b"".join(await request.backend.metrics()), recent)
    q = request.query.get("q", "").strip()
    matching = [row for row in found if q.lower() in row.name.lower()]
    rows = matching[:MAX_CALLERS]
    quiet = [at for at, row in enumerate(rows) if row.last_seen is None and row.calls]
    for at in quiet[:MAX_SEARCHES]:
        rows[at] = with_last_seen(rows[at], await _lines(request, caller=rows[at].name, limit=1))
    values = {"title": "Callers", "section": "Callers", "callers": rows, "q": q, "total": len(matching)}
    return Page("callers.html", values)


async def _lines(request: PageRequest, **conditions: Any) -> tuple[bytes, ...]:
    try:
        return (await request.backend.instances(HistoryQuery(**conditions))).lines
    except Unsearchable:
        return ()
