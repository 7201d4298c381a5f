"""The watch of the configuration's files: when it reloads."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.config.watched_files import WatchedFiles, watch_file
from gateway.server import config_watch
from gateway.server.config_watch import ConfigWatch
from tests.fakes.waiting import TIME_LIMIT


class Reloads:
    """Counts reloads; each reads the file, as the real one does."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.read = watch_file(file)
        self.is_refused = False
        self.count = 0
        self.change = asyncio.Event()

    async def reload(self) -> None:
        self.read = watch_file(self.file)
        self.count += 1
        self.change.set()

    def last_read(self) -> WatchedFiles:
        return self.read

    async def reached(self, count: int) -> None:
        async with asyncio.timeout(TIME_LIMIT):
            while self.count < count:
                self.change.clear()
                await self.change.wait()


@pytest.fixture
async def reloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Reloads]:
    monkeypatch.setattr(config_watch, "CHECK_INTERVAL", 0.01)
    file = tmp_path / "[gateway].yaml"  # a name that is no pattern
    file.write_text("a", encoding="utf-8")
    found = Reloads(file)
    watch = ConfigWatch(found.reload, last_read=found.last_read, is_refused=lambda: found.is_refused)
    watch.start()
    yield found
    watch.stop()


async def test_a_changed_a_missing_and_a_replaced_file_reload(reloads: Reloads, tmp_path: Path) -> None:
    reloads.file.write_text("changed", encoding="utf-8")
    await reloads.reached(1)
    reloads.file.unlink()
    await reloads.reached(2)
    other = tmp_path / "other"
    other.write_text("changed", encoding="utf-8")
    other.rename(reloads.file)
    await reloads.reached(3)


async def test_a_change_between_reading_and_watching_is_found(reloads: Reloads) -> None:
    reloads.read = WatchedFiles(reloads.read.patterns, ())
    await reloads.reached(1)


async def test_a_refused_configuration_is_tried_again(reloads: Reloads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_watch, "RETRY_INTERVAL", 0.01)
    reloads.file.write_text("broken", encoding="utf-8")
    await reloads.reached(1)
    reloads.is_refused = True
    await reloads.reached(3)


async def test_an_unchanged_file_does_not_reload(reloads: Reloads) -> None:
    reloads.file.write_text("changed", encoding="utf-8")
    await reloads.reached(1)
    looks = asyncio.Semaphore(0)

    def last_read() -> WatchedFiles:
        looks.release()
        return reloads.read

    watch = ConfigWatch(reloads.reload, last_read=last_read, is_refused=lambda: False)
    watch.start()
    async with asyncio.timeout(TIME_LIMIT):
        for _ in range(10):
            await looks.acquire()
    watch.stop()
    assert reloads.count == 1
