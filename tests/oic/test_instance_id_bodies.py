"""Instance ids by a route's own rules: the first that finds one wins, and a cut id is none."""

import json
import sys
import time
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.oic.instance_id import (
    BODY_PART,
    DEFAULT_LOCATIONS,
    TRIGGER_LOCATIONS,
    InstanceIdFinder,
    InstanceIdLocation,
    MediaKind,
    media_kind,
)

ID = "lJrSjUUVEfGXW0tyvl-GZA"
USUAL = b"x-oracle-ics-instance-id"
DEFAULT = InstanceIdFinder.compile(DEFAULT_LOCATIONS)


def rules(*texts: str) -> InstanceIdFinder:
    """Rules like `json /a`."""
    table = [word.partition(" ") for word in texts]
    return InstanceIdFinder.compile(InstanceIdLocation(where, name) for where, _, name in table)  # type: ignore[arg-type] # words of a table


def in_json(body: bytes | str, pointer: str = "/oicInstanceId") -> str | None:
    raw = body.encode() if isinstance(body, str) else body
    return rules(f"json {pointer}").find({}, [], "json", raw)


def in_xml(body: bytes | str, name: str = "oicInstanceId") -> str | None:
    raw = body.encode() if isinstance(body, str) else body
    return rules(f"xml {name}").find({}, [], "xml", raw)


# The order ------------------------------------------------------------------------------------------------------------

JSON = b'{"a": "in-a", "b": "in-b"}'
XML = b"<r><a>in-a</a><b>in-b</b></r>"


@pytest.mark.parametrize(
    ("rule_texts", "kind", "first", "early"),
    [
        ("header x-id|json /a", "json", "in-x", "in-x"),
        ("json /a|header x-id", "json", "in-a", None),
        ("json /z|header x-id", "json", "in-x", None),
        ("json /z|header x-id|json /b", "json", "in-x", None),
        ("json /z|header x-no|json /b", "json", "in-b", None),
        ("json /b|json /a", "json", "in-b", None),
        ("json /a|header x-id", "xml", "in-x", "in-x"),
        ("json /a|header x-id", None, "in-x", "in-x"),
        ("xml b|json /a|header x-id", "json", "in-a", None),
        ("xml b|json /a|header x-id", "xml", "in-b", None),
        ("header x-no|xml z|header X-ID", "xml", "in-x", None),
        ("header x-no|header x-odd|header x-id|json /a", "json", "in-x", "in-x"),
        ("header x-no|xml a", "json", None, None),
        ("header x-no|xml a", None, None, None),
    ],
)
def test_the_first_rule_that_finds_something_wins(
    rule_texts: str, kind: MediaKind | None, first: str | None, early: str | None
) -> None:
    search = rules(*rule_texts.split("|"))
    passed = [b"X-Odd: an id?", b"x-id-too: no", b"X-Id:  in-x "]
    assert search.find({}, passed, kind, JSON if kind == "json" else XML) == first
    assert search.find_in_head({}, passed, kind) == early
    assert search.needs_body is (search.can_find_in_body("json") or search.can_find_in_body("xml"))


def test_the_head_decides_like_all_rules_together() -> None:
    for rule_texts in ("header x-id|json /a", "json /a|header x-id", "header x-id"):
        search = rules(*rule_texts.split("|"))
        for kind in ("json", "xml", None):
            early = search.find_in_head({}, [b"x-id: 1"], kind)
            assert early in {None, search.find({}, [b"x-id: 1"], kind, JSON if kind == "json" else XML)}
            assert early or search.can_find_in_body(kind)


@pytest.mark.parametrize(
    ("known_fields", "passed", "found"),
    [
        ({USUAL: b"4711"}, [], "4711"),
        ({USUAL: b", 4711,4712"}, [], "4711"),
        ({USUAL: b""}, [], None),
        ({USUAL: b"caf\xe9"}, [], None),
        ({USUAL: b'"quoted"'}, [], None),
        ({USUAL: b"two words"}, [], None),
        ({USUAL: b"x" * 129}, [], None),
        ({USUAL: b"x" * 128}, [], "x" * 128),
        ({}, [b"x-oracle-ics-instance-ids: 1"], None),
    ],
)
def test_the_usual_field(known_fields: dict[bytes, bytes], passed: list[bytes], found: str | None) -> None:
    for kind in ("json", "xml", None):
        assert DEFAULT.find_in_head(known_fields, passed, kind) == found
        assert DEFAULT.find(known_fields, passed, kind, b"") == found


