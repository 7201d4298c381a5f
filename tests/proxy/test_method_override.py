"""A method that a field or the query names in place of the request's own is held to the route's rules as well."""

import pytest

from gateway.http.request_head import RequestLimits, parse_request_head
from gateway.proxy.headers import REQUEST_RULES
from gateway.proxy.method_override import effective_method, overriding_methods
from tests.fakes.gate import scene
from tests.fakes.upstream import reply

LIMITS = RequestLimits(uri=8192, field=8192, fields=100, head=65536, connections=100)
SPELLINGS = [
    *("X-HTTP-Method-Override", "x-http-method-override", "X_HTTP_METHOD_OVERRIDE", "X-Http_Method-oVERRIDE"),
    *("X-HTTP-Method", "X_HTTP_Method", "X-Method-Override", "X-METHOD_OVERRIDE", "x_method_override"),
]


def overrides(*fields: str, target: str = "/orders/1", removed: tuple[bytes, ...] = ()) -> list[str]:
    head = "\r\n".join([f"GET {target} HTTP/1.1", "Host: gw", *fields])
    return list(
        overriding_methods(
            parse_request_head(head.encode(), LIMITS, REQUEST_RULES).known_fields, target, removed=removed
        )
    )


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_counts(name: str) -> None:
    assert overrides(f"{name}: DELETE") == ["DELETE"]
    assert overrides(f"{name}:patch") == ["PATCH"]


def test_each_of_several_fields_counts() -> None:
    assert overrides("X-HTTP-Method: GET", "X_HTTP_Method: PUT", "X-Method-Override: DELETE, POST") == [
        *("GET", "PUT", "DELETE", "POST"),
    ]


@pytest.mark.parametrize("value", ["DE LETE", "DELETE;q=1", '"DELETE"', "GET, a b", "\xe9", "X" * 65])
def test_a_value_that_is_no_method_is_refused(value: str) -> None:
    known_fields = {b"x-http-method-override": value.encode("latin-1")}
    with pytest.raises(ValueError, match="X-HTTP-Method-Override"):
        overriding_methods(known_fields, "/")


@pytest.mark.parametrize("name", SPELLINGS)
def test_an_empty_field_names_no_method(name: str) -> None:
    for value in ("", " ", "\t", ",", " , "):
        assert overrides(f"{name}:{value}") == []
    assert overrides(f"{name}:", f"{name}: DELETE", f"{name}: ,PUT,") == ["DELETE", "PUT"]


@pytest.mark.parametrize(
    ("query", "methods"),
    [
        ("_method=DELETE", ["DELETE"]),
        ("a=1&_method=delete&b", ["DELETE"]),
        ("a=1;_METHOD=Put", ["PUT"]),
        ("%5Fmethod=DELETE", ["DELETE"]),
        ("_%6deth%4Fd=DE%4cETE", ["DELETE"]),
        ("_method=GET&_method=PATCH", ["GET", "PATCH"]),
        ("_method=+delete", ["DELETE"]),
        ("_method=invoice", []),
        ("_method=", []),
        ("_method", []),
        ("x_method=DELETE", []),
        ("_methods=DELETE", []),
        ("a=_method=DELETE", []),
    ],
)
def test_the_query_parameter_counts_where_it_names_a_method(query: str, methods: list[str]) -> None:
    assert overrides(target=f"/orders/1?{query}") == methods
    assert overrides(target=f"/orders/{query}") == []


def test_a_field_that_does_not_go_out_does_not_count() -> None:
    assert overrides("X_HTTP_Method: PUT", removed=(b"x-http-method",)) == []


@pytest.mark.parametrize(
    ("method", "named", "effective"),
    [("GET", [], "GET"), ("GET", ["HEAD"], "GET"), ("GET", ["HEAD", "PUT"], "PUT"), ("POST", ["GET"], "POST")],
)
def test_one_unsafe_method_makes_the_request_unsafe(method: str, named: list[str], effective: str) -> None:
    assert effective_method(method, named) == effective


# On the wire --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPELLINGS)
@pytest.mark.parametrize(("method", "value"), [("GET", "DELETE"), ("GET", "patch"), ("HEAD", "POST"), ("GET", "TRACE")])
async def test_a_route_refuses_a_method_that_a_field_names(name: str, method: str, value: str) -> None:
    async with scene(route={"methods": ["GET"]}) as at:
        caller = await at.gate.caller()
        await caller.send(f"{method} /orders/1 HTTP/1.1\r\nHost: gw\r\n{name}: {value}\r\n\r\n".encode())
        head = await caller.head()
        assert head.startswith(b"HTTP/1.1 405 ")
        assert b"\r\nAllow: GET, HEAD\r\n" in head
        assert at.upstream.connections == 0
        assert at.identity.requests == []


