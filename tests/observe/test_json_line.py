"""Documents as JSON lines."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.observe.json_line import json_line, json_lines
from gateway.observe.record import Record

any_text = st.text(st.characters(categories=None))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(any_text, inner),
    max_leaves=8,
)


@given(st.dictionaries(any_text, values, max_size=4))
def test_any_document_is_one_line_of_valid_json(document: dict[str, Any]) -> None:
    raw = json_line(document)
    text = raw.decode()
    assert text.splitlines(keepends=True) == [text]
    assert isinstance(json.loads(text), dict)


@given(st.lists(st.builds(Record, path=st.none() | any_text, reason=any_text), max_size=3))
def test_documents_at_once_have_the_same_lines(records: list[Record]) -> None:
    assert json_lines(records) == [json_line(record) for record in records]


@given(st.text())
def test_valid_text_is_decoded_unchanged(text: str) -> None:
    assert json.loads(json_line({"value": text})) == {"value": text}


def test_a_line_contains_no_terminal_commands() -> None:
    assert json_line({"path": "/\x1b]0;x\x07\x9b2J\u2028"}) == b'{"path":"/\\u001b]0;x\\u0007\\u009b2J\\u2028"}\n'


def test_bytes_that_are_not_utf8_are_escaped() -> None:
    assert json.loads(json_line({"path": "/\udcff"})) == {"path": "/\\udcff"}
