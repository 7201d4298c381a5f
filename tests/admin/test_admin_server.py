import asyncio
import json
from typing import Any

import pytest

from gateway.history.interface import HistoryDisabled, SearchResult, Unsearchable
from gateway.history.query import HistoryQuery
from tests.history.call_lines import call_line


async def test_five_paths(port: Any) -> None:
    paths = ("/livez", "/readyz", "/metrics", "/status", "/instances")
    alive, ready, metrics, status, instances = replies = [await port.ask(path) for path in paths]
    assert {each.status for each in replies} == {200}
    assert instances.json == {"instances": [], "kept": 0, "where": "memory", "lost": 0}
    assert instances.head["Content-Type"] == "application/json"
    assert alive.json == {"state": "alive"}
    assert ready.json["credentials"] == {"a": {"state": "ok"}}
    assert metrics.body == b"# HELP a b\n"
    assert metrics.head["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert status.body == b'{\n  "routes": [\n    "orders"\n  ]\n}\n'
    assert status.head["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    "document",
    [
        {"state": "unready", "credentials": {"a": {"state": "no-token", "error": "invalid_client", "remedy": "…"}}},
        {"state": "draining"},
    ],
)
async def test_not_ready_is_503_with_the_cause(port: Any, document: dict[str, Any]) -> None:
    port.backend.answer = (False, document)
    reply = await port.ask("/readyz")
    assert (reply.status, reply.json) == (503, document)


async def test_a_stuck_loop_is_reported(port: Any) -> None:
    port.backend.alive = False
    reply = await port.ask("/livez")
    assert (reply.status, reply.json) == (503, {"state": "stuck"})


@pytest.mark.parametrize("target", ["/orders/1", "/", "/livez/", "/LIVEZ", "/x/../livez", "/%6Civez", "//livez"])
async def test_nothing_else_is_served(port: Any, target: str) -> None:
    reply = await port.ask(target)
    assert reply.status == 404
    assert reply.head["Content-Type"] == "application/problem+json"
    assert reply.json["status"] == 404


async def test_a_query_is_ignored(port: Any) -> None:
    assert (await port.ask("/livez?verbose")).status == 200


async def test_instances_are_searched_by_parameters(port: Any) -> None:
    lines = (call_line(2), call_line(1))
    port.backend.found = SearchResult(lines, 9, "file", lost=1)
    target = (
        "/instances?id=a%2Fb&request_id=r&route=orders&client=%3A%3A1&caller=erp&status=5xx&since=1970-01-01&limit=3"
    )
    reply = await port.ask(target)
    assert reply.json == {"instances": [json.loads(line) for line in lines], "kept": 9, "where": "file", "lost": 1}
    assert reply.head["Cache-Control"] == "no-store"
    wanted = HistoryQuery(*("a/b", "r", "orders", "::1"), caller="erp", status="5xx", since=0, limit=3)
    assert port.backend.queries == [wanted]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("status=5x", "`status` is not a status; write one like 502, or a class like 5xx"),
        ("statu=502", "`statu` is unknown; did you mean `status`?"),
        ("limit=0", "`limit` must be a number from 1 to 10000; write one like 50"),
        ("since=yesterday", "`since` is not a time; write one like 2026-01-31T12:00:00Z, or an age like 1h"),
        ("id=", "`id` is empty"),
        ("id=a&id=b", "`id` occurs twice"),
        ("verbose", "`verbose` is unknown"),
        ("%ff%0d%0aX=1", "a parameter is unknown"),
    ],
)
async def test_a_wrong_parameter_is_named_with_its_remedy(port: Any, query: str, message: str) -> None:
    reply = await port.ask(f"/instances?{query}")
    assert (reply.status, reply.head["Content-Type"]) == (400, "application/problem+json")
    assert reply.json["detail"].startswith(message)
    assert port.backend.queries == []


@pytest.mark.parametrize(("failure", "status"), [(HistoryDisabled(), 404), (Unsearchable("the file is held"), 503)])
async def test_what_cannot_be_searched_is_a_problem(port: Any, failure: Exception, status: int) -> None:
    port.backend.failure = failure
    reply = await port.ask("/instances")
    assert (reply.status, reply.json["detail"]) == (status, str(failure))