@pytest.mark.parametrize(
    ("passed", "found"),
    [
        ([b"X-Run:1"], "1"),
        ([b"x-run: ", b"X-RUN: 2"], "2"),
        ([b"x-run: 1", b"x-run: 2"], "1"),
        ([b"x-run-id: 1", b"run: 2"], None),
        ([], None),
    ],
)
def test_a_field_of_ones_own(passed: list[bytes], found: str | None) -> None:
    assert rules("header X-Run").find_in_head({}, passed) == found
    assert rules("header retry-after").find_in_head({b"retry-after": b"7"}, [b"Retry-After: 7"]) == "7"


def test_by_default_only_names_that_say_whose_id_it_is_are_read() -> None:
    assert DEFAULT.needs_body
    assert DEFAULT.header_first
    assert not rules("json /a", f"header {USUAL.decode()}").header_first
    for body in ('{"oicInstanceId":"1"}', '{"oic_instance_id":1}'):
        assert DEFAULT.find({}, [], "json", body.encode()) == "1"
    assert DEFAULT.find({}, [], "xml", b"<f:oicInstanceId xmlns:f='urn:f'>1</f:oicInstanceId>") == "1"
    monitoring = b'{"id": "1", "instanceId": "1", "flowId": "2", "items": [{"oicInstanceId": "3"}]}'
    assert DEFAULT.find({}, [], "json", monitoring) is None


# JSON -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "pointer", "found"),
    [
        (f'{{"oicInstanceId":"{ID}"}}', "/oicInstanceId", ID),
        (f'\ufeff \n{{ "oicInstanceId" :\t"{ID}" }}', "/oicInstanceId", ID),
        ('{"oicInstanceId":9223372036854775807}', "/oicInstanceId", "9223372036854775807"),
        ('{"oicInstanceId":123456789012345678901234567890 }', "/oicInstanceId", "123456789012345678901234567890"),
        ('{"oicInstanceId":0}', "/oicInstanceId", "0"),
        ('{"oicInstanceId":" 47 "}', "/oicInstanceId", "47"),
        (r'{"oicInstanceId":"\u0034\u0037"}', "/oicInstanceId", "47"),
        ('{"a":{"b":[{"c":"no"},{"c":"yes"}]}}', "/a/b/1/c", "yes"),
        ('{"a":{"b":["x",{"y":[{}]},7 ]}}', "/a/b/2", "7"),
        ('[[1,[2,"3"]]]', "/0/1/1", "3"),
        ('{"1":{"0":"as a name"}}', "/1/0", None),
        ('{"1":{"0":"name"}}', "/1/0", "name"),
        ('{"a/b":{"m~n":"1"}}', "/a~1b/m~0n", "1"),
        ('{"~1":"1"}', "/~01", "1"),
        ('{"":{"":"1"}}', "//", "1"),
        ('{"é":"1"}', "/é", "1"),
        (r'{"a\"b":"1"}', '/a"b', "1"),
        ('"whole"', "", "whole"),
        ('{"a":"x\\"","b":"}","c":[{"d":"]"}],"e":"1"}', "/e", "1"),
        ('{"a":{"oicInstanceId":"inner"},"oicInstanceId":"outer"}', "/oicInstanceId", "outer"),
        ('{"a":{"oicInstanceId":"inner"}}', "/oicInstanceId", None),
        ('{"a":"oicInstanceId"}', "/oicInstanceId", None),
        ('{"a":"\\"oicInstanceId\\":\\"1\\""}', "/oicInstanceId", None),
        ('{"b":1,"oicInstanceId":"1","oicInstanceId":"2"}', "/oicInstanceId", "1"),
        ('["1"]', "/oicInstanceId", None),
        ('["1"]', "/-", None),
        ('["0","1"]', "/01", None),
        ('["1"]', "/1", None),
        ('{"a":"1"}', "/a/b", None),
        ("", "/a", None),
        ("", "", None),
        ("[" * 60_000 + '"a"', "/a", None),
    ],
)
def test_a_pointer_finds_its_value(body: str, pointer: str, found: str | None) -> None:
    assert in_json(body, pointer) == found


