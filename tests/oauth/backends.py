"""Stores of every kind for tests, with a clock that is turned by hand; tampering from outside."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from gateway.oauth.lifetime import Token
from gateway.oauth.store import Store
from gateway.oauth.stores.backend_interface import Backend
from gateway.oauth.stores.encrypted import EncryptedStore
from gateway.oauth.stores.entry_cipher import EntryCipher
from gateway.oauth.stores.file import FileBackend
from gateway.oauth.stores.redis import RedisAddress, RedisBackend
from tests.fakes.redis import RedisServer
from tests.fakes.waiting import TIME_LIMIT
from tests.oauth.scene import ManualClock

KEY = bytes(range(32))
VALUE = "a-token-that-nobody-may-read"


@dataclass
class RecordedStoreEvents:
    """A watch that notes everything."""

    lines: list[str] = field(default_factory=list)
    more: asyncio.Event = field(default_factory=asyncio.Event)

    def on_unreadable_entry(self, name: str) -> None:
        self._note(f"unreadable {name}")

    def on_store_down(self, why: str) -> None:
        self._note(f"down: {why}")

    def on_store_up(self) -> None:
        self._note("up")

    async def wait_for_lines(self, *beginnings: str) -> None:
        """Waits until the lines begin so, one after the other, and there are no others."""
        async with asyncio.timeout(TIME_LIMIT):
            while len(self.lines) < len(beginnings):
                self.more.clear()
                await self.more.wait()
        assert [line.partition(":")[0] for line in self.lines] == list(beginnings), self.lines

    def _note(self, line: str) -> None:
        self.lines.append(line)
        self.more.set()


@dataclass
class StoreUnderTest:
    """A store, and how time passes for it."""

    store: Store
    clock: ManualClock
    turn: Callable[[float], Awaitable[None]]


def token(value: str, clock: ManualClock, life: float = 60.0) -> Token:
    now, wall = clock.monotonic(), clock.wall()
    return Token(
        value, obtained_at=now, stale_at=now + life / 2, usable_until=now + life, usable_until_wall=wall + life
    )


def encrypted_store(
    backend: Backend, clock: ManualClock, *, keys: tuple[bytes, ...] = (KEY,), watch: RecordedStoreEvents | None = None
) -> EncryptedStore:
    return EncryptedStore(backend, cipher=EntryCipher(keys), clock=clock, reporter=watch or RecordedStoreEvents())


def file_store(
    path: Path, clock: ManualClock, *, keys: tuple[bytes, ...] = (KEY,), watch: RecordedStoreEvents | None = None
) -> EncryptedStore:
    return encrypted_store(FileBackend(path, clock=clock), clock, keys=keys, watch=watch)


def redis_store(
    server: RedisServer,
    clock: ManualClock,
    *,
    keys: tuple[bytes, ...] = (KEY,),
    watch: RecordedStoreEvents | None = None,
) -> EncryptedStore:
    backend = RedisBackend(RedisAddress((("127.0.0.1", server.port),)), connect_timeout=0.5)
    return encrypted_store(backend, clock, keys=keys, watch=watch)


def rows(path: Path) -> dict[str, bytes]:
    """All entries of a state file, as anyone finds them who can read it."""
    with closing(sqlite3.connect(path)) as connection:
        return dict(connection.execute("SELECT name, data FROM entry"))


def tamper(path: Path, name: str, data: object) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT OR REPLACE INTO entry (name, data) VALUES (?, ?)", (name, data))


def all_bytes(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.iterdir()))


def modes(folder: Path) -> dict[str, str]:
    return {file.name: f"{file.stat().st_mode & 0o777:o}" for file in folder.iterdir()}


class ManualSleep:
    """A pause that lasts until it is turned; `pauses` are the seconds of each."""

    def __init__(self) -> None:
        self.pauses: list[float] = []
        self._more = asyncio.Event()
        self._turns = asyncio.Semaphore(0)

    async def __call__(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self._more.set()
        await self._turns.acquire()

    async def wait_for_pauses(self, *pauses: float) -> None:
        """Waits until these pauses were asked for, and no others."""
        async with asyncio.timeout(TIME_LIMIT):
            while len(self.pauses) < len(pauses):
                self._more.clear()
                await self._more.wait()
        assert self.pauses == [*pauses]

    def release(self) -> None:
        self._turns.release()
