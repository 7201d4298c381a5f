"""Files are written whole or not at all; lines are appended on their own."""

import asyncio
import os
import socket
from pathlib import Path

import pytest

from gateway.system.safe_write import append_line, edit_file


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    file = tmp_path / "file"
    edit_file(file, lambda content: content + b"one")
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o644)
    before = file.stat().st_ino
    edit_file(file, lambda content: content + b" two")
    assert file.read_bytes() == b"one two"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.stat().st_ino != before


def test_a_failed_edit_leaves_the_file_alone(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"one")
    with pytest.raises(ZeroDivisionError):
        edit_file(file, lambda _: bytes(1 // 0))
    with pytest.raises(FileNotFoundError):
        edit_file(tmp_path / "missing" / "file", bytes)
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("file", b"one")]


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    link, target = tmp_path / "link", tmp_path / "target"
    target.write_bytes(b"one")
    link.symlink_to(target)
    edit_file(link, lambda content: content + b" two")
    assert link.is_symlink()
    assert target.read_bytes() == b"one two"


def test_a_file_keeps_its_owner(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"one")
    # Only root can give a file to another user; others can give it to another group of theirs.
    owner, group = (1234, 2345) if os.geteuid() == 0 else (os.geteuid(), min(os.getgroups(), default=os.getegid()))
    os.chown(file, owner, group)
    edit_file(file, lambda content: content)
    assert (file.stat().st_uid, file.stat().st_gid) == (owner, group)


def test_lines_are_appended_to_a_private_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    append_line(file, b"one\n")
    append_line(file, b"two\n")
    assert file.read_bytes() == b"one\ntwo\n"
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_line_that_was_cut_short_is_ended_first(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"one\ntw")
    append_line(file, b"three\n")
    assert file.read_bytes() == b"one\ntw\nthree\n"


async def test_only_a_regular_file_is_written(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="not a regular file"):
        await asyncio.to_thread(append_line, pipe, b"one\n")
    address = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(address))
        with pytest.raises(OSError, match=r".+"):
            append_line(address, b"one\n")
    with pytest.raises(IsADirectoryError):
        append_line(tmp_path, b"one\n")
