"""The overview: what needs a person, and the state of credentials, services and workers."""

from gateway.admin.console_backend import SeriesQuery
from gateway.console.page import Page, PageRequest
from gateway.console.view_charts import traffic
from gateway.console.view_overview import overview

_MINUTE = 60.0


async def show_overview(request: PageRequest) -> Page:
    """Return the overview."""
    status = await request.backend.status()
    query = SeriesQuery(since=request.now - _MINUTE)
    series = await request.backend.series(query)
    values = {
        "title": "Overview",
        "section": "Overview",
        "view": overview(status, now=request.now),
        "traffic": traffic(series, now=request.now, seconds=_MINUTE),
    }
    return Page("overview.html", values)
