"""The callers: how much they call, with which result, and how much of their quotas is used."""

from gateway.console.page import Page, PageRequest
from gateway.console.pages.configuration_page import block_names
from gateway.console.view_callers import RECENT, caller_rows
from gateway.history.interface import Unsearchable
from gateway.history.query import MAX_LIMIT, HistoryQuery


async def show_callers(request: PageRequest) -> Page:
    """Return the callers of the configuration, and those that called."""
    status = await request.backend.status()
    names = block_names(await request.backend.configuration(), "callers")
    query = HistoryQuery(since=round((request.now - RECENT) * 1000), limit=MAX_LIMIT)
    try:
        lines = (await request.backend.instances(query)).lines
    except Unsearchable:
        lines = ()
    rows = caller_rows(names, status, b"".join(await request.backend.metrics()), lines)
    return Page("callers.html", {"title": "Callers", "section": "Callers", "callers": rows})
