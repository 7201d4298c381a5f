"""Swagger and OpenAPI in the gateway's names: they lead to the gateway's routes."""

import json
import tracemalloc

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV2SpecValidator, OpenAPIV30SpecValidator

from gateway.proxy.rewriting import RequestContext, RewritePlan, Rewriter, UrlMap, make_plan
from gateway.proxy.rewriting.swagger import LIMIT
from gateway.proxy.routing import UpstreamUrl
from tests.fakes.documents import FLOW, GATE, HERE, HOST, NAMES, U, rewrite, text

SWAGGER = {
    "swagger": "2.0",
    "info": {"title": "host", "version": "1"},
    "host": f"{HOST}:443",
    "basePath": FLOW,
    "schemes": ["https"],
    "paths": {"/x": {"get": {"responses": {"200": {"description": f"at {U}/x"}}}}},
    "securityDefinitions": {"o": {"type": "oauth2", "flow": "application", "tokenUrl": f"{U}/t", "scopes": {}}},
}
OPENAPI = {
    "openapi": "3.0.3",
    "info": {"title": "a", "version": "1"},
    "servers": [{"url": U}, {"url": FLOW + "/"}],
    "paths": {f"{FLOW}/x": {"get": {"responses": {"200": {"description": "d"}}}}},
}


@settings(max_examples=40, deadline=None)
@given(st.permutations(list(SWAGGER)), st.sampled_from([None, 2]), st.lists(st.integers(0, 700), max_size=8))
def test_swagger_members_are_replaced_together_in_any_order(
    order: list[str], indent: int | None, cuts: list[int]
) -> None:
    body = json.dumps({key: SWAGGER[key] for key in order}, indent=indent)
    OpenAPIV2SpecValidator(json.loads(body)).validate()
    seen = json.loads(rewrite(body.encode(), cuts=[cut for cut in cuts if cut < len(body)]))
    OpenAPIV2SpecValidator(seen).validate()
    assert (seen["host"], seen["basePath"], seen["schemes"]) == ("gw:8080", "/orders", ["http"])
    kept = {**SWAGGER, "host": "gw:8080", "basePath": "/orders", "schemes": ["http"]}
    kept["paths"] = {"/x": {"get": {"responses": {"200": {"description": f"at {GATE}/orders/x"}}}}}
    assert seen == kept
    assert list(seen) == order


@pytest.mark.parametrize(
    ("kind", "beginning", "size"),
    [
        ("json", b'{"basePath": "/a"', LIMIT),
        ("json", b'{"schemes": ["https"]', LIMIT),
        ("json", b'{"basePath": "a"', 64),
        ("json", b'{"schemes": ["soap"]', 64),
        ("json", b'{"host": "other.example"', 64),
        ("json", b'{"a": {"basePath": "/a"}', 64),
        ("json", b'{"swagger": "2.0"', 64),
        ("json", b'{"id": 1, "basePath": "/a"', 64),
        ("json", b'[{"basePath": "/a"', 64),
        ("yaml", b"a: b\n", LIMIT),
    ],
)
def test_only_what_may_be_a_description_is_held(kind: str, beginning: bytes, size: int) -> None:
    rewriter = Rewriter(RewritePlan(kind, "utf-8", ""), NAMES, HERE)
    most = behind = 0
    for piece in (beginning, *[b', "x-a": "yyyyyy"\n' * 100] * 1000):
        behind += len(piece) - sum(len(part) for step in rewriter.feed([piece]) for part in step)
        most = max(most, behind)
    assert size - 2048 < most <= size
    assert behind <= 64


@pytest.mark.parametrize("kind", ["json", "yaml"])
def test_a_held_document_in_tiny_pieces_needs_little_memory(kind: str) -> None:
    data = b'{"basePath": "/a", "x-b": "' + b"y" * 40_000
    rewriter = Rewriter(RewritePlan(kind, "utf-8", ""), NAMES, HERE)
    passed = 0
    tracemalloc.start()
    try:
        for at in range(0, len(data), 2):
            passed += sum(len(piece) for step in rewriter.feed([data[at : at + 2]]) for piece in step)
        memory = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert passed < 10
    assert memory < 3 * len(data)


@pytest.mark.parametrize("flow", [None, True])
def test_swagger_and_openapi_in_yaml_are_rewritten(*, flow: bool | None) -> None:
    body = yaml.safe_dump(SWAGGER, sort_keys=False, default_flow_style=flow)
    seen = yaml.safe_load(text(body, "yaml"))
    if flow is None:
        assert (seen["host"], seen["basePath"], seen["schemes"]) == ("gw:8080", "/orders", ["http"])
        OpenAPIV2SpecValidator(seen).validate()
    assert seen["securityDefinitions"] == SWAGGER["securityDefinitions"]
    document = yaml.safe_load(text(yaml.safe_dump(OPENAPI), "yaml"))
    assert document == {**OPENAPI, "servers": [{"url": f"{GATE}/orders"}, {"url": "/orders/"}]}


def test_servers_of_openapi_are_rewritten_and_paths_stay() -> None:
    seen = json.loads(text(json.dumps(OPENAPI)))
    OpenAPIV30SpecValidator(seen).validate()
    assert seen == {**OPENAPI, "servers": [{"url": f"{GATE}/orders"}, {"url": "/orders/"}]}


