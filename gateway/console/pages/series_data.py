"""The series of a chart as JSON."""

import json

from gateway.console.page import PageDocument, PageRequest
from gateway.console.view_charts import RANGES, series_document, series_query


async def send_series(request: PageRequest) -> PageDocument:
    """Return the series that `subject`, `name` and `range` select."""
    subject, chosen = request.query.get("subject", "total"), RANGES.get(request.query.get("range", "15m"))
    if subject not in {"total", "route", "service"} or chosen is None:
        problem = {"detail": "`subject` is total, route or service; `range` is 15m or 24h"}
        return PageDocument(json.dumps(problem).encode(), "application/json", status=400)
    query = series_query(subject, request.query.get("name", ""), chosen, now=request.now)  # type: ignore[arg-type] # checked above
    document = series_document(await request.backend.series(query))
    return PageDocument(json.dumps(document).encode(), "application/json")
