"""The series of charts: as JSON for the script, and as values of the section of charts on a page."""

import json

from gateway.admin.console_backend import SeriesSubject
from gateway.console.page import PageDocument, PageRequest
from gateway.console.view_charts import (
    BLAMES,
    RANGES,
    chart_rows,
    series_document,
    series_query,
    series_url,
    traffic,
)

_DEFAULT_RANGE = RANGES["15m"]


async def send_series(request: PageRequest) -> PageDocument:
    """Return the series that `subject`, `name` and `range` select."""
    subject, chosen = request.query.get("subject", "total"), RANGES.get(request.query.get("range", "15m"))
    if subject not in {"total", "route", "service"} or chosen is None:
        problem = {"detail": "`subject` is total, route or service; `range` is 15m or 24h"}
        return PageDocument(json.dumps(problem).encode(), "application/json", status=400)
    query = series_query(subject, request.query.get("name", ""), chosen, now=request.now)  # type: ignore[arg-type] # checked above
    document = series_document(await request.backend.series(query))
    return PageDocument(json.dumps(document).encode(), "application/json")


async def chart_values(request: PageRequest, subject: SeriesSubject, name: str) -> dict[str, object]:
    """Return the values of `chart_section.html`, for the `range` of the request, and the figures of the last minute."""
    chosen = RANGES.get(request.query.get("range", ""), _DEFAULT_RANGE)
    series = await request.backend.series(series_query(subject, name, chosen, now=request.now))
    seconds = (
        series
        if chosen is _DEFAULT_RANGE
        else await request.backend.series(series_query(subject, name, _DEFAULT_RANGE, now=request.now))
    )
    return {
        "subject": subject,
        "figures": traffic(seconds, now=request.now),
        "range": chosen,
        "ranges": RANGES.values(),
        "source": series_url(subject, name, chosen),
        "chart_rows": chart_rows(series, chosen),
        "blames": BLAMES,
    }
