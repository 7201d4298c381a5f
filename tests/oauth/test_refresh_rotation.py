"""Refresh tokens: used by one at a time, replaced before anything else happens, lost by nothing that is ours."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import pytest

from gateway.errors import TokenRefused, TokenUnavailable
from gateway.oauth.endpoint import TokenEndpoint
from gateway.oauth.fetch_lease import LEASE_SECONDS
from gateway.oauth.grants import build_token_request, token_key
from gateway.oauth.rate_limiter import RateLimiter, SlidingWindow
from gateway.oauth.refresh_rotation import SAVE_INTERVAL, RefreshTokenRotation, run_to_completion
from gateway.oauth.store import EntryUnreadable, StoreDown
from gateway.oauth.stores.memory import MemoryStore
from gateway.oauth.token_request import TokenRequestBuilder
from gateway.oauth.token_source import TokenSource
from tests.fakes.identity import Answer, Identity, answer, refusal, token
from tests.fakes.waiting import TIME_LIMIT
from tests.oauth.backends import ManualSleep
from tests.oauth.scene import ManualClock, RecordedTokenEvents, token_source

KEY = token_key("url", client_id="c", grant="authorization_code", user="person")
LIFE = 3600


class RecordingStore(MemoryStore):
    """A store that can be down, be slow (`gate`), and notes what was kept."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.is_up = True
        self.is_readable = True
        self.gate: asyncio.Event | None = None
        self.stored_tokens: list[str] = []
        self.put_started = asyncio.Event()

    async def get_refresh_token(self, key: str) -> str | None:
        self._reached()
        if not self.is_readable:
            raise EntryUnreadable(key)
        return await super().get_refresh_token(key)

    async def put_refresh_token(self, key: str, value: str) -> None:
        self._reached()
        self.put_started.set()
        if self.gate is not None:
            await self.gate.wait()
        self.stored_tokens.append(value)
        await super().put_refresh_token(key, value)

    def _reached(self) -> None:
        if not self.is_up:
            raise StoreDown("not reachable")


