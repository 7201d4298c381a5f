"""The list of routes, and one route: the path of its calls, its figures, charts and last calls."""

import asyncio

from gateway.admin.console_backend import Series, SeriesQuery
from gateway.console.page import Page, PageRequest
from gateway.console.pages.configuration_page import block_settings
from gateway.console.pages.missing_page import missing_page
from gateway.console.pages.series_data import chart_values
from gateway.console.view_calls import call_rows
from gateway.console.view_charts import RANGES, sparkline, traffic
from gateway.console.view_counters import instance_id_percent
from gateway.console.view_overview import RouteRow, credential_card, route_rows, service_rows
from gateway.console.view_state import page_url
from gateway.history.interface import Unsearchable
from gateway.history.query import HistoryQuery

_LAST_CALLS = 8
_DEFAULT_RANGE = RANGES["15m"]
PAGE_SIZE = 50
"""Routes on one page of the list."""


async def show_routes(request: PageRequest) -> Page:
    """Return the routes that match `q` and `state`, `PAGE_SIZE` on each `page`."""
    q, only_problems = request.query.get("q", "").strip(), request.query.get("state") == "problem"
    status = await request.backend.status()
    matching = [row for row in route_rows(status) if _matches(row, q.lower(), only_problems=only_problems)]
    first = PAGE_SIZE * (_page_number(request.query.get("page", "")) - 1)
    rows = matching[first : first + PAGE_SIZE]
    series = await asyncio.gather(*(_list_series(request, row.name) for row in rows))
    end, start = request.now, request.now - _DEFAULT_RANGE.length
    filters = {"q": q} | ({"state": "problem"} if only_problems else {})
    page = first // PAGE_SIZE + 1
    values = {
        "title": "Routes",
        "section": "Routes",
        "rows": [
            (row, traffic(one, now=end, seconds=_DEFAULT_RANGE.length), sparkline(one, start=start, end=end))
            for row, one in zip(rows, series, strict=True)
        ],
        "q": q,
        "only_problems": only_problems,
        "total": len(matching),
        "first": first + 1,
        "url": page_url("routes", **filters, page=str(page)),
        "previous_url": page_url("routes", **filters, page=str(page - 1)) if page > 1 else "",
        "next_url": page_url("routes", **filters, page=str(page + 1)) if first + PAGE_SIZE < len(matching) else "",
    }
    return Page("routes.html", values)


def _page_number(text: str) -> int:
    """Return the number of a page, 1 for other texts; `int` raises ValueError above 4300 digits."""
    return max(1, int(text)) if text.isdecimal() and len(text) < 9 else 1


def _matches(row: RouteRow, q: str, *, only_problems: bool) -> bool:
    texts = (row.name, row.path, row.credential, row.host, row.service or "")
    return any(q in text.lower() for text in texts) and not (only_problems and row.state.tone == "ok")


async def show_route(request: PageRequest) -> Page:
    """Return the page of the route that the path names."""
    name = request.path[1]
    status = await request.backend.status()
    row = next((row for row in route_rows(status) if row.name == name), None)
    if row is None:
        return missing_page("route", name, "Routes")
    configuration = await request.backend.configuration()
    settings = block_settings(configuration, "defaults") | block_settings(configuration, f"routes.{name}")
    card = credential_card(status, row.credential, now=request.now)
    service = next((one for one in service_rows(status) if one.name == row.service), None)
    problems = (row.problem, service.problem if service else None, card.problem)
    values = await chart_values(request, "route", name) | {
        "title": name,
        "section": "Routes",
        "row": row,
        "card": card,
        "service": service,
        "callers": settings.get("callers"),
        "problems": [problem for problem in problems if problem is not None],
        "instance_id_percent": instance_id_percent(b"".join(await request.backend.metrics()), name),
        "example_url": example_url(str(status["listen"]), row.path),
        "no_calls": "Only the 50 busiest routes have charts. Send a call:",
        "calls": await _last_calls(request, name),
    }
    return Page("route.html", values)


def example_url(listen: str, path: str) -> str:
    """Return a URL of a path at the first address of the gateway."""
    first = listen.split(", ", maxsplit=1)[0]
    return path if first.startswith("unix:") else f"http://{first}{path}"


async def _list_series(request: PageRequest, name: str) -> Series:
    """Return 15 minutes in steps of ten seconds: enough for a line of 96 pixels."""
    return await request.backend.series(SeriesQuery("route", name, 10, request.now - _DEFAULT_RANGE.length))


async def _last_calls(request: PageRequest, name: str) -> object:
    try:
        found = await request.backend.instances(HistoryQuery(route=name, limit=_LAST_CALLS))
    except Unsearchable:
        return ()
    return call_rows(found.lines)