def _swagger(**members: object) -> str:
    return json.dumps({"swagger": "2.0", **members}, separators=(",", ":"))


@pytest.mark.parametrize(
    ("members", "renamed"),
    [
        ({"host": HOST, "basePath": "/ic/api"}, {"host": "gw:8080", "basePath": "/api"}),
        ({"basePath": FLOW + "/", "schemes": ["https", "http"]}, {"basePath": "/orders/", "schemes": ["http"]}),
        ({"host": "other.example:8443", "basePath": "/ic/ws/x/y"}, {"host": "gw:8080", "basePath": "/other/y"}),
        ({"host": "else.example", "basePath": FLOW}, {"host": "else.example", "basePath": FLOW}),
        ({"host": HOST, "basePath": "/"}, {"host": HOST, "basePath": "/"}),
        ({"schemes": ["https"]}, {"schemes": ["https"]}),
        ({"info": {"host": HOST, "basePath": FLOW}}, {"info": {"host": HOST, "basePath": FLOW}}),
        ({"host": {"a": "}"}, "basePath": FLOW}, {"host": {"a": "}"}, "basePath": FLOW}),
    ],
)
def test_swagger_without_members_or_of_another_host(members: dict[str, object], renamed: dict[str, object]) -> None:
    assert text(_swagger(**members)) == _swagger(**renamed)
    assert text(json.dumps(members)) == json.dumps(members)


def test_a_base_path_that_swagger_leaves_out_is_added() -> None:
    names = UrlMap.from_routes([(UpstreamUrl.parse(f"https://{HOST}/"), "/all/")])
    rewriter = Rewriter(
        RewritePlan("json", "", ""),
        names,
        RequestContext(UpstreamUrl.parse(f"https://{HOST}/"), "https://gw.example/oic"),
    )
    body = _swagger(host=HOST, schemes=["http"]).encode()
    seen = b"".join(b"".join(out) for step in (rewriter.feed([body]), rewriter.end()) for out in step)
    assert json.loads(seen) == {"swagger": "2.0", "host": "gw.example", "basePath": "/oic/all/", "schemes": ["https"]}


def test_in_a_large_swagger_document_only_urls_are_replaced() -> None:
    body = _swagger(host=HOST, x="y" * (1 << 20), basePath=FLOW, at=U).encode()
    for size in (1 << 21, 65536, 4093):
        seen = rewrite(body, cuts=range(0, len(body), size))
        assert seen == body.replace(U.encode(), f"{GATE}/orders".encode())


def test_an_openapi_server_whose_host_is_a_variable_stays() -> None:
    server = {"url": "https://{host}/ic/api", "variables": {"host": {"default": HOST}}}
    body = json.dumps({**OPENAPI, "servers": [server]})
    assert json.loads(text(body))["servers"] == [server]
    document = yaml.safe_dump({**OPENAPI, "servers": [server]})
    assert yaml.safe_load(text(document, "yaml"))["servers"] == [server]


def test_of_members_that_stand_twice_the_first_counts() -> None:
    body = f'{{"swagger":"2.0","host":"{HOST}","host":"x.example","basePath":"/ic/api","basePath":7}}'
    assert text(body) == body.replace(HOST, "gw:8080").replace("/ic/api", "/api")
    document = f"swagger: '2.0'\nhost: {HOST}\nhost: x.example\nbasePath: /ic/api\n"
    assert text(document, "yaml") == document.replace(HOST, "gw:8080").replace("/ic/api", "/api")


def pieces_given(plan: RewritePlan, *pieces: str) -> list[str]:
    """What becomes of each piece by the time that it has been fed."""
    rewriter = Rewriter(plan, NAMES, HERE)
    return [b"".join(b"".join(out) for out in rewriter.feed([piece.encode()])).decode() for piece in pieces]


LINES = [
    '{"basePath":"/ic/api","id":1}\n',
    '{"schemes":["https"],"id":2}\n',
    f'{{"host":"{HOST}","id":3}}\n',
    f'{{"a":{{"b":"}}"}},"basePath":"{FLOW}","at":"{U}/x"}}\n',
    '{"swagger":"2.0"}\n',
    '{"basePath":"/ic/api"}\n',
]


@pytest.mark.parametrize(
    "media", ["application/x-ndjson", "application/jsonl", "application/json-seq", "application/json"]
)
def test_json_lines_stream_whatever_their_members(media: str) -> None:
    design = make_plan(media.encode(), None, frozenset({"json"}))
    assert design is not None
    output = pieces_given(design, *LINES)
    assert output == [line.replace(U, f"{GATE}/orders") for line in LINES]
    whole = "".join(LINES)
    assert "".join(pieces_given(design, whole)) == "".join(output)


def test_a_swagger_document_is_given_at_its_end() -> None:
    document = _swagger(basePath=FLOW, info={"a": "}"})
    first, last = pieces_given(RewritePlan("json", "", ""), document[:-1], document[-1:])
    assert first == '{"swagger":"2.0",'
    assert first + last == _swagger(basePath="/orders", info={"a": "}"})


def test_members_that_are_none_of_swagger_hold_nothing_back() -> None:
    for members in ({"basePath": "books"}, {"schemes": ["red", "blue"]}, {"schemes": "red"}, {"host": "db-1"}):
        document = json.dumps(members)[:-1]
        assert pieces_given(RewritePlan("json", "", ""), document) == [document]
