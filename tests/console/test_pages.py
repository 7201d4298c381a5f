"""The HTML of each page, from recorded documents: complete, valid, and with every value escaped."""

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from urllib.parse import parse_qsl, quote

import pytest

from gateway.admin.console_backend import ConfigurationBlock, ReloadOutcome, Series, TokenClaims, TokenFetch
from gateway.config.console_model import Role
from gateway.console.console import find_page
from gateway.console.console_responses import ResponseFactory
from gateway.console.page import Page, PageDocument, PageRequest, Viewer
from gateway.console.pages.call_pages import MAX_ROWS, row_events
from gateway.console.pages.caller_page import show_callers
from gateway.console.rendering import TemplateRenderer
from gateway.console.roles import may_act
from gateway.history.query import HistoryQuery
from tests.console.recorded_gateway import NOW, RecordedGateway, recorded_configuration

TOKEN = "csrf-token-of-the-session"
CALL = "fc0e2b9b84513fa0dbcf054132fed723"
PAGES = (
    "", "credentials/orders-app", "credentials/finance-clerk", "routes", "routes/orders", "routes/archive",
    "services/acme", "calls", f"calls/{CALL}", "callers", "usage", "configuration", "routes/unknown",
    "credentials/unknown", "services/unknown", "calls/unknown",
)  # fmt: skip
VOID = {"meta", "link", "input", "br", "wbr", "path"}
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;"


