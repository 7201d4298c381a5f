import asyncio
import hashlib
from collections.abc import AsyncIterator

from gateway.sandbox.journal import Call, Journal


async def test_it_keeps_the_last_and_counts_all() -> None:
    journal: Journal[int] = Journal(limit=2)
    for entry in (1, 2, 3):
        journal.add(entry)
    assert (list(journal), journal[-1], len(journal), journal.total) == ([2, 3], 3, 2, 3)
    journal.clear()
    assert (len(journal), journal.total) == (0, 0)


async def test_a_waiter_wakes_at_its_number() -> None:
    journal: Journal[int] = Journal()
    waiting = asyncio.ensure_future(journal.reached(2))
    journal.add(1)
    await asyncio.wait([waiting], timeout=0)
    assert not waiting.done()
    journal.add(2)
    await waiting


async def test_a_call_stores_the_start_of_its_body() -> None:
    async def body() -> AsyncIterator[bytes]:
        for piece in (b"abc", b"def", b"ghi"):
            yield piece

    for limit, expected in ((0, b""), (2, b"ab"), (3, b"abc"), (4, b"abcd"), (9, b"abcdefghi"), (99, b"abcdefghi")):
        call = Call(0.0, "POST", "/", (), body_start_limit=limit)
        assert b"".join([piece async for piece in call.watch(body())]) == b"abcdefghi"
        assert call.body_start == expected
        assert b"abc" not in repr(call).encode()


async def test_a_call_hashes_what_passes() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"ab"
        yield b"c"

    call = Call(0.0, "POST", "/", ((b"A", b"1"),))
    passing = call.watch(body())
    assert await anext(passing) == b"ab"
    assert (call.body_length, call.body_complete) == (2, False)
    assert [chunk async for chunk in passing] == [b"c"]
    assert (call.body_complete, call.body_sha256) == (True, hashlib.sha256(b"abc").hexdigest())
