"""The verb's table, and whom it asks; tests/system/test_history.py runs it."""

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import instances
from gateway.cli.commands import parse
from gateway.history.history_file import HistoryFile
from gateway.history.interface import HistoryDisabled, SearchResult, Unsearchable
from gateway.history.query import HistoryQuery
from tests.history.call_lines import call_line


def options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    instances.add_arguments(parser)
    return parser.parse_args(words)


async def run_instances(address: str, *words: str, source: instances.HistorySource | None = None) -> int:
    return await asyncio.to_thread(instances.search, options(*words), address, lambda: source)


@pytest.fixture
def file(tmp_path: Path) -> instances.HistorySource:
    history_file = HistoryFile(tmp_path / "history")
    history_file.append([call_line(number) for number in range(3)])
    history_file.close()
    return str(tmp_path / "history"), 1e9


def test_a_table_is_aligned_below_its_head() -> None:
    records = [
        json.loads(call_line(1, method="GET", path="/a", duration_ms=1.26, error=None)),
        json.loads(
            call_line(2, status=None, route=None, instance_id=None, path="/b/c", duration_ms=330_000.0, error="x")
        ),
    ]
    assert instances.table(records) == [
        "TIME                      STATUS  METHOD  ROUTE   PATH  INSTANCE          MS  ERROR",
        "2026-01-31T12:00:01.000Z     200  GET     orders  /a    instance-1       1.3  -",
        "2026-01-31T12:00:02.000Z       -  -       -       /b/c  -           330000.0  x",
    ]


@pytest.mark.parametrize("instance_id", ["-rSjUUVEfGXW0tyvl-GZAx", "--SjUUVEfGXW0tyvl-GZAx", "lJrSjUUVEfGXW0tyvl-GZA"])
def test_an_instance_id_may_begin_with_a_dash(instance_id: str) -> None:
    for words in (
        [instance_id, "gateway.yaml", "--json", "--route", "orders"],
        ["--route", "orders", instance_id, "--json", "gateway.yaml"],
        ["--route", "orders", "--json", "-c", "gateway.yaml", "--", instance_id],
    ):
        options = parse("instances", words)
        assert (options.id, options.file or options.config) == (instance_id, "gateway.yaml")
        assert (options.route, options.json) == ("orders", True)


def test_nothing_is_no_table() -> None:
    assert instances.table([]) == []


def test_a_cell_is_on_one_line_and_no_order_to_a_terminal() -> None:
    [_, row] = instances.table([json.loads(call_line(1, path="/\x1b[31m\n" + "x" * 500))])
    assert row.isprintable()
    assert "\\x1b[31m\\n" in row
    assert "…" in row
    assert len(row) < 200


async def test_every_flag_becomes_a_parameter(port: Any, capsys: pytest.CaptureFixture[str]) -> None:
    port.backend.found = SearchResult((call_line(1),), 9, "memory", lost=2)
    flags = "--request-id r --trace-id 4B --route o --client ::1 --caller c --status 5XX"
    flags += " --since 2026-01-31 --until 2026-02-01"
    assert await run_instances(port.address, "a b&c", *flags.split(), "--limit", "1") == 0
    [query] = port.backend.queries
    assert query == HistoryQuery("a b&c", "r", "o", "::1", "c", "5xx", 1769817600000, 1769904000000, 1, "4b")
    output = capsys.readouterr()
    assert "instance-1" in output.out
    cut = "there may be older calls: raise --limit, or narrow the search"
    assert output.err == f"1 found; {cut}; 9 calls are kept in memory; 2 were lost\n"


async def test_json_is_the_document_of_the_admin_port(port: Any, capsys: pytest.CaptureFixture[str]) -> None:
    port.backend.found = SearchResult((call_line(1),), 9, "memory", stuck=(7,))
    assert await run_instances(port.address, "--json") == 0
    output = capsys.readouterr()
    document = {"instances": [json.loads(call_line(1))], "kept": 9, "where": "memory", "lost": 0, "stuck": [7]}
    assert (json.loads(output.out), output.err) == (document, "")


async def test_nothing_found_is_reported_with_status_one(port: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert await run_instances(port.address, "none") == 1
    assert capsys.readouterr() == ("", "nothing matches; 0 calls are kept in memory\n")
    assert await run_instances(port.address, "none", "--json") == 1
    assert json.loads(capsys.readouterr().out)["instances"] == []


async def test_bytes_that_are_not_text_are_sent_unchanged(port: Any) -> None:
    """What a shell hands over for $'\\xff'."""
    assert await run_instances(port.address, "\udcff") in {1, 2}


@pytest.mark.parametrize(
    ("words", "output"),
    [
        (["--status", "x"], "--status is not a status; write one like 502"),
        (["--since", "x"], "--since is not a time"),
        (["--since", "1h", "--until", "2h"], "--since is later than --until; swap them"),
        (["--limit", "x"], "--limit must be a number"),
        ([""], "ID is empty"),
    ],
)
async def test_a_wrong_flag_is_a_usage_error_without_a_request(
    port: Any, capsys: pytest.CaptureFixture[str], words: list[str], output: str
) -> None:
    assert await run_instances(port.address, *words) == 2
    assert capsys.readouterr().err.startswith(output)
    assert port.seen == []


@pytest.mark.parametrize("failure", [HistoryDisabled(), Unsearchable("the file is held")])
async def test_an_invalid_response_is_reported_and_no_file_read(
    port: Any, capsys: pytest.CaptureFixture[str], failure: Exception, file: instances.HistorySource
) -> None:
    port.backend.failure = failure
    assert await run_instances(port.address, source=file) == 69
    assert capsys.readouterr() == ("", f"{failure}\n")


async def test_a_caller_that_is_not_allowed_is_reported(port: Any, capsys: pytest.CaptureFixture[str]) -> None:
    port.refused = "this address may not call"
    assert await run_instances(port.address) == 69
    assert capsys.readouterr().err == "this address may not call\n"


async def test_without_a_gateway_the_file_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], file: instances.HistorySource
) -> None:
    nowhere = f"unix:{tmp_path}/none"
    assert await run_instances(nowhere, "instance-1", source=file) == 0
    output = capsys.readouterr()
    assert "instance-1" in output.out
    assert output.err == "1 found; 3 calls are kept in a file\n"
    assert await run_instances(nowhere, "none", source=file) == 1
    assert await run_instances(nowhere, "--json", source=file) == 0
    capsys.readouterr()
    assert await run_instances(nowhere, source=(str(tmp_path / "none"), 1e9)) == 69
    assert "no gateway responds at unix:" in capsys.readouterr().err
    assert await run_instances(nowhere) == 69
    assert "its history was in memory" in capsys.readouterr().err


async def test_another_program_on_the_port_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n[1]")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    assert await run_instances(f"127.0.0.1:{server.sockets[0].getsockname()[1]}") == 69
    assert "is not that of a gateway" in capsys.readouterr().err
    server.close()
    await server.wait_closed()
