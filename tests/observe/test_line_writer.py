"""The log writer: slow, full, closed and shared outputs."""

import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.observe.line_writer import LineWriter
from tests.fakes.waiting import TIME_LIMIT

LINE = b"x" * 999 + b"\n"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for end in (reader, writer):
        try:
            os.close(end)
        except OSError:
            continue


def read_all(reader: int) -> bytes:
    parts = []
    while part := os.read(reader, 1 << 16):
        parts.append(part)
    return b"".join(parts)


def write_many(writer: LineWriter, mark: bytes) -> None:
    for _ in range(1000):
        writer.write(mark * 50 + b"\n")


def test_lines_are_written_in_order(pipe: tuple[int, int]) -> None:
    reader, target = pipe
    writer = LineWriter(target, interval=0.001)
    writer.write(b"one\n")
    assert os.read(reader, 100) == b"one\n"
    writer.write(b"two\n")
    assert os.read(reader, 100) == b"two\n"
    assert writer.close(5)
    assert writer.lost == 0


def test_close_writes_queued_lines_and_accepts_no_more(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as stream:
        writer = LineWriter(stream, interval=60)
        for number in range(500):
            writer.write(b"%d\n" % number)
        assert writer.close(5)
        writer.write(b"late\n")
    assert (tmp_path / "log").read_bytes() == b"".join(b"%d\n" % number for number in range(500))
    assert writer.lost == 1


def test_lines_of_several_threads_stay_whole(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as stream:
        writer = LineWriter(stream, interval=0.001)
        threads = [threading.Thread(target=write_many, args=(writer, mark)) for mark in (b"a", b"b", b"c")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert writer.close(5)
    lines = (tmp_path / "log").read_bytes().splitlines()
    assert sorted(set(lines)) == [b"a" * 50, b"b" * 50, b"c" * 50]
    assert len(lines) + writer.lost == 3000


def test_a_stalled_reader_blocks_neither_write_nor_close(pipe: tuple[int, int]) -> None:
    reader, target = pipe
    writer = LineWriter(target, interval=0.001, max_lines=300)
    started_at = time.monotonic()
    for _ in range(5000):
        writer.write(LINE)
    assert not writer.close(0.2)
    assert time.monotonic() - started_at < TIME_LIMIT  # nobody ever reads: what waited would wait for ever
    os.close(target)
    output = read_all(reader)
    assert output.startswith(LINE)
    assert writer.lost >= 5000 - len(output) // len(LINE)


def test_the_queued_bytes_are_limited(pipe: tuple[int, int]) -> None:
    _, target = pipe
    writer = LineWriter(target, interval=60, max_bytes=10 * len(LINE))
    for _ in range(11):
        writer.write(LINE)
    assert writer.lost == 1
    assert writer.close(5)


@pytest.mark.parametrize("limit", [{"max_bytes": 10 * len(LINE)}, {"max_lines": 10}])
def test_lines_at_once_fill_the_queue_like_single_ones(pipe: tuple[int, int], limit: dict[str, int]) -> None:
    reader, target = pipe
    writer = LineWriter(target, interval=60, **limit)
    for count in (4, 5, 6, 1):
        writer.write_all([LINE] * count)
    assert writer.lost == 6
    assert writer.close(5)
    os.close(target)
    assert read_all(reader) == LINE * 10


def test_a_slow_reader_gets_every_byte_once(pipe: tuple[int, int]) -> None:
    reader, target = pipe
    os.set_blocking(target, False)
    writer = LineWriter(target, interval=0.001)
    for number in range(2000):
        writer.write(b"%0999d\n" % number)
    os.close(target)
    closing = threading.Thread(target=writer.close, args=(10,))
    closing.start()
    assert read_all(reader) == b"".join(b"%0999d\n" % number for number in range(2000))
    closing.join()
    assert writer.lost == 0


def test_lines_without_a_reader_are_only_counted(pipe: tuple[int, int]) -> None:
    reader, target = pipe
    os.close(reader)
    writer = LineWriter(target, interval=0.001)
    for _ in range(10):
        writer.write(LINE)
    assert writer.close(5)
    assert writer.lost == 10


def test_a_new_reader_of_a_named_pipe_begins_at_a_line(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    first = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    target = os.open(path, os.O_WRONLY)
    writer = LineWriter(target, interval=0.001)
    os.close(target)
    os.close(first)
    writer.write(b"not read\n")
    while not writer.lost:
        time.sleep(0)
    second = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writer.write(b"again\n")
    assert writer.close(5)
    assert os.read(second, 100) == b"again\n"
    os.close(second)


def test_a_full_disk_delays_nothing() -> None:
    with Path("/dev/full").open("wb", buffering=0) as full:
        writer = LineWriter(full, interval=0.001)
        writer.write(LINE)
        writer.write(LINE)
        assert not writer.close(0.1)
        assert writer.lost == 2


def test_a_target_closed_by_other_code_gets_its_lines(tmp_path: Path) -> None:
    stream = (tmp_path / "log").open("wb")
    writer = LineWriter(stream, interval=60)
    stream.close()
    with (tmp_path / "other").open("wb"):
        writer.write(b"line\n")
        assert writer.close(5)
    assert (tmp_path / "log").read_bytes() == b"line\n"
    assert (tmp_path / "other").read_bytes() == b""


SHARED_OUTPUT = """
import sys
from gateway.observe.line_writer import LineWriter
from tests.fakes.waiting import TIME_LIMIT
writer = LineWriter(1, interval=0.001)
for _ in range(40):
    writer.write(sys.argv[1].encode() * 9000 + b"\\n")
    writer.write(sys.argv[1].encode() * 90 + b"\\n")
sys.exit(not writer.close(20))
"""


@pytest.mark.parametrize("kind", ["blocking", "nonblocking"])
def test_long_lines_of_several_processes_stay_whole(pipe: tuple[int, int], kind: str) -> None:
    reader, target = pipe
    os.set_blocking(target, kind == "blocking")
    processes = [subprocess.Popen([sys.executable, "-c", SHARED_OUTPUT, mark], stdout=target) for mark in "abc"]
    os.close(target)
    lines = read_all(reader).splitlines()
    assert [process.wait(20) for process in processes] == [0, 0, 0]
    assert sorted(lines) == sorted(
        mark * length for mark in (b"a", b"b", b"c") for length in (9000, 90) for _ in range(40)
    )


LOCK_HOLDER = """
import fcntl, sys
fcntl.lockf(1, fcntl.LOCK_EX)
sys.stderr.write("locked")
sys.stderr.flush()
sys.stdin.read()
"""


def test_a_stopped_lock_holder_does_not_block_others(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.observe.line_writer._LOCK_LIMIT", 0.01)
    reader, target = pipe
    with subprocess.Popen(
        [sys.executable, "-c", LOCK_HOLDER], stdout=target, stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as holder:
        assert holder.stderr is not None
        assert holder.stderr.read(6) == b"locked"
        writer = LineWriter(target, interval=0.001)
        writer.write(LINE)
        assert os.read(reader, 2000) == LINE
        assert writer.close(5)
        with pytest.raises(BlockingIOError):
            fcntl.lockf(target, fcntl.LOCK_EX | fcntl.LOCK_NB)
        holder.kill()
