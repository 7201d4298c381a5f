"""The file: whom it belongs to, what lies in it, and what happens to it from outside."""

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from gateway.oauth.clock import SystemClock
from gateway.oauth.store import EntryUnreadable, StoreDown
from gateway.oauth.stores.fallback import FallbackStore
from gateway.oauth.stores.file import LOCK_TIMEOUT, FileBackend
from gateway.oauth.stores.memory import MemoryStore
from tests.fakes.process import ROOT
from tests.fakes.waiting import TIME_LIMIT
from tests.oauth.backends import (
    KEY,
    VALUE,
    ManualSleep,
    RecordedStoreEvents,
    all_bytes,
    file_store,
    modes,
    rows,
    tamper,
    token,
)
from tests.oauth.scene import ManualClock

OTHER_KEY = bytes(32)
TOKEN_NAME, SECRET_NAME = "oic-gateway:1:token:key", "oic-gateway:1:secret:key"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@contextmanager
def generous() -> Iterator[None]:
    """New files are everybody's, unless they say otherwise."""
    before = os.umask(0)
    try:
        yield
    finally:
        os.umask(before)


def opened_to_others(path: Path) -> bytes:
    """Gives what is in it."""
    path.chmod(0o664)
    return path.read_bytes()


def halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


async def test_the_file_and_those_beside_it_are_its_owner_s_alone(path: Path) -> None:
    store = file_store(path, ManualClock())
    with generous():
        await store.put_token("key", token(VALUE, ManualClock()))
    assert modes(path.parent) == {"state.db": "600", "state.db-wal": "600", "state.db-shm": "600"}
    await store.close()
    assert modes(path.parent) == {"state.db": "600"}


async def test_a_file_that_was_opened_to_others_is_closed_to_them(path: Path) -> None:
    store = file_store(path, ManualClock())
    await store.put_refresh_token("key", VALUE)
    await store.close()
    opened_to_others(path)
    store = file_store(path, ManualClock())
    assert await store.get_refresh_token("key") == VALUE
    assert modes(path.parent)["state.db"] == "600"
    await store.close()


async def test_no_token_is_readable_in_the_file(path: Path) -> None:
    store = file_store(path, ManualClock())
    await store.put_token("key", token(VALUE, ManualClock()))
    await store.put_refresh_token("key", VALUE)
    assert VALUE.encode() not in all_bytes(path.parent)
    await store.close()
    assert set(rows(path)) == {TOKEN_NAME, SECRET_NAME}
    assert VALUE.encode() not in all_bytes(path.parent)


async def test_it_is_kept_over_a_restart_and_shared_meanwhile(path: Path) -> None:
    clock = ManualClock()
    one, other = file_store(path, clock), file_store(path, clock)
    await one.put_token("key", token(VALUE, clock))
    await other.put_refresh_token("key", "r")
    assert await one.get_refresh_token("key") == "r"
    await one.close()
    await other.close()
    again = file_store(path, clock)
    found = await again.get_token("key")
    assert found is not None
    assert (found.value, await again.get_refresh_token("key")) == (VALUE, "r")
    await again.close()


async def test_what_is_dead_is_taken_out(path: Path) -> None:
    clock = ManualClock()
    store = file_store(path, clock)
    await store.put_token("old", token("a", clock))
    await store.put_refresh_token("kept", "r")
    clock.advance(61)
    await store.put_token("new", token("b", clock))
    await store.close()
    assert set(rows(path)) == {"oic-gateway:1:secret:kept", "oic-gateway:1:token:new"}


@pytest.mark.parametrize(
    "bad", [b"", b"\x01", b"\x01" + bytes(60), bytes(2**24), "text", 17, "cut", "other", "changed"]
)
async def test_an_unreadable_entry_is_reported_once(path: Path, bad: object) -> None:
    clock, events = ManualClock(), RecordedStoreEvents()
    store = file_store(path, clock, watch=events)
    for key in ("key", "other"):
        await store.put_token(key, token(key, clock))
        await store.put_refresh_token(key, key)
    before = rows(path)
    for kind in ("token", "secret"):
        good = before[f"oic-gateway:1:{kind}:key"]
        damaged_files = {"cut": good[:-1], "other": before[f"oic-gateway:1:{kind}:other"], "changed": good[:-1] + b"\0"}
        tamper(path, f"oic-gateway:1:{kind}:key", damaged_files.get(str(bad), bad))
    for _ in range(3):
        assert await store.get_token("key") is None
        with pytest.raises(EntryUnreadable):
            await store.get_refresh_token("key")
        await store.delete_token("key", "key")
    assert events.lines == [f"unreadable {TOKEN_NAME}", f"unreadable {SECRET_NAME}"]
    found = await store.get_token("other")
    assert found is not None
    assert await store.get_refresh_token("other") == "other"
    await store.put_token("key", token("new", clock))
    found = await store.get_token("key")
    assert found is not None
    assert found.value == "new"
    await store.close()


