"""Invites in each kind of store: seen by all who share it, redeemed once, ended after half an hour."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.oauth.store import Store, StoreHealth
from gateway.oauth.stores.encrypted import EncryptedStore
from gateway.oauth.stores.entry_cipher import EntryCipher
from gateway.oauth.stores.file import FileBackend
from gateway.oauth.stores.memory import MemoryStore
from gateway.oauth.stores.redis import RedisAddress, RedisBackend
from gateway.signin.authorization_response import NotSignedIn
from gateway.signin.invites import (
    INVITE_LIFETIME,
    MAX_OPEN_INVITES,
    Invite,
    create_invite,
    find_invite,
    hash_invite,
    redeem_invite,
)
from tests.fakes.console_gate import LaterClock
from tests.fakes.redis import RedisServer

KEY = bytes(range(32))


class NoReports:
    def on_unreadable_entry(self, name: str) -> None:
        raise AssertionError(name)


@asynccontextmanager
async def two_processes(kind: str, folder: Path, clock: LaterClock) -> AsyncIterator[tuple[Store, Store]]:
    """The stores of two processes; those in memory are one process."""
    if kind == "memory":
        store = MemoryStore(clock)
        yield store, store
        return
    async with RedisServer() as server:
        host, _, port = server.url.removeprefix("redis://").partition("/")[0].rpartition(":")

        def backend() -> FileBackend | RedisBackend:
            if kind == "file":
                return FileBackend(folder / "state.db", clock=clock)
            return RedisBackend(RedisAddress(((host, int(port)),)), connect_timeout=5.0)

        one, other = (
            EncryptedStore(backend(), cipher=EntryCipher([KEY]), clock=clock, reporter=NoReports()) for _ in range(2)
        )
        try:
            yield one, other
        finally:
            await asyncio.gather(one.close(), other.close())


def hashed(token: str) -> str:
    token_hash = hash_invite(token)
    assert token_hash is not None
    return token_hash


@pytest.mark.parametrize("kind", ["memory", "file", "redis"])
async def test_one_process_redeems_what_another_made(kind: str, tmp_path: Path) -> None:
    clock = LaterClock()
    async with two_processes(kind, tmp_path, clock) as (one, other):
        token = await create_invite(one, "person", "ann", clock=clock)
        assert await find_invite(other, hashed(token)) == Invite("person", "ann", 0)
        redeemed = await asyncio.gather(
            *(redeem_invite(store, hashed(token)) for store in (one, other) * 4), return_exceptions=True
        )
        assert [one for one in redeemed if isinstance(one, Invite)] == [Invite("person", "ann", 0)]
        assert all(isinstance(one, Invite | NotSignedIn) for one in redeemed)
        for call in (find_invite, redeem_invite):
            with pytest.raises(NotSignedIn, match="was used before"):
                await call(other, hashed(token))


@pytest.mark.parametrize("kind", ["memory", "file"])
async def test_invites_end_and_are_bounded(kind: str, tmp_path: Path) -> None:
    clock = LaterClock()
    async with two_processes(kind, tmp_path, clock) as (one, other):
        tokens = [await create_invite(one, "person", "ann", clock=clock) for _ in range(MAX_OPEN_INVITES)]
        with pytest.raises(NotSignedIn, match="8 invites for person are open"):
            await create_invite(other, "person", "bob", clock=clock)
        await create_invite(other, "another", "bob", clock=clock)
        assert (await redeem_invite(other, hashed(tokens[5]))).place == 5
        await create_invite(other, "person", "bob", clock=clock)
        clock.seconds = INVITE_LIFETIME + 1
        for token in tokens:
            with pytest.raises(NotSignedIn, match="has expired"):
                await redeem_invite(one, hashed(token))
        assert await create_invite(one, "person", "ann", clock=clock)


class DownStore(MemoryStore):
    """What remains while the shared store is down."""

    def health(self) -> StoreHealth:
        return StoreHealth(ok=False, kind="redis", why="Redis: it cannot be reached")


async def test_no_invite_is_made_or_redeemed_in_memory_alone() -> None:
    clock = LaterClock()
    store, down = MemoryStore(clock), DownStore(clock)
    token_hash = hashed(await create_invite(store, "person", "ann", clock=clock))
    entry = await store.get_token(f"invite:{token_hash}")
    assert entry is not None
    await down.put_token(f"invite:{token_hash}", entry)
    calls: list[Callable[[], object]] = [
        lambda: create_invite(down, "person", "ann", clock=clock),
        lambda: redeem_invite(down, token_hash),
        lambda: find_invite(down, token_hash),
    ]
    for call in calls:
        with pytest.raises(NotSignedIn, match="cannot be reached"):
            await call()  # type: ignore[misc]


@pytest.mark.parametrize("text", ["", "A" * 42, "A" * 44, "A" * 42 + "=", "A" * 42 + "\n", "é" * 43])
def test_other_texts_are_no_invite(text: str) -> None:
    assert hash_invite(text) is None
