"""Billed messages by route, caller, service or hour, against the packs; also as CSV."""

from gateway.console.page import Page, PageDocument, PageRequest
from gateway.console.view_state import page_url
from gateway.console.view_usage import AGES, DEFAULT_AGE, GROUPINGS, usage_csv, usage_view
from gateway.history.interface import Unsearchable
from gateway.history.query import BadQuery
from gateway.history.usage_query import UsageReport, parse_usage

MAX_ROWS_SHOWN = 500
"""Rows of the page; the CSV has all."""


async def show_usage(request: PageRequest) -> Page:
    """Return the usage that `by`, `since` and `until` select."""
    report, problem = await _report(request)
    by, since = request.query.get("by", GROUPINGS[0]), request.query.get("since", DEFAULT_AGE)
    values = {
        "title": "Usage",
        "section": "Usage",
        "view": usage_view(report) if report else None,
        "max_rows": MAX_ROWS_SHOWN,
        "problem": problem,
        "groupings": GROUPINGS,
        "ages": AGES,
        "since": since,
        "csv_url": page_url("usage.csv", by=by, since=since),
    }
    return Page("usage.html", values)


async def send_usage_csv(request: PageRequest) -> PageDocument:
    """Return the same as CSV."""
    report, problem = await _report(request)
    if report is None:
        return PageDocument(problem.encode(), "text/plain; charset=utf-8", status=400)
    return PageDocument(usage_csv(report), "text/csv; charset=utf-8", filename=f"usage-by-{report.query.by}.csv")


async def _report(request: PageRequest) -> tuple[UsageReport | None, str]:
    pairs = [(name, text) for name, text in request.query.items() if text]
    try:
        return await request.backend.usage(parse_usage(pairs, now=request.now)), ""
    except (BadQuery, Unsearchable) as error:
        return None, str(error)