async def test_keys_are_changed_without_a_loss(path: Path) -> None:
    clock = ManualClock()
    for keys, writes in (((KEY,), "one"), ((OTHER_KEY, KEY), "two"), ((OTHER_KEY, KEY), "three")):
        store = file_store(path, clock, keys=keys)
        await store.put_refresh_token(writes, writes)
        assert await store.get_refresh_token("one") == "one"
        await store.close()
    events = RecordedStoreEvents()
    store = file_store(path, clock, keys=(OTHER_KEY,), watch=events)
    with pytest.raises(EntryUnreadable):
        await store.get_refresh_token("one")
    assert [await store.get_refresh_token(name) for name in ("two", "three")] == ["two", "three"]
    assert events.lines == ["unreadable oic-gateway:1:secret:one"]
    await store.close()
    store = file_store(path, clock, keys=(OTHER_KEY, KEY))
    assert await store.get_refresh_token("one") == "one"  # it was left where it was
    await store.close()


# The file from outside ----------------------------------------------------------------------------------------------


async def test_another_program_s_database_is_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    before = opened_to_others(path)
    store = file_store(path, ManualClock())
    with pytest.raises(StoreDown, match="the database of another program"):
        await store.check()
    await store.close()
    assert modes(path.parent) == {"state.db": "664"}
    assert all_bytes(path.parent) == before


@pytest.fixture(params=[b"listen: 127.0.0.1:8080\n" * 99, b"SQLite format 3\0" + bytes(4000)])
def content(path: Path, request: pytest.FixtureRequest) -> bytes:
    """Of a file that is none of ours."""
    path.write_bytes(request.param)
    return path.read_bytes()


async def test_a_file_that_is_no_database_is_left_alone(path: Path, content: bytes) -> None:
    store = file_store(path, ManualClock())
    with pytest.raises(StoreDown, match="not a database"):
        await store.get_token("key")
    await store.close()
    assert all_bytes(path.parent) == content


async def test_a_damaged_file_is_reported_and_ends_nothing(path: Path) -> None:
    clock = ManualClock()
    store = file_store(path, clock)
    for number in range(50):
        await store.put_refresh_token(str(number), VALUE * 20)
    await store.close()
    halve(path)
    store = file_store(path, clock)
    with pytest.raises(StoreDown, match=r"malformed|corrupt"):
        await asyncio.gather(*(store.get_refresh_token(str(number)) for number in range(50)))
    await store.close()


async def test_a_missing_folder_is_no_end(path: Path) -> None:
    clock = ManualClock()
    store = file_store(path.parent / "later" / "state.db", clock)
    with pytest.raises(StoreDown, match="No such file"):
        await store.check()
    (path.parent / "later").mkdir()
    await store.put_refresh_token("key", "r")
    assert await store.get_refresh_token("key") == "r"
    await store.close()


async def test_nothing_is_written_to_a_file_that_was_removed(path: Path) -> None:
    clock = ManualClock()
    store = file_store(path, clock)
    await store.put_refresh_token("key", "lost with the file")
    for file in list(path.parent.iterdir()):
        file.unlink()
    assert await store.get_refresh_token("key") is None
    await store.put_refresh_token("key", "r")
    beside = file_store(path, clock)
    assert await beside.get_refresh_token("key") == "r"
    await store.close()
    await beside.close()


async def test_a_lease_from_before_the_clock_was_set_back_is_not_stuck(path: Path) -> None:
    clock = ManualClock()
    store = file_store(path, clock)
    assert await store.claim_lease("key", owner="dead", seconds=10)
    clock.time -= 3600
    assert await store.claim_lease("key", owner="a", seconds=10)
    assert not await store.claim_lease("key", owner="b", seconds=10)
    await store.close()


async def test_a_lease_that_ends_too_late_is_taken_over(path: Path) -> None:
    store = file_store(path, ManualClock())
    assert await store.claim_lease("key", owner="gone", seconds=10)
    for end in ("9e999", "until + 864000"):
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(f"UPDATE lease SET until = {end}, owner = 'gone'")
        assert await store.claim_lease("key", owner="a", seconds=10)
        assert not await store.claim_lease("key", owner="b", seconds=10)
    await store.close()