async def test_instances_are_for_those_who_may_call(port: Any) -> None:
    assert (await port.ask("/instances", "Host: localhost", "Origin: http://localhost")).status == 403
    assert (await port.ask("/instances", method="POST")).status == 405
    port.refused = "no"
    assert (await port.ask("/instances?limit=0")).status == 403
    assert port.backend.queries == []


async def test_head_is_get_without_the_body(port: Any) -> None:
    full, head = await port.ask("/status"), await port.ask("/status", method="HEAD")
    assert head.status == 200
    assert head.body == b""
    assert head.head["Content-Length"] == str(len(full.body))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
async def test_the_port_is_read_only(port: Any, method: str) -> None:
    reply = await port.ask("/status", method=method)
    assert reply.status == 405
    assert reply.head["Allow"] == "GET, HEAD"


async def test_quit_requests_a_stop(quit_port: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        reply = await quit_port.ask("/quit", method="POST")
    assert (reply.status, reply.json) == (202, {"state": "draining"})
    assert quit_port.stops_requested == 1
    assert [record.event for record in caplog.records if hasattr(record, "event")] == ["quit-requested"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "OPTIONS"])
async def test_only_post_quits(quit_port: Any, method: str) -> None:
    reply = await quit_port.ask("/quit", method=method)
    assert (reply.status, reply.head["Allow"]) == (405, "POST")
    assert quit_port.stops_requested == 0


async def test_without_the_setting_there_is_no_quit(port: Any) -> None:
    reply = await port.ask("/quit", method="POST")
    assert reply.status == 404
    assert "/quit" not in reply.json["detail"]


