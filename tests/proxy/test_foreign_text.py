"""Text that others write is never an error here: whatever a response holds is rewritten or passes as it is."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.oic.bodies import find_elements
from gateway.oic.instance_id import TRIGGER_LOCATIONS, InstanceIdFinder, find_ids_in_broken_head, read_ids
from gateway.proxy.rewriting import RequestContext, RewritePlan, Rewriter, make_plan
from tests.fakes.documents import ALL, FLOW, HERE, HOST, NAMES, ORDERS, U

ODD = [
    *("http://[", "https://[::1", "http://[v1.x]", "//[", "http://]:", "http:", "http:///", "://", "/%"),
    *(
        f"https://{HOST}:99999999999999999999/",
        f"{U}:x",
        f"https://{HOST}:\u0661/",
        f"https://user@{HOST}/",
        "http://\u0660/",
    ),
    *("\0", "\x85", "\xff", "&#99999999999;", "&#xffffff;", "\\u", "\\ud800", "%", "%2", "%25252F", "<", ">", '"', "'"),
    *(FLOW, U, HOST, "?", "#", ";", "charset=", "utf-16", '"swagger":', '"host":', '"basePath":', '"schemes":['),
    *('"oicInstanceId":', "<oicInstanceId>", "9" * 400),
]
PARTS = st.lists(st.sampled_from(ODD) | st.text(st.characters(max_codepoint=255), max_size=8), max_size=12)
TEXT = PARTS.map(lambda parts: "".join(parts).encode().decode("latin-1"))
HERES = [
    HERE,
    RequestContext(ORDERS, ""),
    RequestContext(ORDERS, "http://gw", proxied_as=f"http://{HOST}"),
    RequestContext(ORDERS, "https://gw/a/b"),
]
SEARCH = InstanceIdFinder.compile(TRIGGER_LOCATIONS)


@settings(max_examples=100, deadline=None)
@given(TEXT, st.sampled_from(HERES))
@example("http://[", HERE)
@example("<http://[>; rel=x", HERE)
def test_any_field_can_be_rewritten(value: str, here: RequestContext) -> None:
    NAMES.rewrite(value, here).encode("latin-1")
    NAMES.rewrite_link(value, here).encode("latin-1")


@settings(max_examples=100, deadline=None)
@given(TEXT, st.sampled_from(sorted(ALL)), st.sampled_from(["", "utf-8", "utf-16", "cp037"]), st.integers(1, 40))
@example('{"host":"http://[","swagger":"2.0"}', "json", "", 9)
def test_any_body_can_be_rewritten(text: str, kind: str, charset: str, size: int) -> None:
    body = text.encode("latin-1" if charset != "utf-16" else "utf-16", "replace")
    for here in HERES:
        rewriter = Rewriter(RewritePlan(kind, charset, ""), NAMES, here)
        for at in range(0, len(body), size):
            for _ in rewriter.feed([body[at : at + size]]):
                pass
        for _ in rewriter.end():
            pass


@settings(max_examples=100, deadline=None)
@given(TEXT)
def test_any_media_type_can_be_planned(text: str) -> None:
    make_plan(text.encode("latin-1", "replace"), text[:9].encode("latin-1", "replace"), ALL)


@settings(max_examples=100, deadline=None)
@given(TEXT, st.sampled_from(["json", "xml"]))
@pytest.mark.parametrize("start", ["", '{"oicInstanceId":', "<a><oicInstanceId>", '{"a":{"oicInstanceId":["'])
def test_any_body_can_be_searched_for_an_id(start: str, text: str, kind: str) -> None:
    body = (start + text).encode("latin-1", "replace")
    for first in (body, body.decode("latin-1").encode("utf-16"), b"\xff\xfe" + body):
        SEARCH.find({}, [], "json" if kind == "json" else "xml", first)
        list(find_elements(first, "oicInstanceId"))
        read_ids({b"x-oracle-ics-instance-id": first, b"opc-request-id": first})
        find_ids_in_broken_head(b"HTTP/1.1 200 OK\r\nx-oracle-ics-instance-id: " + first)
