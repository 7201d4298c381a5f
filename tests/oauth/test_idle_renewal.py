"""Refresh tokens of idle credentials are used from time to time, by one source at a time."""

import asyncio
from functools import partial

from gateway.oauth.endpoint import TokenEndpoint
from gateway.oauth.grants import build_token_request, token_key
from gateway.oauth.refresh_rotation import RefreshTokenRotation
from gateway.oauth.stores.memory import MemoryStore
from gateway.oauth.token_request import TokenRequestBuilder
from gateway.oauth.token_source import TokenSource
from tests.fakes.identity import Identity, answer, refusal, token
from tests.oauth.scene import ManualClock, RecordedTokenEvents, token_source

KEY = token_key("url", client_id="c", grant="authorization_code", user="person")
DAY = 86400.0


class Scene:
    """Two sources, as in two processes, that share a store."""

    def __init__(self, identity: Identity) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.events = RecordedTokenEvents()
        self.sources = [self._source(identity.url) for _ in range(2)]

    def _source(self, url: str) -> TokenSource:
        requests = TokenRequestBuilder(
            partial(build_token_request, url, client_id="c"),
            grant="authorization_code",
            client_auth="none",
            endpoint=TokenEndpoint(),
            readers={},
        )
        rotation = RefreshTokenRotation(self.store, key=KEY)
        return token_source(
            "person",
            KEY,
            requests.build,
            requests.send,
            store=self.store,
            clock=self.clock,
            rotation=rotation,
            events=self.events,
        )

    async def check(self) -> None:
        """Let both sources check at the same time."""
        await asyncio.gather(*(source.renew_if_idle(DAY) for source in self.sources))


async def test_one_source_uses_the_refresh_token_once_a_day() -> None:
    async with Identity(*(token(f"access-{day}", refresh_token=f"refresh-{day}") for day in range(3))) as identity:
        scene = Scene(identity)
        await scene.store.put_refresh_token(KEY, "refresh")
        for day in range(3):
            await scene.check()
            scene.clock.advance(DAY / 2)
            await scene.check()
            assert len(identity.requests) == day + 1
            scene.clock.advance(DAY / 2 + 1)
        assert [request.form["refresh_token"] for request in identity.requests] == [
            ["refresh"],
            ["refresh-0"],
            ["refresh-1"],
        ]
        assert scene.events.triggers == ["idle"] * 3
        assert await scene.store.get_refresh_token(KEY) == "refresh-2"


async def test_a_credential_in_use_or_without_a_sign_in_is_not_renewed() -> None:
    async with Identity(token("access", DAY)) as identity:
        scene = Scene(identity)
        await scene.check()
        assert identity.requests == []
        await scene.store.put_refresh_token(KEY, "refresh")
        await scene.sources[0].get_token()
        scene.clock.advance(DAY / 2)
        await scene.check()
        assert len(identity.requests) == 1
        assert scene.events.triggers == ["caller"]


async def test_a_failure_that_may_pass_is_tried_again_soon() -> None:
    async with Identity(answer(503), token("access")) as identity:
        scene = Scene(identity)
        await scene.store.put_refresh_token(KEY, "refresh")
        await scene.check()
        scene.clock.advance(120)
        await scene.check()
        assert len(identity.requests) == 2
        assert scene.sources[0].token or scene.sources[1].token


async def test_a_refused_refresh_token_is_tried_once_a_day() -> None:
    async with Identity(*[refusal("invalid_grant")] * 9) as identity:
        scene = Scene(identity)
        await scene.store.put_refresh_token(KEY, "refresh")
        for _ in range(10):
            await scene.check()
            scene.clock.advance(DAY / 20)
        assert len(identity.requests) == 1
        assert [code for code, _, _ in scene.events.failures] == ["sign-in"]
