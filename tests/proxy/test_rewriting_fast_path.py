"""The short ways: they say the same as the long ones."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.proxy.rewriting import RewritePlan, has_no_urls
from gateway.proxy.routing import PrefixTable
from tests.fakes.documents import FLOW, GATE, HOST, U, rewritten

AUTHORITIES = [HOST, f"{HOST}:443", f"{HOST}:80", f"{HOST}:", f"{HOST}:8443", HOST.upper(), "other.example:8443", "x.y"]
PATHS = [FLOW, "/ic/api", "/ic/api/integration/v1/flows", "/ic/ws/x", "/ic", "/ic/api/a/b", f"{FLOW}/items", "", "/"]
RESTS = ["", "/", "/1", "/2/3", "/%7C01.00", "/%2e%2e/x", "/../x", "/.", "//x", "?a", "#b", "/a?u=" + U, "x", "/a b"]
URLS = st.lists(
    st.builds("{}://{}{}{}".format, *map(st.sampled_from, (["https", "http"], AUTHORITIES, PATHS, RESTS))), max_size=8
)


def seen(body: str, kind: str = "json") -> str:
    return rewritten(body.encode(), kind).decode()


@settings(max_examples=300, deadline=None)
@given(URLS)
def test_fast_and_slow_path_rewrite_a_url_equally(urls: list[str]) -> None:
    members = json.dumps([{"href": url} for url in urls])
    assert seen(members.replace(": ", " : ")) == seen(members).replace('f": ', 'f" : ')
    elements = json.dumps(urls)
    assert seen(elements.replace(", ", "  ,  ")) == seen(elements).replace(", ", "  ,  ")
    attributes = "".join(f'<a b="{url}" /><a>{url}</a>' for url in urls)
    assert seen(attributes.replace('"', "'"), "xml") == seen(attributes, "xml").replace('"', "'")
    assert seen(attributes.replace(" b=", " b = "), "xml") == seen(attributes, "xml").replace(" b=", " b = ")


def test_more_beginnings_than_are_remembered() -> None:
    for count in (9, 300):
        urls = [f"https://{'h' * number}.example/x" for number in range(1, count)]
        urls += [f"https://{HOST}/ic/api/{'x' * (number % 20)}{number}/y" for number in range(count)]
        body = json.dumps([{"href": url} for url in urls * 2])
        assert rewritten(body.encode()) == body.replace(f"https://{HOST}/ic", GATE).encode()


@pytest.mark.parametrize(
    "body",
    [
        '{"a": "b", "n": [1, 2.5e3, null]}',
        '{"day": "2026/11/23", "half": "50%", "line": "a\\nb"}',
        "[1, 2]",
        "    ",
    ],
)
def test_a_body_without_urls_is_clear(body: str) -> None:
    for charset in ("", "utf-8", "iso-8859-1"):
        assert has_no_urls(RewritePlan("json", charset, ""), [body.encode()])
        assert has_no_urls(RewritePlan("json", charset, ""), [body[:3].encode(), body[3:].encode()])


@pytest.mark.parametrize(
    ("plan", "body"),
    [
        (RewritePlan("json", "", ""), b'{"a": "https://x"}'),
        (RewritePlan("json", "", ""), rb'{"a": "https:\/\/x"}'),
        (RewritePlan("json", "", ""), rb'{"a": "https:\u002f\u002fx"}'),
        (RewritePlan("json", "", ""), b'{"a": "https%3A%2F%2Fx"}'),
        (RewritePlan("json", "", ""), b'{"href": "/x"}'),
        (RewritePlan("json", "", ""), b'{"schemes": ["https"], "swagger": "2.0"}'),
        (RewritePlan("json", "", ""), "{ }".encode("utf-16")),
        (RewritePlan("json", "", ""), "{   }".encode("utf-16-le")),
        (RewritePlan("json", "", ""), "{   }".encode("utf-32-be")),
        (RewritePlan("json", "", "gzip"), b"{   }"),
        (RewritePlan("xml", "", ""), b"<a/>"),
        (RewritePlan("yaml", "", ""), b"a: b"),
    ],
)
def test_a_body_that_must_be_read_is_not_clear(plan: RewritePlan, body: bytes) -> None:
    assert not has_no_urls(plan, [body])


@given(
    st.lists(st.text("/ab", max_size=6).map("/{}".format), max_size=5),
    st.text("/ab", max_size=8).map("/{}".format),
    st.text("/ab", max_size=4).map("/{}".format),
)
def test_below_a_stem_all_paths_have_the_same_value(prefixes: list[str], path: str, rest: str) -> None:
    known = PrefixTable((prefix, prefix) for prefix in prefixes)
    end = known.unbranched_end(path)
    assert end == -1 or path[end] == "/"
    if end >= 0:
        found, below = known.find(path), known.find(path[:end] + rest)
        assert (found and found[0]) == (below and below[0])


@pytest.mark.parametrize("body", [b"", b"{}", b'"/"', b"\xff\xfe1"])
def test_a_body_that_is_too_short_for_a_url_is_clear(body: bytes) -> None:
    assert has_no_urls(RewritePlan("json", "", ""), [body])