class Scene:
    """One credential in front of a scripted token endpoint; `sources` stand for workers and replicas."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.clock = ManualClock()
        self.store = RecordingStore(self.clock)
        self.watch = RecordedTokenEvents()
        self.crank = ManualSleep()
        self.limiter: RateLimiter | None = None
        self.random_fraction = 0.0
        self.configured: Callable[[], str] | None = None
        self._stack = AsyncExitStack()

    async def source(self) -> TokenSource:
        grant = "refresh_token" if self.configured else "authorization_code"
        requests = TokenRequestBuilder(
            partial(build_token_request, self.identity.url, client_id="c"),
            grant=grant,
            client_auth="none",
            endpoint=TokenEndpoint(timeout=5.0, wall=self.clock.wall),
            readers={"refresh_token": self.configured} if self.configured else {},
        )
        source = token_source(
            "person",
            KEY,
            requests.build,
            requests.send,
            store=self.store,
            clock=self.clock,
            limiter=self.limiter,
            random_fraction=lambda: self.random_fraction,
            events=self.watch,
            lease_wait=float("inf"),
            rotation=RefreshTokenRotation(
                self.store, key=KEY, configured=self.configured, events=self.watch, sleep=self.crank
            ),
        )
        self._stack.push_async_callback(source.close)
        return source

    async def signed_in(self, value: str) -> None:
        await MemoryStore.put_refresh_token(self.store, KEY, value)

    async def stored_token(self) -> str | None:
        return await MemoryStore.get_refresh_token(self.store, KEY)

    @property
    def used(self) -> list[str]:
        """The refresh tokens that the endpoint was shown, in order."""
        return [request.form["refresh_token"][0] for request in self.identity.requests]

    async def close(self) -> None:
        await self._stack.aclose()


@asynccontextmanager
async def scene(*script: Answer) -> AsyncIterator[Scene]:
    async with asyncio.timeout(TIME_LIMIT), Identity(*script) as identity:
        rotation_scene = Scene(identity)
        try:
            yield rotation_scene
        finally:
            await rotation_scene.close()


async def test_the_new_one_is_kept_before_the_token_is_given() -> None:
    async with scene(token("a", refresh_token="R2")) as it:
        await it.signed_in("R1")
        it.store.gate = asyncio.Event()
        task = asyncio.create_task((await it.source()).get_token())
        await it.store.put_started.wait()
        assert (task.done(), await it.stored_token(), it.used) == (False, "R1", ["R1"])
        it.store.gate.set()
        assert (await task, await it.stored_token()) == ("a", "R2")


async def test_an_answer_without_a_new_one_leaves_the_old_one() -> None:
    async with scene(token("a", LIFE), token("b", LIFE, refresh_token="R1")) as it:
        await it.signed_in("R1")
        source = await it.source()
        for value in ("a", "b"):
            assert await source.get_token() == value
            it.clock.advance(LIFE)
        assert (it.used, it.store.stored_tokens, await it.stored_token()) == (["R1", "R1"], [], "R1")


async def test_before_a_sign_in_the_error_names_the_command() -> None:
    async with scene() as it:
        source = await it.source()
        with pytest.raises(TokenRefused) as caught:
            await source.get_token()
        assert caught.value.reason == "sign-in: no person has signed in yet"
        ready = await source.check_readiness()
        assert (ready.ok, ready.code) == (False, "sign-in")
        assert "`oic-gateway login person`" in ready.remedy
        assert source.status()["last_error"]["remedy"] == ready.remedy  # type: ignore[index] # a document
        assert it.watch.failures[0][2] == ready.remedy
        assert it.identity.requests == []


async def test_a_new_sign_in_is_noticed_within_a_second() -> None:
    async with scene(refusal("invalid_grant"), token("b")) as it:
        await it.signed_in("R1")
        source = await it.source()
        with pytest.raises(TokenRefused, match="identity domain") as caught:
            await source.get_token()
        assert caught.value.reason.startswith("sign-in: the refresh token is refused (invalid_grant")
        await it.signed_in("R9")
        with pytest.raises(TokenRefused):  # looked at less than a second ago
            await source.get_token()
        it.clock.advance(1.0)
        assert await source.get_token() == "b"
        assert it.used == ["R1", "R9"]
        assert (await source.check_readiness()).code == ""


async def test_a_refused_refresh_token_is_retried_slowly() -> None:
    async with scene(*[refusal("invalid_grant")] * 9) as it:
        await it.signed_in("R1")
        source = await it.source()
        for _ in range(29):
            with pytest.raises(TokenRefused):
                await source.get_token()
            it.clock.advance(1.0)
        assert it.used == ["R1"]


async def test_a_needed_sign_in_shows_while_the_token_is_valid() -> None:
    async with scene(token("a", LIFE), refusal("invalid_grant")) as it:
        await it.signed_in("R1")
        source = await it.source()
        await source.get_token()
        it.clock.advance(LIFE * 0.9)
        assert await source.get_token() == "a"
        await source.wait_idle()
        ready = await source.check_readiness()
        assert (ready.ok, ready.code) == (True, "sign-in")
        assert "login person" in ready.remedy


async def test_a_refusal_of_a_replaced_refresh_token_is_temporary() -> None:
    gate = asyncio.Event()
    async with scene(refusal("invalid_grant").behind(gate), token("b")) as it:
        await it.signed_in("R1")
        source = await it.source()
        task = asyncio.create_task(source.get_token())
        await it.identity.wait_for_requests(1)
        await it.signed_in("R2")
        gate.set()
        with pytest.raises(TokenUnavailable, match="cannot get a token") as caught:
            await task
        assert caught.value.reason.startswith("superseded: ")
        it.clock.advance(1.0)
        assert await source.get_token() == "b"
        assert it.used == ["R1", "R2"]


async def test_a_configured_refresh_token_is_used_until_replaced() -> None:
    configured = {"now": "G1"}
    script = (token("a", LIFE, refresh_token="R2"), token("b", LIFE, refresh_token="R3"), token("c", LIFE))
    async with scene(*script) as it:
        it.configured = lambda: configured["now"]
        for value in ("a", "b"):
            assert await (await it.source()).get_token() == value  # each as after a restart
            it.clock.advance(LIFE)
        configured["now"] = "G2"
        assert await (await it.source()).get_token() == "c"
        assert it.used == ["G1", "R2", "G2"]


async def test_no_refresh_token_is_used_if_the_store_s_is_unreadable() -> None:
    async with scene(token("a", LIFE, refresh_token="R2"), token("b", LIFE)) as it:
        it.configured = lambda: "G1"
        assert await (await it.source()).get_token() == "a"
        it.clock.advance(LIFE)
        before = await it.stored_token()
        other_process, it.store.is_readable = await it.source(), False
        with pytest.raises(TokenUnavailable) as caught:
            await other_process.get_token()
        assert caught.value.reason.startswith("store: ")
        assert "state.keys" in (await other_process.check_readiness()).remedy
        assert (it.used, await it.stored_token()) == (["G1"], before)
        assert await it.store.get_token(f"{KEY}:failed") is None  # others may be able to read it
        it.store.is_readable = True
        it.clock.advance(1.0)
        assert await other_process.get_token() == "b"
        assert it.used == ["G1", "R2"]


async def test_an_unreadable_entry_is_not_overwritten() -> None:
    gate = asyncio.Event()
    async with scene(token("a", LIFE, refresh_token="R2").behind(gate)) as it:
        await it.signed_in("R1")
        task = asyncio.create_task((await it.source()).get_token())
        await it.identity.wait_for_requests(1)
        it.store.is_readable = False
        gate.set()
        assert await task == "a"
        assert (await it.stored_token(), it.store.stored_tokens) == ("R1", [])


async def test_a_refused_configured_refresh_token_needs_no_sign_in() -> None:
    async with scene(refusal("invalid_grant")) as it:
        it.configured = lambda: "G1"
        source = await it.source()
        with pytest.raises(TokenRefused) as caught:
            await source.get_token()
        assert caught.value.reason.startswith("invalid_grant: ")
        assert "refresh token" in (await source.check_readiness()).remedy


async def test_many_workers_use_each_one_once() -> None:
    rounds = 5
    script = [token(f"a{number}", LIFE, refresh_token=f"R{number + 1}") for number in range(1, rounds + 1)]
    async with scene(*script) as it:
        await it.signed_in("R1")
        sources = [await it.source() for _ in range(8)]
        for number in range(1, rounds + 1):
            values = await asyncio.gather(*(source.get_token() for source in sources * 25))
            assert set(values) == {f"a{number}"}
            it.clock.advance(LIFE)
        assert it.used == [f"R{number}" for number in range(1, rounds + 1)]
        assert await it.stored_token() == f"R{rounds + 1}"


async def test_a_new_refresh_token_is_saved_when_the_store_is_back() -> None:
    gate = asyncio.Event()
    async with scene(token("a", LIFE, refresh_token="R2").behind(gate), token("b")) as it:
        await it.signed_in("R1")
        source = await it.source()
        task = asyncio.create_task(source.get_token())
        await it.identity.wait_for_requests(1)
        it.store.is_up = False
        gate.set()
        assert await task == "a"
        assert it.watch.not_stored_for == ["not reachable"]
        await it.crank.wait_for_pauses(SAVE_INTERVAL)
        it.crank.release()
        await it.crank.wait_for_pauses(SAVE_INTERVAL, SAVE_INTERVAL)
        it.clock.advance(LIFE)
        with pytest.raises(TokenUnavailable) as caught:  # it is not used: what comes of it could not be kept either
            await source.get_token()
        assert caught.value.reason.startswith("store: ")
        it.store.is_up = True
        it.crank.release()
        await it.store.put_started.wait()
        it.clock.advance(1.0)
        assert await source.get_token() == "b"
        assert (it.used, await it.stored_token()) == (["R1", "R2"], "R2")


async def test_what_could_not_be_kept_is_tried_again_at_the_end() -> None:
    gate = asyncio.Event()
    async with scene(token("a", refresh_token="R2").behind(gate)) as it:
        await it.signed_in("R1")
        source = await it.source()
        task = asyncio.create_task(source.get_token())
        await it.identity.wait_for_requests(1)
        it.store.is_up = False
        gate.set()
        await task
        it.store.is_up = True
        await source.close()
        assert await it.stored_token() == "R2"


@pytest.mark.parametrize("now", ["R9", None], ids=["in", "out"])
async def test_a_sign_in_or_out_meanwhile_is_not_overwritten(now: str | None) -> None:
    gate = asyncio.Event()
    async with scene(token("a", refresh_token="R2").behind(gate)) as it:
        await it.signed_in("R1")
        task = asyncio.create_task((await it.source()).get_token())
        await it.identity.wait_for_requests(1)
        await it.store.delete_refresh_token(KEY)
        if now:
            await it.signed_in(now)
        gate.set()
        assert (await task, await it.stored_token()) == ("a", now)


async def test_a_stop_waits_for_the_answer_and_keeps_it() -> None:
    gate = asyncio.Event()
    async with scene(token("a", refresh_token="R2").behind(gate)) as it:
        await it.signed_in("R1")
        source = await it.source()
        source.prefetch()
        await it.identity.wait_for_requests(1)
        closing = asyncio.create_task(source.close())
        await asyncio.sleep(0)
        assert await it.store.claim_lease(KEY, owner="another", seconds=1.0) is False
        gate.set()
        await closing
        assert await it.stored_token() == "R2"
        assert await it.store.claim_lease(KEY, owner="another", seconds=1.0) is True


async def test_work_runs_to_completion_however_often_cancelled() -> None:
    gate, done = asyncio.Event(), []

    async def work() -> None:
        await gate.wait()
        done.append(True)

    task = asyncio.create_task(run_to_completion(work()))
    for _ in range(3):
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == [True]


async def test_a_stopped_process_has_lost_its_lease() -> None:
    async with scene() as it:
        await it.signed_in("R1")

        async def still(_seconds: float) -> None:
            it.clock.advance(LEASE_SECONDS + 1)
            assert await it.store.claim_lease(KEY, owner="another", seconds=LEASE_SECONDS)

        window = SlidingWindow(per_second=1, per_minute=9)
        window.record_request(it.clock.monotonic())
        it.limiter = RateLimiter(window, clock=it.clock, sleep=still)
        with pytest.raises(TokenUnavailable) as caught:
            await (await it.source()).get_token()
        assert caught.value.reason == "turn: another process holds the lease by now"
        assert it.identity.requests == []


@pytest.mark.parametrize(
    "document",
    [
        {"token_type": "Bearer", "expires_in": 60},
        {"access_token": "a", "token_type": "mac"},
        {"tokenResponses": [{"access_token": "a"}, {"access_token": "b"}]},
    ],
    ids=["no token", "another type", "several"],
)
async def test_one_that_comes_with_a_useless_answer_is_kept(document: dict[str, object]) -> None:
    async with scene(answer(200, {"refresh_token": "R2", **document})) as it:
        await it.signed_in("R1")
        with pytest.raises((TokenUnavailable, TokenRefused)) as caught:
            await (await it.source()).get_token()
        assert await it.stored_token() == "R2"
        assert "R2" not in repr(caught.value) + caught.value.reason


async def test_a_store_that_cannot_be_asked_has_none_used() -> None:
    async with scene() as it:
        await it.signed_in("R1")
        it.store.is_up = False
        with pytest.raises(TokenUnavailable) as caught:
            await (await it.source()).get_token()
        assert caught.value.reason == "store: no refresh token is used while the store is down: not reachable"
        assert it.identity.requests == []


async def test_a_store_that_is_back_ends_the_wait_within_a_second() -> None:
    async with scene(token("a")) as it:
        it.random_fraction = 0.9
        await it.signed_in("R1")
        it.store.is_up = False
        source = await it.source()
        for _ in range(6):
            with pytest.raises(TokenUnavailable):
                await source.get_token()
            it.clock.advance(float(str(source.status()["next_try_s"])) + 0.1)
        with pytest.raises(TokenUnavailable):
            await source.get_token()
        assert float(str(source.status()["next_try_s"])) > 2
        it.clock.advance(1.0)
        with pytest.raises(TokenUnavailable):
            await source.get_token()
        it.store.is_up = True
        it.clock.advance(1.0)
        assert await source.get_token() == "a"
        assert it.used == ["R1"]
