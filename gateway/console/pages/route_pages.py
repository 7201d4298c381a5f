"""The list of routes, and one route: the path of its calls, its figures, charts and last calls."""

import asyncio

from gateway.admin.console_backend import Series
from gateway.console.page import Page, PageRequest
from gateway.console.pages.configuration_page import block_settings
from gateway.console.pages.missing_page import missing_page
from gateway.console.view_calls import call_rows
from gateway.console.view_charts import BLAMES, RANGES, chart_rows, series_query, series_url, sparkline, traffic
from gateway.console.view_counters import instance_id_percent
from gateway.console.view_overview import credential_card, route_rows, service_rows
from gateway.history.interface import Unsearchable
from gateway.history.query import HistoryQuery

_LAST_CALLS = 8
_DEFAULT_RANGE = RANGES["15m"]
MAX_SERIES = 50
"""The number of routes that have series at all."""


async def show_routes(request: PageRequest) -> Page:
    """Return the list of routes."""
    rows = list(route_rows(await request.backend.status()))
    series = await asyncio.gather(*(_list_series(request, row.name) for row in rows[:MAX_SERIES]))
    series += [Series(10)] * (len(rows) - len(series))
    end, start = request.now, request.now - _DEFAULT_RANGE.length
    table = [
        (row, traffic(one, now=end, seconds=_DEFAULT_RANGE.length), sparkline(one, start=start, end=end))
        for row, one in zip(rows, series, strict=True)
    ]
    return Page("routes.html", {"title": "Routes", "section": "Routes", "rows": table})


async def show_route(request: PageRequest) -> Page:
    """Return the page of the route that the path names."""
    name = request.path[1]
    status = await request.backend.status()
    row = next((row for row in route_rows(status) if row.name == name), None)
    if row is None:
        return missing_page("route", name, "Routes")
    chosen = RANGES.get(request.query.get("range", ""), _DEFAULT_RANGE)
    series = await request.backend.series(series_query("route", name, chosen, now=request.now))
    minute = (
        series
        if chosen is _DEFAULT_RANGE
        else await request.backend.series(series_query("route", name, _DEFAULT_RANGE, now=request.now))
    )
    configuration = await request.backend.configuration()
    settings = block_settings(configuration, "defaults") | block_settings(configuration, f"routes.{name}")
    card = credential_card(status, row.credential, now=request.now)
    service = next((one for one in service_rows(status) if one.name == row.service), None)
    rows = chart_rows(series, chosen)
    problems = (row.problem, service.problem if service else None, card.problem)
    values = {
        "title": name,
        "section": "Routes",
        "row": row,
        "card": card,
        "service": service,
        "callers": settings.get("callers"),
        "problems": [problem for problem in problems if problem is not None],
        "figures": traffic(minute, now=request.now),
        "instance_id_percent": instance_id_percent(b"".join(await request.backend.metrics()), name),
        "range": chosen,
        "ranges": RANGES.values(),
        "source": series_url("route", name, chosen),
        "chart_rows": rows,
        "blames": BLAMES,
        "example_url": example_url(str(status["listen"]), row.path),
        "calls": await _last_calls(request, name),
    }
    return Page("route.html", values)


def example_url(listen: str, path: str) -> str:
    """Return a URL of a path at the first address of the gateway."""
    first = listen.split(", ", maxsplit=1)[0]
    return path if first.startswith("unix:") else f"http://{first}{path}"


async def _list_series(request: PageRequest, name: str) -> Series:
    return await request.backend.series(series_query("route", name, _DEFAULT_RANGE, now=request.now))


async def _last_calls(request: PageRequest, name: str) -> object:
    try:
        found = await request.backend.instances(HistoryQuery(route=name, limit=_LAST_CALLS))
    except Unsearchable:
        return ()
    return call_rows(found.lines)
