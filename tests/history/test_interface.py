"""The result of a search: as JSON, and merged from several processes."""

import json

from gateway.history.interface import SearchResult, merge_results, result_document
from tests.history.call_lines import call_line


def test_the_document_contains_the_records_as_written() -> None:
    lines = tuple(call_line(number, path='/"\n') for number in range(2))
    document = json.loads(result_document(SearchResult(lines, 7, "file", lost=3)))
    assert document == {"instances": [json.loads(line) for line in lines], "kept": 7, "where": "file", "lost": 3}


def test_an_empty_result_is_a_document_too() -> None:
    assert json.loads(result_document(SearchResult((), 0, "memory"))) == {
        "instances": [],
        "kept": 0,
        "where": "memory",
        "lost": 0,
    }


def test_workers_that_did_not_respond_are_named() -> None:
    assert json.loads(result_document(SearchResult((), 0, "memory", stuck=(17,))))["stuck"] == [17]


def test_results_of_several_processes_are_merged() -> None:
    first = SearchResult((call_line(5), call_line(3), call_line(1)), 30, "memory", lost=1)
    second = SearchResult((call_line(4), call_line(2)), 20, "memory")
    assert merge_results([first, second], 3) == SearchResult(
        (call_line(5), call_line(4), call_line(3)), 50, "memory", lost=1
    )
