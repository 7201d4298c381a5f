"""What a route changes of a request: fields and parameters, with everything else as it came."""

import pytest

from gateway.proxy.request_edits import RequestEdits
from tests.fakes.gate import scene

FACTS = {
    "request_id": "r-1",
    "route": "orders",
    "client": "10.0.0.9",
    "method": "GET",
    "path": "/orders/1",
    "host": "gw:8080",
}


def edits(**settings: object) -> RequestEdits:
    whole: dict[str, object] = {"fields": (), "removed": (), "parameters": (), **settings}
    compiled = RequestEdits.compile(**whole)  # type: ignore[arg-type] # a table of cases
    assert compiled is not None
    return compiled


def test_a_route_that_changes_nothing_has_no_edits() -> None:
    assert RequestEdits.compile(fields=(), removed=(), parameters=()) is None


def test_a_set_field_replaces_the_callers_in_any_case() -> None:
    ours = edits(fields=(("X-User", "${client}/${route}"),))
    lines = [b"Accept: */*", b"x-user: root", b"X-USER: root", b"X_User: root", b"X-Users: many"]
    assert ours.edit_lines(lines, FACTS) == [b"Accept: */*", b"X-Users: many", b"X-User: 10.0.0.9/orders"]


def test_what_is_removed_is_left_out_in_any_spelling() -> None:
    ours = edits(removed=("X-Debug-Level",))
    assert ours.edit_lines([b"x-debug-level: 1", b"X_DEBUG-level: 1", b"X_Debug_Level: 1", b"X-Debug: 1"], FACTS) == [
        b"X-Debug: 1",
    ]


def test_a_set_field_replaces_the_callers_with_underscores() -> None:
    ours = edits(fields=(("X-User-Name", "gateway"),))
    lines = [b"X-User_Name: root", b"X_User-Name: root", b"x_user_name: root"]
    assert ours.edit_lines(lines, FACTS) == [b"X-User-Name: gateway"]


def test_every_variable_is_filled() -> None:
    names = ("request_id", "route", "client", "method", "path", "host")
    ours = edits(fields=(("X-All", " ".join(f"${{{name}}}" for name in names)),))
    assert ours.edit_lines([], FACTS) == [b"X-All: r-1 orders 10.0.0.9 GET /orders/1 gw:8080"]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/a", "/a?integrationInstance=acme"),
        ("/a?", "/a?integrationInstance=acme"),
        ("/a?x=1", "/a?x=1&integrationInstance=acme"),
        ("/a?x=%7e&&y=a+b&x=2", "/a?x=%7e&&y=a+b&x=2&integrationInstance=acme"),
        ("/a?integrationInstance=other&x=1", "/a?x=1&integrationInstance=acme"),
        ("/a?integration%49nstance=other", "/a?integrationInstance=acme"),
        ("/a?integrationInstance", "/a?integrationInstance=acme"),
        ("/a?integrationinstance=other", "/a?integrationinstance=other&integrationInstance=acme"),
        ("/a?q={timewindow:'1h'}", "/a?q={timewindow:'1h'}&integrationInstance=acme"),
        ("/a?x=?&y=/", "/a?x=?&y=/&integrationInstance=acme"),
    ],
)
def test_a_set_parameter_leaves_the_rest_of_the_query_unchanged(target: str, expected: str) -> None:
    assert edits(parameters=(("integrationInstance", "acme"),)).edit_target(target, FACTS) == expected


def test_a_value_cannot_end_the_parameter_or_the_request_line() -> None:
    ours = edits(parameters=(("a b", "1&x=2 HTTP/1.1\r\n#é${path}"),))
    assert ours.edit_target("/", FACTS) == "/?a%20b=1%26x%3D2%20HTTP%2F1.1%0D%0A%23%C3%A9%2Forders%2F1"


async def test_on_the_wire() -> None:
    route = {
        "headers": {"set": {"X-Caller": "${client} ${request_id}", "User-Agent": "gw"}, "remove": ["X-Debug"]},
        "query": {"set": {"integrationInstance": "acme"}},
    }
    async with scene(route=route) as at:
        caller = await at.gate.caller()
        await caller.send(
            b"GET /orders/1?x=%7C HTTP/1.1\r\nHost: gw\r\nX-Debug: 1\r\nuser-agent: old\r\nX-Request-Id: abc\r\n\r\n"
        )
        assert (await caller.reply())[0] == 200
        [request] = at.upstream.requests
        assert request.target.endswith("?x=%7C&integrationInstance=acme")
        assert request.field("X-Caller") == "127.0.0.1 abc"
        assert request.field("User-Agent") == "gw"
        assert request.field("X-Debug") is None
        assert at.gate.records[0].path == "/orders/1"


async def test_a_cached_head_is_edited_for_each_request() -> None:
    async with scene(route={"headers": {"set": {"X-Id": "${request_id}"}}}) as at:
        caller = await at.gate.caller()
        for _ in range(3):
            await caller.send(b"GET /orders/1 HTTP/1.1\r\nHost: gw\r\n\r\n")
            assert (await caller.reply())[0] == 200
        seen = [(request.field("X-Id"), request.field("X-Request-Id")) for request in at.upstream.requests]
        assert len({one for one, _ in seen}) == 3
        assert all(one == other for one, other in seen)


async def test_defaults_are_added_name_by_name() -> None:
    defaults = {"headers": {"set": {"X-A": "far", "X-B": "far"}, "remove": ["X-C"]}, "query": {"set": {"p": "far"}}}
    route = {"headers": {"set": {"x-a": "near", "X-C": "near"}}, "query": {"set": {"q": "near"}}}
    async with scene(defaults=defaults, route=route) as at:
        await at.gate.get()
        [request] = at.upstream.requests
        assert [request.field(name) for name in ("X-A", "X-B", "X-C")] == ["near", "far", "near"]
        assert request.target.endswith("?p=far&q=near")
