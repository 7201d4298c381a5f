"""The callers: how much they call, with which result, and how much of their quotas is used."""

from typing import Any

from gateway.console.page import Page, PageRequest
from gateway.console.pages.configuration_page import block_names
from gateway.console.view_callers import RECENT, caller_rows, recent_calls, with_last_seen
from gateway.history.interface import Unsearchable
from gateway.history.query import MAX_LIMIT, HistoryQuery

MAX_SEARCHES = 20
"""Searches of the history for the last calls of callers that were quiet lately."""


async def show_callers(request: PageRequest) -> Page:
    """Return the callers of the configuration, and those that called."""
    status = await request.backend.status()
    names = block_names(await request.backend.configuration(), "callers")
    recent = recent_calls(await _lines(request, since=round((request.now - RECENT) * 1000), limit=MAX_LIMIT))
    rows = list(caller_rows(names, status, b"".join(await request.backend.metrics()), recent))
    quiet = [at for at, row in enumerate(rows) if row.last_seen is None and row.calls]
    for at in quiet[:MAX_SEARCHES]:
        rows[at] = with_last_seen(rows[at], await _lines(request, caller=rows[at].name, limit=1))
    return Page("callers.html", {"title": "Callers", "section": "Callers", "callers": rows})


async def _lines(request: PageRequest, **conditions: Any) -> tuple[bytes, ...]:
    try:
        return (await request.backend.instances(HistoryQuery(**conditions))).lines
    except Unsearchable:
        return ()