class Outline(HTMLParser):
    """The elements of a page, and whatever is not well-formed in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.problems: list[str] = []
        self.ids: list[str] = []
        self.tags: list[tuple[str, Mapping[str, str | None]]] = []
        self.feed(text)
        self.close()
        self.problems += [f"{tag} is not closed" for tag in self.open]
        self.problems += [f"id {name} occurs twice" for name in {one for one in self.ids if self.ids.count(one) > 1}]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open[-1] != tag:
            self.problems.append(f"</{tag}> closes {self.open[-1:]}, line {self.getpos()[0]}")
        else:
            self.open.pop()

    def values(self, tag: str, attribute: str) -> list[str]:
        return [attrs[attribute] or "" for name, attrs in self.tags if name == tag and attribute in attrs]


async def render(gate: RecordedGateway, path: str, *, role: Role = "admin", is_fragment: bool = False) -> str:
    """The HTML of the page at `/console/PATH?QUERY`."""
    path, _, query = path.partition("?")
    segments = tuple(path.split("/")) if path else ()
    handler = find_page(segments)
    assert handler is not None
    viewer = Viewer("jane.doe@example.com", role, TOKEN)
    pairs = dict(parse_qsl(query))
    answer = await handler(PageRequest(gate, viewer, segments, pairs, is_fragment, NOW, "http://127.0.0.1:9090"))
    if isinstance(answer, PageDocument):
        return answer.body.decode()
    assert isinstance(answer, Page)
    values = {"viewer": viewer, "may": partial(may_act, role)}
    return TemplateRenderer().render(answer, is_fragment=is_fragment, values=values).decode()


def full_gateway() -> RecordedGateway:
    """One that has something to show in every part of every page."""
    claims = TokenClaims(NOW - 10, NOW + 3590, {"sub": "sandbox-app", "scope": "urn:opc:resource:consumer::all"})
    fetches = (
        TokenFetch(NOW - 10, 0.04, "ok", "renewal"),
        TokenFetch(NOW - 70, 0.03, "refused", "caller", "invalid_client", "invalid_client: authentication failed"),
    )
    return RecordedGateway(claims=claims, fetches=fetches)


@pytest.mark.parametrize("path", PAGES)
async def test_every_page_is_well_formed(path: str) -> None:
    text = await render(full_gateway(), path)
    outline = Outline(text)
    assert outline.problems == []
    tags = [tag for tag, _ in outline.tags]
    assert tags.count("h1") == 1
    assert tags.count("main") == 1
    assert tags.count("title") == 1
    for labelled in outline.values("section", "aria-labelledby"):
        assert labelled in outline.ids


@pytest.mark.parametrize("path", PAGES)
async def test_a_fragment_is_the_content_alone(path: str) -> None:
    text = await render(full_gateway(), path, is_fragment=True)
    assert Outline(text).problems == []
    assert "<html" not in text
    assert text.count("<h1") == 1


@pytest.mark.parametrize("path", PAGES)
async def test_an_empty_gateway_has_every_page(path: str) -> None:
    gate = RecordedGateway(calls=(), one_series=Series(1), metrics_text=b"")
    gate.status_document |= {"routes": [], "credentials": {}, "services": {}, "caller_limits": {}}
    gate.configuration_view = replace(recorded_configuration(), blocks=(), last_reload=None)
    assert Outline(await render(gate, path)).problems == []


@pytest.mark.parametrize("path", ["", "routes", "calls", "callers", "configuration", "usage"])
async def test_hostile_texts_are_escaped_everywhere(path: str) -> None:
    text = await render(hostile_gateway(), path)
    assert_escaped(text)


async def test_hostile_names_have_pages_of_their_own() -> None:
    gate = hostile_gateway()
    for page in ("credentials", "routes", "services", "calls"):
        handler = find_page((page, HOSTILE))
        assert handler is not None
        viewer = Viewer(HOSTILE, "admin", TOKEN)
        answer = await handler(PageRequest(gate, viewer, (page, HOSTILE), {}, False, NOW, "http://x"))  # noqa: FBT003
        assert isinstance(answer, Page)
        assert answer.status == 200
        assert_escaped(TemplateRenderer().render(answer, is_fragment=False, values={"viewer": viewer}).decode())


async def test_search_fields_repeat_hostile_texts_escaped() -> None:
    for key in ("id", "route", "caller", "status", "since"):
        assert_escaped(await render(RecordedGateway(), f"calls?{key}={quote(HOSTILE)}"))


async def test_live_rows_are_escaped_and_keep_their_lines_apart() -> None:
    gate = hostile_gateway()
    gate.batches = (gate.calls[:5], (b'{"event":"lost","lines":3}\n',))
    handler = find_page(("calls", "live"))
    assert handler is not None
    viewer = Viewer("x", "viewer", TOKEN)
    answer = await handler(PageRequest(gate, viewer, ("calls", "live"), {}, False, NOW, "http://x"))  # noqa: FBT003
    assert not isinstance(answer, Page | PageDocument)
    events = b"".join([event async for event in answer.events]).decode()
    assert_escaped(events)
    assert "event: lost\ndata: 3\n\n" in events
    assert all(line.split(":")[0] in {"retry", "event", "data", ""} for line in events.splitlines())


async def test_live_rows_follow_the_search() -> None:
    gate = RecordedGateway()
    gate.batches = (gate.calls,)
    handler = find_page(("calls", "live"))
    assert handler is not None
    viewer = Viewer("x", "viewer", TOKEN)
    request = PageRequest(gate, viewer, ("calls", "live"), {"route": "slow"}, False, NOW, "http://x")  # noqa: FBT003
    answer = await handler(request)
    assert not isinstance(answer, Page | PageDocument)
    events = b"".join([event async for event in answer.events]).decode()
    assert events.count("<tr>") == 1
    assert "/slow/1" in events


def test_a_reader_gets_the_newest_rows_and_the_number_of_others() -> None:
    batch = (*RecordedGateway().calls[::-1], b'{"event":"lost","lines":3}\n')  # oldest first
    lost, rows = (event.decode() for event in row_events(HistoryQuery(), batch))
    assert lost == f"event: lost\ndata: {len(batch) - 1 - MAX_ROWS + 3}\n\n"
    assert rows.count("<tr>") == MAX_ROWS
    newest = [json.loads(line)["request_id"] for line in RecordedGateway().calls[:MAX_ROWS]]
    assert re.findall(r"/console/calls/(\w+)", rows) == newest


async def test_a_problem_shows_its_meaning_and_its_remedy() -> None:
    text = await render(RecordedGateway(), "")
    assert "A person must sign in once." in text
    assert "Press Sign in on the page of the credential, or Invite" in text
    assert "sign-in: no person has signed in yet" in text
    # The route of a service that is down has no second entry.
    assert text.count('class="problem bad"') == 2


async def test_a_route_shows_who_may_call_it_and_what_opens_it() -> None:
    text = await render(RecordedGateway(), "routes/orders")
    assert '<span class="what">erp, lab</span>' in text
    assert "must prove who they are" in text
    assert '<a href="/console/credentials/orders-app">orders-app</a>' in text
    assert "0 of 180 places taken" in text
    assert "Everyone" in await render(RecordedGateway(), "routes/archive")


async def test_a_service_shows_its_places_routes_and_charts() -> None:
    assert '<a href="/console/services/acme">acme</a>' in await render(RecordedGateway(), "")
    assert '<a href="/console/services/acme">acme</a>' in await render(RecordedGateway(), "routes/orders")
    gate = RecordedGateway()
    gate.one_series = replace(gate.one_series, running=(7,) * 120, waiting=(3,) * 120)
    text = await render(gate, "services/acme")
    assert "of 180 places" in text
    assert '<a href="/console/routes/orders">orders</a>' in text
    assert '<a href="/console/routes/archive">' not in text  # its upstream is another service
    source = "/console/series?subject=service&amp;name=acme&amp;range=15m"
    assert text.count(f'data-source="{source}"') == 4
    assert 'data-chart="places"' in text
    assert '<td class="number">7</td><td class="number">3</td></tr>' in text
    assert 'href="/console/services/acme?range=24h"' in text


async def test_only_an_operator_closes_the_circuit_of_a_service() -> None:
    gate = RecordedGateway()
    gate.status_document["services"]["gone"]["circuit"] |= {"state": "open", "open_for_s": 12}
    assert 'action="/console/actions/close-breaker"' in await render(gate, "services/gone", role="operator")
    assert "next trial in 12" in await render(gate, "services/gone", role="viewer")
    assert "/console/actions/close-breaker" not in await render(gate, "services/gone", role="viewer")
    assert "/console/actions/close-breaker" not in await render(gate, "services/acme", role="operator")


async def test_the_list_of_routes_is_filtered_and_has_pages() -> None:
    gate = RecordedGateway()
    first = gate.status_document["routes"][0]
    gate.status_document["routes"] += [{**first, "name": f"more-{at}"} for at in range(120)]
    text = await render(gate, "routes?q=more")
    assert "1 to 50 of 120" in text
    assert 'href="/console/routes?q=more&amp;page=2" rel="next"' in text
    assert "101 to 120 of 120" in await render(gate, "routes?q=more&page=3")
    assert "1 to 50 of 120" in await render(gate, f"routes?q=more&page={'9' * 5000}")
    assert "No route matches" in await render(gate, "routes?q=nothing-like-this")
    problems = await render(RecordedGateway(), "routes?state=problem")
    assert problems.count('<th scope="row">') == 2  # one fails, and the credential of the other needs a sign-in


async def test_long_lists_are_cut_and_can_be_filtered() -> None:
    gate = RecordedGateway()
    view = recorded_configuration()
    block = view.blocks[1]
    more = tuple(replace(block, name=f"callers.c{at:03}") for at in range(300))
    gate.configuration_view = replace(view, blocks=(*view.blocks, *more))
    text = await render(gate, "configuration")
    assert f"200 of {len(view.blocks) + 300}" in text
    assert text.count("<details") == 200
    assert (await render(gate, "configuration?q=c29")).count("<details") == 10
    assert "No block matches" in await render(gate, "configuration?q=nothing-like-this")
    text = await render(gate, "callers")
    assert text.count('<th scope="row">') == 200
    assert (await render(gate, "callers?q=c29")).count('<th scope="row">') == 10
    assert "No caller matches" in await render(gate, "callers?q=nothing-like-this")
    first = gate.status_document["credentials"]["orders-app"]
    gate.status_document["credentials"] |= {f"app-{at}": first for at in range(200)}
    text = await render(gate, "")
    assert text.count('<article class="card"') == 100
    assert text.index('aria-label="Credential finance-clerk"') < text.index('aria-label="Credential app-')


async def test_a_page_shows_at_most_200_calls() -> None:
    gate = RecordedGateway()
    gate.calls *= 10
    text = await render(gate, "calls?limit=10000")
    assert text.count('<td class="nowrap">') == 200
    assert "200 shown, the most that a page shows" in text


async def test_other_tasks_run_while_a_long_page_is_rendered() -> None:
    gate = RecordedGateway()
    gate.calls *= 10
    handler = find_page(("calls",))
    assert handler is not None
    viewer = Viewer("x", "viewer", TOKEN)
    request = PageRequest(gate, viewer, ("calls",), {"limit": "200"}, False, NOW, "http://x")  # noqa: FBT003
    answer = await handler(request)
    assert isinstance(answer, Page)
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count_turns())
    response = await ResponseFactory().long_page(answer, {"viewer": viewer})
    counting.cancel()
    assert isinstance(response.body, bytes)
    assert response.body.count(b"<tr>") == 201
    assert turns >= 5


async def test_a_quiet_caller_has_its_last_call_from_the_history() -> None:
    gate = RecordedGateway()
    gate.calls = tuple(line for line in gate.calls if b'"caller":"lab"' in line)
    text = await render(gate, "callers")
    assert "Active" in text
    later = Viewer("x", "viewer", TOKEN)
    answer = await show_callers(PageRequest(gate, later, ("callers",), {}, False, NOW + 3600, "http://x"))  # noqa: FBT003
    html = TemplateRenderer().render(answer, is_fragment=False, values={"viewer": later}).decode()
    assert "Active" not in html
    assert "2026-11-30 10:33:45 UTC" in html


async def test_times_are_utc_for_people_without_scripts() -> None:
    text = await render(RecordedGateway(), f"calls/{CALL}")
    title = "2026-11-30 10:33:45 UTC"
    assert f'<time datetime="2026-11-30T10:33:45.619Z" data-form="second" title="{title}">{title}</time>' in text


async def test_one_call_shows_where_its_time_went() -> None:
    text = await render(RecordedGateway(), f"calls/{CALL}")
    assert '<rect class="upstream" x="0.0" y="0" width="999.84" height="28"/>' in text
    assert "hVufeOypEfGJwTfrVE_4XA" in text
    assert 'aria-label="Queue 0 ms, Token wait 0 ms, Upstream 1.00 s, Delivery and the rest 0.16 ms"' in text


async def test_a_gateway_error_has_its_remedy_on_the_page_of_the_call() -> None:
    calls = [json.loads(line) for line in RecordedGateway().calls]
    request_id = next(call["request_id"] for call in calls if call["error"] == "no-route")
    text = await render(RecordedGateway(), f"calls/{request_id}")
    assert "No route is configured for this path." in text
    assert "blame: caller" in text


async def test_a_wrong_search_names_the_parameter_and_the_remedy() -> None:
    text = await render(RecordedGateway(), "calls?status=abc")
    assert "`status` is not a status; write one like 502, or a class like 5xx" in text


async def test_usage_as_csv_is_no_formula() -> None:
    text = await render(RecordedGateway(usage_name='=1+1,"x'), "usage.csv?by=route")
    lines = text.split("\r\n")
    assert lines[0] == "route,calls,messages,peak_hour,peak_messages"
    assert lines[1] == '"\'=1+1,""x",1200,1250,2026-11-30T09:00:00Z,800'
    assert lines[2] == "hello,40,40,2026-11-30T10:00:00Z,40"


async def test_a_chart_gets_its_series_as_json() -> None:
    document = json.loads(await render(RecordedGateway(), "series?subject=route&name=orders&range=15m"))
    assert len(document["times"]) == len(document["rate"]) == len(document["p95"]) == 120
    assert set(document["errors"]) == {"upstream", "identity", "gateway", "caller"}
    assert "detail" in json.loads(await render(RecordedGateway(), "series?subject=other"))


async def test_planted_secrets_appear_on_no_page() -> None:
    gate = full_gateway()
    pages = [await render(gate, path, role="viewer") for path in PAGES]
    assert TOKEN not in "".join(pages)  # a viewer has no form that needs it


def hostile_gateway() -> RecordedGateway:
    """One in which every text that comes from outside is markup."""
    gate = full_gateway()
    status = gate.status_document
    route, credential, service = (
        status["routes"][-1],
        status["credentials"]["finance-clerk"],
        status["services"]["gone"],
    )
    status["routes"].append({**route, "name": HOSTILE, "path": f"/{HOSTILE}/", "credential": HOSTILE})
    explained = (status["routes"][-1]["problem"], credential["problem"], credential["last_error"], service["problem"])
    for document in explained:
        document.update(dict.fromkeys(("seen", "means", "remedy"), HOSTILE))
    status["credentials"][HOSTILE], status["services"][HOSTILE] = credential, service | {"url": f"http://{HOSTILE}"}
    status["store"] = {"ok": False, "kind": "redis", "why": HOSTILE}
    status["names"] = {HOSTILE: {"state": "unresolved"}}
    status["caller_limits"][HOSTILE] = status["caller_limits"]["lab"] | {"problem": {"seen": HOSTILE}}
    record = json.loads(gate.calls[-1])
    texts = ("request_id", "route", "caller", "client", "method", "path", "instance_id", "opc_request_id", "reason")
    record |= dict.fromkeys(texts, HOSTILE) | {"error": HOSTILE, "status": 599, "time": "2026-11-30T10:33:46.999Z"}
    gate.calls = (json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n", *gate.calls)
    gate.usage_name = HOSTILE
    gate.claims = TokenClaims(None, None, {HOSTILE: HOSTILE})
    gate.fetches = (TokenFetch(NOW, 1.0, "refused", "caller", HOSTILE, HOSTILE),)
    gate.configuration_view = replace(
        recorded_configuration(),
        files=(HOSTILE,),
        blocks=(ConfigurationBlock(f"callers.{HOSTILE}", HOSTILE, 1, HOSTILE),),
        last_reload=ReloadOutcome(NOW, ok=False, message=HOSTILE, changed=(HOSTILE,), problems=(HOSTILE,)),
    )
    return gate


def assert_escaped(text: str) -> None:
    """The hostile text is on the page, and none of its elements or attributes."""
    outline = Outline(text)
    assert outline.problems == []
    assert [attrs for tag, attrs in outline.tags if tag == "img" or (tag == "script" and "src" not in attrs)] == []
    assert [attrs for _, attrs in outline.tags if any(name.startswith("on") for name in attrs)] == []
    assert "&lt;script&gt;alert(1)" in text