@pytest.mark.parametrize(
    "value",
    [
        *("null", "true", "{}", "[]", '["1"]', "-5", "1.5", "1e5", "01", "4711.0", '""', '" "', '"a b"', '"a,b"'),
        *('"a\\r\\nSet-Cookie: x"', '"a\\u0000"', '"caf\\u00e9"', '"é"', '"a\\"b"', '"a\'b"', '"\\ud800"', '"\\x"'),
        *('"a\tb"', '"' + "x" * 129 + '"', "1" * 129, "1x", "x", '"1', "1"),
    ],
)
def test_what_does_not_look_like_an_id_is_none(value: str) -> None:
    assert in_json(f'{{"oicInstanceId":{value}', "/oicInstanceId") is None
    assert in_json(f'{{"oicInstanceId":{value}', "/oicInstanceId") is None
    search = rules("json /oicInstanceId", "json /b")
    assert search.find({}, [], "json", f'{{"b":"next","oicInstanceId":{value}}}'.encode()) in {"next", "1"}


@pytest.mark.parametrize(
    "body",
    [
        '{"oicInstanceId"}',
        '{"oicInstanceId";"1"}',
        '{"a" "oicInstanceId":"1"}',
        '{"a":1 "oicInstanceId":"1"}',
        "{'oicInstanceId':'1'}",
        '{oicInstanceId:"1"}',
        '{"a":[}, "oicInstanceId":',
        '"oicInstanceId":"1"',
        '<a>"oicInstanceId":"1"</a>',
        b'{"\xff":1,"oicInstanceId":"\xff"}',
        b'{"\\ud8\xff":1,"oicInstanceId":1',
        '{"a":"' + '\\"' * 9000 + "oicInstanceId",
    ],
)
def test_garbage_finds_nothing(body: str | bytes) -> None:
    assert in_json(body) is None


NAMES = st.sampled_from(["a", "b", "1", "0", "a/b", "~", "", "é", 'q"', "\\", "oicInstanceId"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5) | st.just(ID),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)


def at_pointer(document: object, path: list[str]) -> object:
    """RFC 6901 §4 by the book."""
    for token in path:
        if isinstance(document, dict) and token in document:
            document = document[token]
        elif (
            isinstance(document, list) and token.isdecimal() and token == str(int(token)) and int(token) < len(document)
        ):
            document = document[int(token)]
        else:
            return None
    return document


@given(document=VALUES, path=st.lists(NAMES, max_size=4), indent=st.none() | st.just(1), ascii_only=st.booleans())
def test_any_document_is_searched_as_by_the_book(
    document: object, path: list[str], indent: int | None, *, ascii_only: bool
) -> None:
    pointer = "".join("/" + token.replace("~", "~0").replace("/", "~1") for token in path)
    body = json.dumps(document, indent=indent, ensure_ascii=ascii_only)
    if ascii_only and "é" in path:  # a name in another spelling
        return
    value = at_pointer(document, path)
    expected = None
    if isinstance(value, str):
        expected = value.strip(" \t\r\n")
    elif isinstance(value, int) and not isinstance(value, bool) and value >= 0 and path:
        expected = str(value)
    is_id = (
        expected is not None and 0 < len(expected) < 129 and all("!" <= c <= "~" and c not in "\"'," for c in expected)
    )
    assert in_json(body, pointer) == (expected if is_id else None)


@given(
    before=VALUES, after=VALUES, value=st.sampled_from([f'"{ID}"', "47110815", '"4\\u0037"']), seed=st.integers(0, 6)
)
def test_json_cut_anywhere_gives_the_id_or_none(before: object, after: object, value: str, seed: int) -> None:
    start = f'{{"x": {json.dumps(before)}, "oicInstanceId": {value}'.encode()
    body, end = start + f' , "y": {json.dumps(after)}}}'.encode(), len(start)
    expected = str(json.loads(value))
    for cut in range(seed, len(body) + 1, 7):
        found = in_json(body[:cut])
        assert found == (expected if cut > end or (cut == end and value[0] == '"') else None)


