"""A log file that several processes write while it is renamed."""

import asyncio
import os
import sys
from pathlib import Path

from gateway.observe.combined_line import combined_line
from gateway.observe.line_writer import LineWriter
from gateway.observe.log_file import LogFile
from gateway.observe.record import Record
from tests.fakes.process import run_command

WRITER = """
import sys
from pathlib import Path
from gateway.observe.line_writer import LineWriter
from gateway.observe.log_file import LogFile
writer = LineWriter(LogFile(Path(sys.argv[1]), max_bytes=20_000, count=1000), interval=0.0001)
for number in range(3000):
    writer.write(f"{sys.argv[2]}-{number:04}-{'x' * 40}\\n".encode())
    if number % 50 == 0:
        while writer._queue.pending:
            pass
assert writer.close(30)
assert writer.lost == 0
"""


def lines_of(folder: Path) -> list[str]:
    return [line for file in folder.iterdir() for line in file.read_text(encoding="ascii").splitlines()]


async def test_processes_that_rotate_one_file_lose_and_mix_no_line(tmp_path: Path) -> None:
    names = ("first", "second")
    results = await asyncio.gather(
        *(run_command(sys.executable, "-c", WRITER, tmp_path / "log", name) for name in names)
    )
    assert [status for status, _, _ in results] == [0, 0], results
    expected = {f"{name}-{number:04}-{'x' * 40}" for name in names for number in range(3000)}
    files, lines = len(os.listdir(tmp_path)), lines_of(tmp_path)  # noqa: PTH208 - a count
    assert len(lines) == len(expected)
    assert set(lines) == expected
    assert files > 5


def test_a_renamed_file_is_followed_by_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = LogFile(path)
    os.write(file.prepare(), b"one\n")
    path.rename(tmp_path / "log.1")
    os.write(file.prepare(), b"two\n")
    assert ((tmp_path / "log.1").read_bytes(), path.read_bytes()) == (b"one\n", b"two\n")
    assert path.stat().st_mode & 0o777 & ~0o640 == 0


def test_only_the_given_number_of_files_is_kept(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "log", max_bytes=4, count=2)
    for line in (b"one\n", b"two\n", b"three\n", b"four\n"):
        os.write(file.prepare(), line)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {
        "log": b"four\n",
        "log.1": b"three\n",
        "log.2": b"two\n",
    }


def test_without_its_folder_the_former_file_stays_in_use(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    writer = LineWriter(LogFile(folder / "log"), interval=0.001)
    folder.rename(tmp_path / "moved")
    writer.write(b"one\n")
    assert writer.close(5)
    assert (writer.lost, (tmp_path / "moved" / "log").read_bytes()) == (0, b"one\n")


def test_a_combined_line_has_the_fields_of_apache() -> None:
    record = Record(
        time="2026-01-31T12:00:00.123Z",
        client="10.0.0.1",
        caller="erp",
        method="POST",
        path='/orders/"x\\?token=secret',
        status=201,
        bytes_out=17,
    )
    line = rb'10.0.0.1 - erp [31/Jan/2026:12:00:00 +0000] "POST /orders/\"x\\ HTTP/1.1" 201 17 "-" "-"'
    assert combined_line(record) == line + b"\n"
    assert combined_line(Record(time=record.time)) == (
        b'- - - [31/Jan/2026:12:00:00 +0000] "- - HTTP/1.1" - - "-" "-"\n'
    )