@pytest.mark.parametrize(
    "field",
    ["Origin: http://127.0.0.1:9090", "Origin: null", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site"],
)
async def test_a_web_page_cannot_quit(quit_port: Any, field: str) -> None:
    assert (await quit_port.ask("/quit", "Host: localhost", field, method="POST")).status == 403
    assert quit_port.stops_requested == 0


async def test_a_rejected_caller_cannot_quit(quit_port: Any) -> None:
    quit_port.refused = "this Host is not a name of the gateway"
    assert (await quit_port.ask("/quit", "Host: evil.example", method="POST")).status == 403
    assert quit_port.stops_requested == 0


@pytest.mark.parametrize(("is_reloaded", "status", "kind"), [(True, 200, "json"), (False, 409, "problem+json")])
async def test_reload_answers_with_its_outcome(port: Any, is_reloaded: bool, status: int, kind: str) -> None:  # noqa: FBT001
    port.backend.answer = (is_reloaded, {"state": "any"})
    reply = await port.ask("/reload", method="POST")
    assert (reply.status, reply.json["state"]) == (status, "any")
    assert reply.head["Content-Type"] == f"application/{kind}"


async def test_reload_works_on_a_unix_socket(unix_port: Any) -> None:
    assert (await unix_port.ask("/reload", method="POST")).status == 200
    assert unix_port.reloads_requested == 1


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
async def test_only_post_reloads(port: Any, method: str) -> None:
    reply = await port.ask("/reload", method=method)
    assert (reply.status, reply.head["Allow"]) == (405, "POST")
    assert port.reloads_requested == 0


@pytest.mark.parametrize("field", ["Origin: http://127.0.0.1:9090", "Sec-Fetch-Site: cross-site"])
async def test_a_web_page_cannot_reload(port: Any, field: str) -> None:
    assert (await port.ask("/reload", "Host: localhost", field, method="POST")).status == 403
    assert port.reloads_requested == 0


async def test_a_caller_is_checked_by_address_and_host(port: Any) -> None:
    port.refused = "this Host is not a name of the gateway"
    reply = await port.ask("/livez", "Host: evil.example")
    assert reply.status == 403
    assert reply.json["detail"] == port.refused
    assert port.seen == [("127.0.0.1", "evil.example")]


async def test_a_refused_caller_does_not_learn_what_is_there(port: Any) -> None:
    port.refused = "no"
    assert {(await port.ask(target)).status for target in ("/status", "/nothing")} == {403}


@pytest.mark.parametrize(
    "field", ["Origin: http://localhost", "Origin: null", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site"]
)
async def test_a_page_in_a_browser_gets_nothing(port: Any, field: str) -> None:
    assert (await port.ask("/status", "Host: localhost", field)).status == 403


async def test_an_operator_may_type_the_address_into_a_browser(port: Any) -> None:
    assert (await port.ask("/status", "Host: localhost", "Sec-Fetch-Site: none")).status == 200


async def test_two_host_fields_are_rejected(port: Any) -> None:
    reply = await port.ask("/livez", "Host: localhost", "Host: evil.example")
    assert reply.status in {400, 403}
    assert port.seen == []


async def test_without_a_host_the_judge_decides(port: Any) -> None:
    reply = await port.send(b"GET /livez HTTP/1.0\r\n\r\n")
    assert reply.status == 200
    assert port.seen == [("127.0.0.1", "")]


@pytest.mark.parametrize("target", ["/livez", "/nothing", "/status"])
async def test_no_answer_names_a_version(port: Any, target: str) -> None:
    port.backend.failure = RuntimeError("the secret cause")
    reply = await port.ask(target)
    assert reply.head["Server"] == "oic-gateway"
    assert reply.head["Cache-Control"] == "no-store"
    assert b"secret" not in reply.body


async def test_a_malformed_request_gets_a_problem_without_a_version(port: Any) -> None:
    reply = await port.send(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nBad Field: Bearer abcdefgh\r\n\r\n")
    assert reply.status == 400
    assert reply.head["Server"] == "oic-gateway"
    assert reply.head["Content-Type"] == "application/problem+json"
    assert b"abcdefgh" not in reply.body


async def test_a_failure_is_described_in_the_log_only(port: Any, caplog: pytest.LogCaptureFixture) -> None:
    port.backend.failure = RuntimeError("the cause")
    reply = await port.ask("/status")
    assert reply.status == 500
    assert b"the cause" not in reply.body
    (event,) = [each for each in caplog.records if each.name == "gateway.admin.admin_server"]
    assert event.exc_info is not None
    assert str(event.exc_info[1]) == "the cause"
    assert (await port.ask("/livez")).status == 200


async def test_polls_at_the_same_time_share_one_evaluation(port: Any) -> None:
    port.backend.open.clear()
    polls = [asyncio.create_task(port.ask("/readyz")) for _ in range(5)]
    await port.arrived(5)
    port.backend.open.set()
    assert {reply.status for reply in await asyncio.gather(*polls)} == {200}
    assert port.backend.status_requests == 1
    await port.ask("/readyz")
    assert port.backend.status_requests == 2


async def test_a_poll_that_leaves_cancels_no_other(port: Any) -> None:
    port.backend.open.clear()
    leaver = asyncio.create_task(port.ask("/readyz"))
    await port.arrived(1)
    stayer = asyncio.create_task(port.ask("/readyz"))
    await port.arrived(1)
    leaver.cancel()
    await asyncio.wait([leaver])
    port.backend.open.set()
    assert (await stayer).status == 200
    assert port.backend.status_requests == 1


async def test_closing_ends_a_poll_that_hangs(port: Any) -> None:
    port.backend.open.clear()
    poll = asyncio.create_task(port.ask("/readyz"))
    await port.arrived(1)
    await asyncio.wait_for(port.server.close(), 5)
    await asyncio.wait([poll])


async def test_a_unix_socket_has_no_peer_address(unix_port: Any) -> None:
    assert (await unix_port.ask("/livez")).status == 200
    assert unix_port.seen == [(None, "localhost")]


async def test_the_address_contains_the_chosen_port(port: Any) -> None:
    host, _, number = port.address.rpartition(":")
    assert host == "127.0.0.1"
    assert int(number) > 0


_FORWARDED = [
    "X-Forwarded-For: 203.0.113.9",
    "x-forwarded-proto: https",
    "Forwarded: for=203.0.113.9",
    "Via: 1.1 proxy",
]


@pytest.mark.parametrize("field", _FORWARDED)
async def test_a_proxy_cannot_pass_on_a_reload_or_a_stop(quit_port: Any, field: str) -> None:
    for target in ("/reload", "/quit"):
        assert (await quit_port.ask(target, "Host: localhost", field, method="POST")).status == 403
        reply = await quit_port.send(f"POST {target} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        assert reply.status == 403
    assert (quit_port.reloads_requested, quit_port.stops_requested) == (0, 0)


@pytest.mark.parametrize("field", _FORWARDED)
async def test_a_proxy_reaches_no_endpoint_by_the_host_of_the_console(port: Any, field: str) -> None:
    await port.ask("/status")
    assert port.accepts_console_host
    await port.ask("/status", "Host: localhost", field)
    assert not port.accepts_console_host