@given(st.binary(max_size=60), st.sampled_from(["", "/a", "/0", "/oicInstanceId"]))
def test_nothing_raises(body: bytes, pointer: str) -> None:
    for raw in (body, b'{"oicInstanceId":' + body, b"<oicInstanceId>" + body, b'{"a":[' + body):
        for kind in ("json", "xml"):
            rules(f"json {pointer}", "xml oicInstanceId").find({}, [], kind, raw)


@pytest.mark.parametrize("coding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_json_in_its_charsets(coding: str) -> None:
    body = f'{{"é": ["\U00010000"], "oicInstanceId": "{ID}", "y": 1}}'
    data, end = body.encode(coding), len(body.partition(', "y"')[0].encode(coding))
    for cut in range(len(data) + 1):
        assert in_json(data[:cut]) == (ID if cut >= end else None)
    assert in_json(body.replace("é", "\ud800").encode(coding, "surrogatepass")) == ID
    assert DEFAULT.find({}, [], "json", data) == ID


@given(document=st.dictionaries(NAMES, VALUES, max_size=6), rule_texts=st.lists(NAMES, min_size=1, max_size=4))
def test_several_rules_find_what_each_would_alone(document: object, rule_texts: list[str]) -> None:
    body = json.dumps(document, ensure_ascii=False).encode()
    pointers = [
        "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in (name, "a")) for name in rule_texts
    ]
    pointers = [pointer[: -len("/a")] if at % 2 else pointer for at, pointer in enumerate(pointers)]
    alone = [in_json(body, pointer) for pointer in pointers]
    together = rules(*(f"json {pointer}" for pointer in pointers)).find({}, [], "json", body)
    assert together == next(filter(None, alone), None)


@pytest.mark.parametrize(
    "body",
    [
        b"{" + b'"a":{},' * 9000,
        b"{" + b'"a":[[[1]]],' * 5000,
        b"{" + b'"\\u0061":1,' * 5500,
        b'{"a":' + b"[" * BODY_PART,
        b'{"a":["' + b'","' * BODY_PART,
    ],
)
def test_members_that_no_rule_names_are_passed_over_together(body: bytes) -> None:
    first = body[: BODY_PART - 100] + b',"flowId":"oicInstanceId" "instanceId" "oic_instance_id"'
    search, steps = InstanceIdFinder.compile(TRIGGER_LOCATIONS), count()
    search.find({}, [], "json", b'{"flowId":')  # patterns are made once
    sys.setprofile(lambda *_: next(steps) and None)  # counts every call, into C too
    try:
        search.find({}, [], "json", first)
    finally:
        sys.setprofile(None)
    assert next(steps) < 500


def test_only_the_first_part_is_looked_at() -> None:
    filler = "x" * (BODY_PART - 40)
    assert in_json(f'{{"a":"{filler}","oicInstanceId":"1"}}') == "1"
    assert in_json(f'{{"a":"{filler + filler}","oicInstanceId":"1"}}') is None
    assert in_xml(f"<a>{filler}{filler}<oicInstanceId>1</oicInstanceId></a>") is None


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":' + b"[" * BODY_PART,
        b'{"a":' + b'["' * BODY_PART,
        b'{"a":"' + b'\\"' * BODY_PART,
        b"{" + b'"":0,' * BODY_PART,
        b"{" + b'"":[],' * BODY_PART,
        b"[" + b"[]," * BODY_PART,
        b'{"a"' + b" " * BODY_PART,
        b'{"a":' + b"1" * BODY_PART,
        b"<a>" * BODY_PART,
        b"<a " + b"b='' " * BODY_PART,
        b"<oicInstanceId>" * BODY_PART,
    ],
)
def test_hostile_bodies_cost_no_square_of_their_length(body: bytes) -> None:
    hostile = body[: BODY_PART - 20] + b'"oicInstanceId"'
    started_at = time.process_time()
    assert in_json(hostile) is in_xml(hostile) is in_json(hostile, "/9999/oicInstanceId") is None
    assert time.process_time() - started_at < 2


