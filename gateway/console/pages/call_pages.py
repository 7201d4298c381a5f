"""The search of calls, one call, and calls as they end."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import lru_cache
from urllib.parse import urlencode

from msgspec.structs import replace

from gateway.console.page import Page, PageRequest, PageStream
from gateway.console.pages.missing_page import missing_page
from gateway.console.pages.route_pages import example_url
from gateway.console.rendering import render_macro
from gateway.console.view_calls import call_detail, call_row, call_rows, form_values, search_pairs
from gateway.history.interface import SearchResult, Unsearchable
from gateway.history.query import BadQuery, HistoryQuery, filter_lines, parse_query

_PAGE_LIMIT = "50"
MAX_CALLS = 200
"""Rows of the page: rendering one takes 0.2 ms, in which the gateway serves no caller."""
SLOT, MAX_ROWS = 0.5, 10
"""A reader of live calls gets at most so many rows in so many seconds: more cannot be read, and each one costs time."""
_LOST = b'{"event":"lost"'


async def show_calls(request: PageRequest) -> Page:
    """Return the calls that the query selects; without conditions the last ones."""
    status = await request.backend.status()
    pairs = search_pairs(request.query)
    found, problem = await _search(request, pairs)
    routes = [route["name"] for route in status["routes"]]
    live_pairs = [pair for pair in pairs if pair[0] not in {"since", "until", "limit"}]
    values = {
        "title": "Calls",
        "section": "Calls",
        "form": form_values(request.query),
        "default_limit": _PAGE_LIMIT,
        "max_calls": MAX_CALLS,
        "is_filtered": bool(pairs),
        "routes": routes,
        "calls": call_rows(found.lines) if found else (),
        "kept": found.kept if found else None,
        "where": found.where if found else "",
        "lost": found.lost if found else 0,
        "problem": problem,
        "example_url": example_url(str(status["listen"]), status["routes"][0]["path"] if status["routes"] else "/"),
        "live_url": "/console/calls/live" + (f"?{urlencode(live_pairs)}" if live_pairs else ""),
        "can_be_live": not any(name == "until" for name, _ in pairs),
    }
    return Page("calls.html", values)


async def show_call(request: PageRequest) -> Page:
    """Return the page of the call whose request id the path names."""
    request_id = request.path[1]
    try:
        found = await request.backend.instances(HistoryQuery(request_id=request_id, limit=1))
    except Unsearchable as error:
        return Page("error.html", {"title": "The history cannot be searched", "detail": str(error)}, status=503)
    if not found.lines:
        return missing_page("call", request_id, "Calls")
    detail = call_detail(json.loads(found.lines[0]))
    return Page("call.html", {"title": f"Call {request_id}", "section": "Calls", "call": detail})


async def stream_calls(request: PageRequest) -> PageStream:
    """Return the calls that match the query as they end, as rows of the table."""
    try:
        query = parse_query(search_pairs(request.query), now=request.now)
    except BadQuery:
        query = HistoryQuery()
    return PageStream(_row_events(request, query))


async def _row_events(request: PageRequest, query: HistoryQuery) -> AsyncGenerator[bytes, None]:
    yield b"retry: 3000\n\n"
    async with aclosing(request.backend.watch_calls()) as batches:
        async for batch in batches:
            for event in row_events(query, tuple(batch)):
                yield event
            await _next_slot()


async def _next_slot() -> None:
    """Wait for the next of the moments at which all readers get rows: so they get the same ones, rendered once."""
    now = asyncio.get_running_loop().time()
    await asyncio.sleep(SLOT - now % SLOT)


@lru_cache(maxsize=2)
def row_events(query: HistoryQuery, batch: tuple[bytes, ...]) -> list[bytes]:
    """Return the server-sent events of a batch: how many rows are left out, then the newest ones, newest first."""
    lost = sum(json.loads(line)["lines"] for line in batch if line.startswith(_LOST))
    calls = filter_lines(query, [line for line in batch if not line.startswith(_LOST)])
    shown = calls[-MAX_ROWS:]
    lost += len(calls) - len(shown)
    events = [_event("lost", str(lost))] if lost else []
    if shown:
        events.append(_event("calls", "".join(_row_html(line) for line in reversed(shown))))
    return events or [b": nothing\n\n"]


@lru_cache(maxsize=4 * MAX_ROWS)
def _row_html(line: bytes) -> str:
    return render_macro("call_rows.html", "row", call_row(json.loads(line)))


def _event(name: str, data: str) -> bytes:
    """Return one event; every line of its data has the field name (HTML Standard, server-sent events)."""
    lines = "".join(f"data: {line}\n" for line in data.splitlines())
    return f"event: {name}\n{lines}\n".encode()


async def _search(request: PageRequest, pairs: list[tuple[str, str]]) -> tuple[SearchResult | None, str]:
    has_limit = any(name == "limit" for name, _ in pairs)
    try:
        query = parse_query(pairs if has_limit else [*pairs, ("limit", _PAGE_LIMIT)], now=request.now)
        return await request.backend.instances(replace(query, limit=min(query.limit, MAX_CALLS))), ""
    except (BadQuery, Unsearchable) as error:
        return None, str(error)
