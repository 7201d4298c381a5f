"""Records are written in batches, which nobody can observe: neither who reads the history, nor a stop or a reload."""

import asyncio
import json
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from gateway.history.query import HistoryQuery
from gateway.history.usage_buckets import UsageBuckets
from gateway.observe import meters
from gateway.observe.log import Log, set_up_log
from gateway.observe.meters import RouteMeter
from gateway.observe.record import Record
from gateway.observe.timestamp import timestamp
from gateway.server.gateway import Gateway
from gateway.server.record_writer import BATCH_SIZE, RecordWriter
from gateway.wiring.history import CallHistory
from tests.fakes.gate import SECRET, config
from tests.fakes.waiting import TIME_LIMIT

CONFIG = config("http://127.0.0.1:1", "http://127.0.0.1:1")
START = 4_000_000_000.0  # never too old for the history


def call(number: int) -> Record:
    time = timestamp(START + number)
    return Record(time=time, request_id=f"request-{number}", method="POST", path="/orders/1?key=s3cr3t", status=200)


def logged_ids(path: Path) -> list[str]:
    return [json.loads(line)["request_id"] for line in path.read_text().splitlines()]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    with (tmp_path / "log").open("w", encoding="utf-8") as stream:
        log = set_up_log(stream=stream)
        yield log
        log.close()


@pytest.fixture
def history() -> CallHistory:
    return CallHistory(CONFIG, UsageBuckets())


@pytest.fixture
def usage() -> UsageBuckets:
    return UsageBuckets()


@pytest.fixture
def writer(log: Log, history: CallHistory, usage: UsageBuckets) -> RecordWriter:
    return RecordWriter(log, history, usage)


def write(writer: RecordWriter, *records: Record, meter: RouteMeter | None = None) -> None:
    for record in records:
        writer.write(record, meter or RouteMeter(), "acme")


async def test_one_record_is_written_without_another(writer: RecordWriter) -> None:
    lines: asyncio.Queue[Sequence[bytes]] = asyncio.Queue()
    writer.watch(lines.put_nowait)
    for number in range(3):  # each in a batch of its own
        write(writer, call(number))
        async with asyncio.timeout(TIME_LIMIT):
            (line,) = await lines.get()
            assert json.loads(line)["request_id"] == f"request-{number}"


async def test_a_full_batch_is_written_at_once(writer: RecordWriter, log: Log, tmp_path: Path) -> None:
    lines: list[bytes] = []
    writer.watch(lines.extend)
    write(writer, *map(call, range(2 * BATCH_SIZE + 1)))
    assert len(lines) == 2 * BATCH_SIZE
    writer.flush()
    assert log.close()
    expected = [f"request-{number}" for number in range(2 * BATCH_SIZE + 1)]
    assert [json.loads(line)["request_id"] for line in lines] == expected
    assert logged_ids(tmp_path / "log") == expected


async def test_full_batches_of_a_route_use_no_memory(writer: RecordWriter) -> None:
    meter = RouteMeter()
    for number in range(3 * meters.BATCH_SIZE + BATCH_SIZE):
        record = call(number)
        meter.begun += 1
        meter.ended.append(record)
        write(writer, record, meter=meter)
        assert len(meter.ended) < meters.BATCH_SIZE + BATCH_SIZE
    assert meter.in_flight == 0
    assert sum(meter.requests.values()) == 3 * meters.BATCH_SIZE + BATCH_SIZE


async def test_messages_are_counted_with_their_batch(writer: RecordWriter, usage: UsageBuckets) -> None:
    for number in range(BATCH_SIZE):
        write(writer, Record(time=timestamp(START), route="orders", caller="erp", messages=number % 3))
    [row] = usage.rows()
    assert (row.service, row.route, row.caller) == ("acme", "orders", "erp")
    assert (row.calls, row.messages) == (21, 31)


async def test_a_watcher_gets_the_records_of_its_time(writer: RecordWriter) -> None:
    lines: list[bytes] = []
    write(writer, call(1))
    writer.watch(lines.extend)
    write(writer, call(2))
    writer.watch(None)
    write(writer, call(3))
    writer.flush()
    assert [json.loads(line)["request_id"] for line in lines] == ["request-2"]


async def test_a_text_that_is_not_utf_8_changes_no_other_line(writer: RecordWriter, log: Log, tmp_path: Path) -> None:
    odd = call(2)
    odd.path = "/caf\udce9\x85\u2028"
    write(writer, call(1), odd, call(3))
    writer.flush()
    assert log.close()
    text = (tmp_path / "log").read_text()
    assert [json.loads(line)["path"] for line in text.split("\n")[:-1]] == [
        "/orders/1",
        "/caf\\udce9\x85\u2028",
        "/orders/1",
    ]
    assert text.isascii()


@pytest.fixture
def endless_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.server.record_writer.MAX_DELAY", 1e6)


@pytest.mark.usefixtures("endless_delay")
async def test_a_gateway_shows_and_stops_with_every_record(log: Log, tmp_path: Path) -> None:
    gateway = Gateway(CONFIG, log, environ={"GATE_SECRET": SECRET}, pseudonym="gate")
    writer = gateway._record_writer
    write(writer, call(1))
    assert (await gateway.instances(HistoryQuery())).kept == 1
    write(writer, call(2))
    assert await gateway.flush_history() == 0
    assert (await gateway._history.find(HistoryQuery())).kept == 2
    billed = call(3)
    billed.messages = 2
    write(writer, billed)
    assert [row.messages for row in (await gateway.usage_in_memory())[0]] == [2]
    write(writer, call(4))
    await gateway.drain()
    await gateway.finish(force_stop=asyncio.Event())
    assert log.close()
    assert logged_ids(tmp_path / "log") == [f"request-{number}" for number in range(1, 5)]
    assert (await gateway._history.find(HistoryQuery())).kept == 4


@pytest.mark.usefixtures("endless_delay")
async def test_a_reload_moves_no_record_to_another_history(log: Log, tmp_path: Path) -> None:
    gateway = Gateway(CONFIG, log, environ={"GATE_SECRET": SECRET}, pseudonym="gate")
    await gateway.open(["127.0.0.1:8080"], [[socket.create_server(("127.0.0.1", 0))]])
    write(gateway._record_writer, call(1))
    before = gateway._history._history
    await gateway.prepare(config("http://127.0.0.1:1", "http://127.0.0.1:1", state=state_in(tmp_path)))
    gateway.adopt()
    assert gateway._history._history is not before
    assert (await before.find(HistoryQuery())).kept == 1
    await gateway.drain()
    await gateway.finish(force_stop=asyncio.Event())


def state_in(folder: Path) -> dict[str, object]:
    key = folder / "key"
    key.write_text("0" * 64, encoding="utf-8")
    key.chmod(0o600)
    return {"path": str(folder / "state.db"), "keys": [{"file": str(key)}]}
