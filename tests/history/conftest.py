"""The file of a history, and objects that are open on it until the end of a test."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.history.file import FileHistory
from gateway.history.history_file import HistoryFile
from gateway.history.interface import HistoryLimits
from tests.history.call_lines import EVERYTHING, START, ManualClock

OpenHistory = Callable[..., FileHistory]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of a history file that does not exist yet."""
    return tmp_path / "state.db.history"


@pytest.fixture
def history_file(path: Path) -> Iterator[HistoryFile]:
    file = HistoryFile(path)
    yield file
    file.close()


@pytest.fixture
def open_history(path: Path) -> Iterator[OpenHistory]:
    """A function that opens a history at `path`: `open_history(limits, at=time, **settings)`."""
    histories: list[FileHistory] = []

    def open_one(limits: HistoryLimits = EVERYTHING, *, at: float = START + 100, **settings: Any) -> FileHistory:
        defaults: dict[str, Any] = {"clock": ManualClock(at), "interval": 0.001}
        histories.append(FileHistory(path, limits, **defaults | settings))
        return histories[-1]

    yield open_one
    for history in histories:
        history.close(5)