# XML ------------------------------------------------------------------------------------------------------------------

FAULT = (
    '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault><faultcode>s:Server</faultcode>'
    "<detail><f:fault xmlns:f='urn:f'><f:oicInstanceId>{}</f:oicInstanceId></f:fault></detail></s:Fault></s:Body>"
    "</s:Envelope>"
)


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (f"<oicInstanceId>{ID}</oicInstanceId>", ID),
        (FAULT.format(ID), ID),
        (FAULT.format("\n 4711 \n"), "4711"),
        ("<a xmlns='urn:a'><oicInstanceId b='c'>1</oicInstanceId >", "1"),
        ("<a><oicInstanceId><![CDATA[1]]>2<!-- 3 -->&#52;</oicInstanceId></a>", "124"),
        ("<a><oicInstanceId/><x:oicInstanceId>2</x:oicInstanceId></a>", "2"),
        (
            "<a><oicInstanceId> </oicInstanceId><oicInstanceId>a b</oicInstanceId><oicInstanceId>2</oicInstanceId></a>",
            "2",
        ),
        ("<a><oicInstanceId>1</oicInstanceId><oicInstanceId>2</oicInstanceId></a>", "1"),
        ("<oicInstanceId><oicInstanceId>1</oicInstanceId></oicInstanceId>", "1"),
        ("<a><oicInstanceId><b>1</b></oicInstanceId></a>", None),
        ("<a><oicInstanceId>1<b/></oicInstanceId></a>", None),
        ("<a><oicInstanceId>1</oicInstanceId><", "1"),
        ("<a><oicInstanceId>1</oicInstanceId></b>", "1"),
        ("<a></b><oicInstanceId>1</oicInstanceId>", None),
        ("<a><oicInstanceId>&x;</oicInstanceId></a>", None),
        ("<a oicInstanceId='1'>oicInstanceId</a>", None),
        ("<a><oicInstanceIds>1</oicInstanceIds><OICInstanceId>1</OICInstanceId></a>", None),
        ("<a><!-- <oicInstanceId>1</oicInstanceId> --></a>", None),
        ("<!DOCTYPE a [<!ENTITY x '1'>]><a><oicInstanceId>&x;</oicInstanceId></a>", None),
        ("<!DOCTYPE a><oicInstanceId>1</oicInstanceId>", None),
        ("<?xml version='1.0' encoding='gbk'?><oicInstanceId>1</oicInstanceId>", "1"),
        ("<?xml version='1.0' encoding='nonsense'?><oicInstanceId>1</oicInstanceId>", "1"),
        ("<?xml version='1.0' encoding='windows-1252'?><oicInstanceId>1</oicInstanceId>", "1"),
        ("oicInstanceId", None),
        ("", None),
    ],
)
def test_an_element_is_found(body: str, found: str | None) -> None:
    assert in_xml(body) == found


@pytest.mark.parametrize("coding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32", "utf-8"])
def test_xml_in_its_charsets(coding: str) -> None:
    assert in_xml(FAULT.format(ID).encode(coding)) == ID
    assert in_xml("<oïc>1</oïc>".encode(coding), "oïc") == "1"


@pytest.mark.parametrize("coding", ["utf-8", "utf-16"])
def test_xml_cut_anywhere_gives_the_id_or_none(coding: str) -> None:
    body = FAULT.format(ID).encode(coding)
    end = len(FAULT.partition("</f:fault>")[0].format(ID).encode(coding))
    for cut in range(len(body) + 1):
        assert in_xml(body[:cut]) == (ID if cut >= end else None)


# Which bodies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        (b"application/json", "json"),
        (b"Application/JSON; charset=utf-8", "json"),
        (b"application/problem+json", "json"),
        (b"application/json, application/json", "json"),
        (b"text/xml;charset=UTF-8", "xml"),
        (b"application/xml", "xml"),
        (b"application/soap+xml", "xml"),
        (b"text/html", None),
        (b"application/jsonp", None),
        (b"text/plain; x=application/json", None),
        (b"", None),
        (None, None),
    ],
)
def test_the_media_type_decides_how_a_body_is_searched(content_type: bytes | None, kind: str | None) -> None:
    assert media_kind(content_type) == kind