async def test_the_error_names_the_field() -> None:
    async with scene(route={"methods": ["GET"]}) as at:
        _, _, body = await at.gate.get("/orders/1", "X_HTTP_Method: DELETE")
        assert b"`X-HTTP-Method`" in body
        _, _, body = await at.gate.get("/orders/1?_method=DELETE")
        assert b"`_method` in the query" in body
        status, _, body = await at.gate.get("/orders/1", "X-Method-Override: a b")
        assert status == 400
        assert b"`X-Method-Override`" in body


@pytest.mark.parametrize("name", SPELLINGS)
async def test_an_empty_field_changes_nothing(name: str) -> None:
    async with scene(reply(502), route={"methods": ["GET"]}) as at:
        assert (await at.gate.get("/orders/1", f"{name}:"))[0] == 200
        assert len(at.upstream.requests) == 2
        assert f"\r\n{name}:\r\n".encode() in at.upstream.requests[0].head
        assert (await at.gate.get("/orders/1", f"{name}:", f"{name}: DELETE"))[0] == 405


async def test_an_allowed_override_goes_on_as_it_came() -> None:
    async with scene(route={"methods": ["POST", "PATCH"]}) as at:
        assert (await at.gate.post(b"{}", "X-HTTP-Method-Override: PATCH"))[0] == 200
        assert at.upstream.requests[0].field("X-HTTP-Method-Override") == "PATCH"
        assert (await at.gate.post(b"{}", "X-HTTP-Method-Override: PATCH, DELETE"))[0] == 405
        assert (await at.gate.post(b"{}", "X-HTTP-Method-Override: PATCH", "X-HTTP-Method: DELETE"))[0] == 405
        assert len(at.upstream.requests) == 1


@pytest.mark.parametrize("extra", ["X-HTTP-Method-Override: PATCH", "X_METHOD_OVERRIDE: delete"])
async def test_an_overridden_get_is_not_sent_twice(extra: str) -> None:
    async with scene(reply(502), reply(503, b"", "Retry-After: 0")) as at:
        for status in (502, 503):
            assert (await at.gate.get("/orders/1", extra))[0] == status
        assert len(at.upstream.requests) == 2
        assert [record.attempts for record in at.gate.records] == [1, 1]


async def test_the_query_parameter_is_not_sent_twice_either() -> None:
    async with scene(reply(502)) as at:
        assert (await at.gate.get("/orders/1?_method=DELETE"))[0] == 502
        assert len(at.upstream.requests) == 1


async def test_a_get_that_the_route_overrides_is_not_sent_twice() -> None:
    async with scene(reply(502), route={"headers": {"set": {"X-HTTP-Method-Override": "PATCH"}}}) as at:
        assert (await at.gate.get())[0] == 502
        assert len(at.upstream.requests) == 1
    async with scene(reply(502), route={"query": {"set": {"_method": "delete"}}}) as at:
        assert (await at.gate.get())[0] == 502
        assert len(at.upstream.requests) == 1


async def test_an_empty_field_that_the_route_sets_changes_nothing() -> None:
    edits = {"headers": {"set": {"X-HTTP-Method-Override": ""}}, "query": {"set": {"_method": ""}}}
    async with scene(reply(502), route=edits) as at:
        assert (await at.gate.get())[0] == 200
        assert len(at.upstream.requests) == 2


async def test_a_field_that_the_route_removes_is_ignored() -> None:
    async with scene(reply(502), route={"methods": ["GET"], "headers": {"remove": ["X-HTTP-Method"]}}) as at:
        assert (await at.gate.get("/orders/1", "X_HTTP_Method: DELETE"))[0] == 200
        assert len(at.upstream.requests) == 2
        assert at.upstream.requests[0].field("X_HTTP_Method") is None


async def test_an_idempotent_route_still_repeats_it() -> None:
    async with scene(reply(502), route={"idempotent": True}) as at:
        assert (await at.gate.get("/orders/1", "X-HTTP-Method: PUT"))[0] == 200
        assert len(at.upstream.requests) == 2


async def test_a_cached_head_keeps_its_decision() -> None:
    async with scene(*[reply(502)] * 2) as at:
        caller = await at.gate.caller()
        for _ in range(2):
            await caller.send(b"GET /orders/1 HTTP/1.1\r\nHost: gw\r\nX-HTTP-Method: PUT\r\n\r\n")
            assert (await caller.reply())[0] == 502
        assert len(at.upstream.requests) == 2
