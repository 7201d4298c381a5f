"""Files that do not answer: pipes are refused at once, and a reader that hangs is left behind."""

import asyncio
import os
import threading
from pathlib import Path

import pytest

from gateway.system import files


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def test_a_pipe_is_refused_without_waiting(pipe: Path) -> None:
    with pytest.raises(files.NotRegular, match="not a regular file"):
        files.read_file(pipe, 10)


@pytest.mark.parametrize("path", ["/dev/null", "/"])
def test_what_is_no_file_is_refused(path: str) -> None:
    with pytest.raises(OSError, match="not a regular file"):
        files.read_file(path, 10)


def test_a_symbolic_link_to_a_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"secret")
    (tmp_path / "link").symlink_to("file")
    assert files.read_file(tmp_path / "link", 3) == b"sec"


async def test_a_reader_that_hangs_is_left_behind() -> None:
    released = threading.Event()
    with pytest.raises(TimeoutError, match="do not answer within"):
        await files.in_thread(released.wait, owner="a", within=0.01)
    assert await files.in_thread(lambda: "another", owner="a") == "another"
    released.set()


def test_a_thread_may_leave_another_behind() -> None:
    released = threading.Event()
    with pytest.raises(TimeoutError, match=r"no answer within 0\.01 s"):
        files.run_with_timeout(released.wait, owner="a", timeout=0.01)
    assert files.run_with_timeout(lambda: "another", owner="a", timeout=10) == "another"
    released.set()


async def test_readers_that_hang_do_not_pile_up_and_harm_no_other() -> None:
    released = threading.Event()
    hanging = [files.in_thread(released.wait, owner="a", within=0.01) for _ in range(files.MAX_ABANDONED)]
    for answer in await asyncio.gather(*hanging, return_exceptions=True):
        assert isinstance(answer, TimeoutError)
    with pytest.raises(TimeoutError, match="still hang"):
        await files.in_thread(str, owner="a")
    assert await files.in_thread(str, owner="b") == ""
    left = tuple(files._abandoned["a"])
    released.set()
    for result in left:
        assert result.result(10)
    assert await files.in_thread(str, owner="a") == ""
    assert not files._abandoned


async def test_many_readers_that_do_not_hang_are_not_bounded() -> None:
    assert await asyncio.gather(*(files.in_thread(str, owner="a") for _ in range(50))) == [""] * 50


async def test_an_error_in_the_thread_is_the_callers() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        await files.in_thread(lambda: int("x"), owner="a")
