"""The identity domain is down for ten minutes of turned clock: what callers get, and what the endpoint sees."""

import asyncio
import math
from collections.abc import Callable
from contextlib import AsyncExitStack
from random import Random

import pytest

from gateway.errors import TokenUnavailable
from gateway.oauth.failures import back_off_seconds
from gateway.oauth.stores.memory import MemoryStore
from tests.fakes.identity import Identity, answer, token
from tests.oauth.scene import ManualClock, scene
from tests.oauth.test_token_source import DEAD, wait_for_fetches

OUTAGE = 600
BEGINS = DEAD - 240  # the token lives for four minutes of it


def allowed(seconds: float, random_fraction: Callable[[], float]) -> int:
    """How often a back-off that is asked every second tries within so many seconds."""
    tries, now = 0, 0.0
    while now < seconds:
        tries += 1
        now = math.ceil(now + back_off_seconds(tries, permanent=False, random_fraction=random_fraction()))
    return tries


@pytest.mark.parametrize("sources", [1, 8])
async def test_ten_minutes_without_the_identity_domain(sources: int, capsys: pytest.CaptureFixture[str]) -> None:
    clock, random_fraction, live, refused, longest = ManualClock(), 0.5, 0, 0, 0.0
    store = MemoryStore(clock)
    async with Identity(token("a")) as identity, AsyncExitStack() as stack:
        stages = [
            await stack.enter_async_context(
                scene(identity.url, clock=clock, store=store, random_fraction=random_fraction)
            )
            for _ in range(sources)
        ]
        for stage in stages:
            await stage.source.get_token()
        clock.advance(BEGINS)
        identity.script = [answer(503)] * 10_000
        for second in range(OUTAGE):
            results = await asyncio.gather(*(stage.source.get_token() for stage in stages), return_exceptions=True)
            for stage in stages:
                await wait_for_fetches(stage.source)
            for one in results:
                if second < DEAD - BEGINS:
                    assert one == "a", second
                    live += 1
                else:
                    assert isinstance(one, TokenUnavailable), second
                    assert one.retry_after is not None
                    longest = max(longest, one.retry_after)
                    refused += 1
            clock.advance(1)
        seen = len(identity.requests) - 1
        most = allowed(OUTAGE, lambda: random_fraction)
        with capsys.disabled():
            print(f"\n{sources} sources, {OUTAGE} s down: {seen} token requests, the back-off allows {most}")  # noqa: T201 - the count is asked for
        assert seen <= most + sources - 1
        assert (live, refused) == (240 * sources, 360 * sources)

        identity.script.clear()
        back = clock.passed
        while isinstance((await asyncio.gather(stages[0].source.get_token(), return_exceptions=True))[0], Exception):
            clock.advance(0.5)
        assert clock.passed - back <= min(longest, 60)
        assert stages[0].source.get_fresh_token() == "token-1"
        clock.advance(1)
        assert {await stage.source.get_token() for stage in stages} == {"token-1"}
    assert len(identity.requests) == 1 + seen + 1


@pytest.mark.parametrize("seed", range(5))
def test_ten_minutes_of_back_off_are_few_tries_with_any_jitter(seed: int) -> None:
    assert allowed(OUTAGE, Random(seed).random) < 45
