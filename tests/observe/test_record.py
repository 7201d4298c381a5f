"""Records as JSON lines and as text."""

import json
import select

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.observe.record import (
    FIELDS,
    MAX_ID,
    MAX_METHOD,
    MAX_PATH,
    MAX_REASON,
    Record,
    complete_record,
    complete_records,
    record_line,
    record_text,
)

FULL = Record(
    time="2023-11-14T22:13:20.123Z",
    request_id="r-1",
    route="orders",
    credential="orders-app",
    client="10.0.0.7",
    method="POST",
    path="/orders/7?token=hidden",
    status=202,
    duration_ms=12.346,
    upstream_ms=12.0,
    token_wait_ms=0.001,
    attempts=1,
    upstream_status=202,
    instance_id="lJrSjUUVEfGXW0tyvl-GZA",
    opc_request_id="C/T/S",
    bytes_in=10,
    bytes_out=20,
    caller="erp",
    queue_ms=1.0,
    trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
    messages=2,
)

any_text = st.text(st.characters(categories=None), max_size=30)
TEXTS = [each.name for each in msgspec.structs.fields(Record) if each.type == str | None]


def test_a_full_record_has_all_fields_in_order() -> None:
    document = json.loads(record_line(FULL))
    assert tuple(document) == FIELDS
    assert document == {
        "time": "2023-11-14T22:13:20.123Z",
        "level": "info",
        "event": "request",
        "request_id": "r-1",
        "route": "orders",
        "credential": "orders-app",
        "client": "10.0.0.7",
        "method": "POST",
        "path": "/orders/7",
        "status": 202,
        "duration_ms": 12.346,
        "upstream_ms": 12.0,
        "token_wait_ms": 0.001,
        "attempts": 1,
        "upstream_status": 202,
        "instance_id": "lJrSjUUVEfGXW0tyvl-GZA",
        "opc_request_id": "C/T/S",
        "bytes_in": 10,
        "bytes_out": 20,
        "error": None,
        "caller": "erp",
        "queue_ms": 1.0,
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "messages": 2,
    }


def test_an_empty_record_has_all_fields() -> None:
    document = json.loads(record_line(Record()))
    assert tuple(document) == FIELDS
    assert document["path"] is None
    assert document["upstream_ms"] is None
    assert document["attempts"] == 0


@pytest.mark.parametrize(
    ("record", "level"),
    [
        (Record(status=404, upstream_status=404), "info"),
        (Record(status=503, upstream_status=503), "warning"),
        (Record(status=502, error="token-refused"), "warning"),
        (Record(status=400, error="bad-request"), "warning"),
        (Record(status=500, error="internal"), "error"),
    ],
)
def test_level(record: Record, level: str) -> None:
    assert json.loads(record_line(record))["level"] == level


def test_a_reason_is_logged_without_secrets() -> None:
    record = Record(error="upstream-broken", reason="response to Bearer abcdefgh was cut")
    assert json.loads(record_line(record))["reason"] == "response to Bearer *** was cut"
    assert "abcdefgh" not in record_text(record)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/a?b=c?d", "/a"),
        ("?x", ""),
        ("http://joe:pw@host/a?b", "http://***@host/a"),
        ("*", "*"),
        ("/a@b", "/a@b"),
    ],
)
def test_a_path_has_neither_query_nor_user(target: str, path: str) -> None:
    assert json.loads(record_line(Record(path=target)))["path"] == path


@pytest.mark.parametrize("start", ["/", "http://joe:pw@host/"])
def test_a_long_path_is_cut_to_fit_into_a_pipe_write(start: str) -> None:
    written = record_line(msgspec.structs.replace(FULL, path=start + "a" * 8000 + "?secret"))
    path = json.loads(written)["path"]
    assert len(path) == MAX_PATH
    assert set(path.rpartition("/")[2]) == {"a"}
    assert "joe" not in path
    assert len(written) <= select.PIPE_BUF
    whole = "/" + "a" * (MAX_PATH - 1)
    assert json.loads(record_line(Record(path=whole)))["path"] == whole


USUAL = Record(method="GET", path="/orders/7", status=200, upstream_status=200, instance_id="i", opc_request_id="o")
UNUSUAL: list[tuple[str, list[object]]] = [
    ("error", ["internal", "token-refused"]),
    ("reason", ["", "Bearer abcdefgh was cut", "r" * 2 * MAX_REASON]),
    ("upstream_status", [None, 99, 404, 500, 599, 999]),
    ("method", [None, "", "PURGE", "M" * 2 * MAX_METHOD]),
    (
        "path",
        [None, "", "/", "*", "/a?b", "/a\n?b", "http://joe:pw@host/", "/" + "p" * (MAX_PATH - 1), "/" + "p" * MAX_PATH],
    ),
    ("instance_id", [None, "", "i" * MAX_ID, "i" * (MAX_ID + 1)]),
    ("opc_request_id", [None, "", "o" * MAX_ID, "o" * (MAX_ID + 1)]),
]


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in UNUSUAL for value in values])
def test_each_record_of_a_batch_is_completed(name: str, value: object) -> None:
    batch = [msgspec.structs.replace(USUAL) for _ in range(3)]
    setattr(batch[1], name, value)
    expected = [msgspec.structs.replace(record) for record in batch]
    for record in expected:
        complete_record(record)
    complete_records(batch)
    assert batch == expected


LONG = msgspec.structs.replace(
    FULL,
    path="/" + "p" * 8000,
    method="M" * 8000,
    instance_id="i" * 50_000,
    opc_request_id="o" * 50_000,
    reason="r" * 50_000,
    error="upstream-broken",
)


def test_long_values_are_cut_to_their_maximum() -> None:
    written = record_line(msgspec.structs.replace(LONG))
    document = json.loads(written)
    assert len(written) <= select.PIPE_BUF
    assert {name: len(document[name]) for name in ("path", "method", "instance_id", "opc_request_id", "reason")} == {
        "path": MAX_PATH,
        "method": MAX_METHOD,
        "instance_id": MAX_ID,
        "opc_request_id": MAX_ID,
        "reason": MAX_REASON,
    }
    assert len(record_text(msgspec.structs.replace(LONG))) <= select.PIPE_BUF


def test_a_secret_at_the_cut_is_masked() -> None:
    reason = "x" * (MAX_REASON - 20) + " Bearer " + "s3cr3t" * 20
    document = json.loads(record_line(Record(error="upstream-broken", reason=reason)))
    assert "s3cr3t" not in document["reason"]


@given(st.fixed_dictionaries(dict.fromkeys(TEXTS, st.none() | any_text)))
def test_any_text_in_any_field_is_one_valid_line(values: dict[str, str | None]) -> None:
    record = Record(**values)  # type: ignore[arg-type]  # only the text fields
    written = record_line(record).decode()
    assert written.splitlines(keepends=True) == [written]
    assert tuple(json.loads(written))[: len(FIELDS)] == FIELDS
    assert "?" not in (json.loads(written)["path"] or "")
    assert record_text(record).isprintable()


def test_text_is_short_and_coloured_on_request() -> None:
    assert record_text(FULL) == (
        "22:13:20.123Z 202 POST       12.3 ms  orders           /orders/7  caller=erp  instance=lJrSjUUVEfGXW0tyvl-GZA"
    )
    assert "\x1b[32m202\x1b[0m" in record_text(FULL, colour=True)
    assert "error=forbidden" in record_text(Record(error="forbidden", request_id="r-2"))
    assert "request=r-2" in record_text(Record(error="forbidden", request_id="r-2"))