async def test_a_file_locked_by_another_delays_no_caller(path: Path) -> None:
    clock, events, crank = ManualClock(), RecordedStoreEvents(), ManualSleep()
    inner = file_store(path, clock)
    await inner.put_token("key", token("a", clock))
    store = FallbackStore(inner, local=MemoryStore(clock), events=events, timeout=0.5, sleep=crank)
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        found = await store.get_token("key")
        assert found is not None  # readers need no lock
        started_at = asyncio.get_running_loop().time()
        assert await store.claim_lease("key", owner="a", seconds=10)
        assert asyncio.get_running_loop().time() - started_at < LOCK_TIMEOUT  # as long as the file itself waits
        assert not store.health().ok
    crank.release()
    await events.wait_for_lines("down", "up")
    await store.close()


# Several processes --------------------------------------------------------------------------------------------------

# Prints, as JSON, which of the leases it won.
CLAIMING = """
import asyncio, json, os, sys
from pathlib import Path
from gateway.oauth.clock import SystemClock
from gateway.oauth.stores.file import LOCK_TIMEOUT, FileBackend

async def main():
    backend = FileBackend(sys.argv[1], clock=SystemClock())
    owner = str(os.getpid())
    sys.stdin.readline()
    won = [name for name in map(str, range(100)) if await backend.claim(name, owner=owner, seconds=60)]
    print(json.dumps(won))
    await backend.close()

asyncio.run(main())
"""

# Forks a writer of refresh tokens 1, 2, 3 … again and again, and kills it so many microseconds after it has begun to
# write; then prints what was acknowledged last and what the file holds, and begins anew with that.
WRITING = """
import asyncio, os, signal, sys, time
from gateway.oauth.clock import SystemClock
from gateway.oauth.stores.file import LOCK_TIMEOUT, FileBackend
from gateway.oauth.stores.entry_cipher import EntryCipher
from gateway.oauth.stores.encrypted import EncryptedStore

def opened():
    clock = SystemClock()
    backend = FileBackend(sys.argv[1], clock=clock)
    return EncryptedStore(backend, cipher=EntryCipher([bytes(32)]), clock=clock, reporter=None)

async def write(number, out):
    store = opened()
    while True:
        number += 1
        os.write(out, b"%d started\\n" % number)
        await store.put_refresh_token("key", str(number))
        os.write(out, b"%d stored\\n" % number)

async def stored_number():
    store = opened()
    try:
        return int(await store.get_refresh_token("key") or 0)
    finally:
        await store.close()

number = 0
for round in range(int(sys.argv[2])):
    come, go = os.pipe()
    pid = os.fork()
    if not pid:
        asyncio.run(write(number, go))
    os.close(go)
    output = os.read(come, 1 << 16)
    end = time.perf_counter() + round * 50e-6
    while time.perf_counter() < end:
        pass
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    while piece := os.read(come, 1 << 16):
        output += piece
    os.close(come)
    lines = output.decode().splitlines()
    stored = max([int(line.split()[0]) for line in lines if line.endswith("stored")], default=number)
    started = max(int(line.split()[0]) for line in lines)
    number = asyncio.run(stored_number())
    print(stored, number, started)
"""


def test_of_several_processes_each_lease_has_one_winner(path: Path) -> None:
    """They also make the file at the same moment."""
    command = [sys.executable, "-c", CLAIMING, str(path)]
    pipe = subprocess.PIPE
    claimers = [subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=ROOT, text=True) for _ in range(4)]
    for claimer in claimers:
        assert claimer.stdin is not None
        claimer.stdin.write("go\n")
        claimer.stdin.flush()
    won = [json.loads(claimer.communicate(timeout=TIME_LIMIT)[0]) for claimer in claimers]
    assert [claimer.returncode for claimer in claimers] == [0] * 4
    assert sorted(int(name) for names in won for name in names) == list(range(100))


def test_a_killed_writer_loses_no_refresh_token_that_was_kept(path: Path) -> None:
    rounds = 60
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WRITING, str(path), str(rounds)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=TIME_LIMIT,
    )
    rounds_found = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    assert len(rounds_found) == rounds
    for last_stored, found, last_started in rounds_found:
        assert last_stored <= found <= last_started, (last_stored, found, last_started)
    assert any(last_stored < found or found < last_started for last_stored, found, last_started in rounds_found), (
        "no writer was killed within a write"
    )
    assert modes(path.parent) == {"state.db": "600"}


async def test_a_new_file_can_be_opened_by_several_at_once(tmp_path: Path) -> None:
    """As the workers of one gateway do. The moment is short: it is tried often."""
    for number in range(60):
        backends = [FileBackend(str(tmp_path / f"{number}.db"), clock=SystemClock()) for _ in range(3)]
        assert await asyncio.gather(*(backend.read("key") for backend in backends)) == [None] * 3
        for backend in backends:
            await backend.close()
