from gateway.oauth.lifetime import Token
from gateway.oauth.store import MemoryStore
from tests.oauth.scene import Turned


def token(value: str, clock: Turned, life: float = 60.0) -> Token:
    now = clock.monotonic()
    return Token(value, obtained_at=now, stale_at=now, dead_at=now + life, dead_wall=clock.wall() + life)


async def test_a_token_is_given_until_it_is_dead() -> None:
    clock = Turned()
    store = MemoryStore(clock)
    await store.put("key", token("a", clock))
    clock.turn(59)
    kept = await store.get("key")
    assert kept is not None
    assert kept.value == "a"
    clock.turn(1)
    assert await store.get("key") is None


async def test_keys_are_apart_and_the_last_put_wins() -> None:
    clock = Turned()
    store = MemoryStore(clock)
    await store.put("one", token("a", clock))
    await store.put("one", token("b", clock))
    assert (await store.get("one")) == token("b", clock)
    assert await store.get("other") is None


async def test_memory_is_bounded() -> None:
    clock = Turned()
    store = MemoryStore(clock, size=2)
    for number in range(9):
        await store.put(str(number), token("a", clock))
    assert [await store.get(str(number)) is not None for number in range(9)].count(True) == 2
