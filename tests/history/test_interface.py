import json

from gateway.history.interface import SearchResult, document, merged
from tests.history.call_lines import call_line


def test_the_document_holds_the_records_as_they_were_written() -> None:
    lines = tuple(call_line(number, path='/"\n') for number in range(2))
    told = json.loads(document(SearchResult(lines, 7, "file", lost=3)))
    assert told == {"instances": [json.loads(line) for line in lines], "kept": 7, "where": "file", "lost": 3}


def test_nothing_found_is_a_document_too() -> None:
    assert json.loads(document(SearchResult((), 0, "memory"))) == {
        "instances": [],
        "kept": 0,
        "where": "memory",
        "lost": 0,
    }


def test_who_did_not_answer_is_named() -> None:
    assert json.loads(document(SearchResult((), 0, "memory", stuck=(17,))))["stuck"] == [17]


def test_answers_of_several_are_merged_newest_first() -> None:
    first = SearchResult((call_line(5), call_line(3), call_line(1)), 30, "memory", lost=1)
    second = SearchResult((call_line(4), call_line(2)), 20, "memory")
    assert merged([first, second], 3) == SearchResult((call_line(5), call_line(4), call_line(3)), 50, "memory", lost=1)
