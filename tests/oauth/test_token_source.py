import asyncio
import logging
import re
import threading
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from email.utils import formatdate
from functools import partial
from pathlib import Path

import jwt
import pytest

from gateway.config.secrets import SecretReader
from gateway.config.strict_model import SecretRef
from gateway.errors import TokenRefused, TokenUnavailable
from gateway.oauth.failures import FAILURE_KINDS
from gateway.oauth.grants import TokenRequest, build_token_request, token_key
from gateway.oauth.rate_limiter import RateLimiter, SlidingWindow
from gateway.oauth.stores.memory import MemoryStore
from gateway.oauth.token_source import TokenSource
from tests.fakes.authlib_server import Client, serving
from tests.fakes.identity import CLOSE, Answer, Identity, answer, refusal, token
from tests.oauth.scene import ROUTE, SECRET, ManualClock, Scene, scene

STALE, DEAD = 2880, 3590  # seconds after which an hour's token is stale, dead, at a random_fraction of 0


async def wait_for_fetches(source: TokenSource) -> None:
    """Waits for the fetch under way."""
    if source._fetch_task is not None:
        await asyncio.wait({source._fetch_task})


async def failing(stage: Scene) -> TokenUnavailable:
    with pytest.raises(TokenUnavailable) as caught:
        await stage.source.get_token()
    return caught.value


async def test_a_token_is_fetched_once_and_used_until_it_is_stale() -> None:
    async with Identity() as identity, scene(identity.url) as stage:
        assert stage.source.get_fresh_token() is None
        assert await stage.source.get_token() == "token-1"
        stage.clock.advance(STALE - 1)
        assert stage.source.get_fresh_token() == "token-1"
        assert await stage.source.get_token() == "token-1"
    assert len(identity.requests) == 1


async def test_a_stale_token_is_used_and_renewed_in_the_background() -> None:
    gate = asyncio.Event()
    async with Identity(token("a"), token("b").behind(gate)) as identity, scene(identity.url) as stage:
        await stage.source.get_token()
        stage.clock.advance(STALE)
        assert stage.source.get_fresh_token() is None
        assert await asyncio.gather(*(stage.source.get_token() for _ in range(50))) == ["a"] * 50
        await identity.wait_for_requests(2)
        assert await stage.source.get_token() == "a"
        gate.set()
        await wait_for_fetches(stage.source)
        assert stage.source.get_fresh_token() == "b"
    assert len(identity.requests) == 2


@pytest.mark.parametrize("callers", [100, 1000])
async def test_many_callers_at_a_tokens_end_cost_one_request(callers: int) -> None:
    gate = asyncio.Event()
    async with Identity(token("a"), token("b").behind(gate)) as identity, scene(identity.url) as stage:
        await stage.source.get_token()
        stage.clock.advance(DEAD)
        waiting = [asyncio.create_task(stage.source.get_token()) for _ in range(callers)]
        await identity.wait_for_requests(2)
        assert stage.source.status()["waiters"] == callers
        gate.set()
        assert await asyncio.gather(*waiting) == ["b"] * callers
        assert stage.source.status()["waiters"] == 0
        assert stage.source.status()["coalesced"] == stage.watch.joined == callers - 1
    assert len(identity.requests) == 2


async def test_a_caller_that_leaves_cancels_nothing() -> None:
    gate = asyncio.Event()
    async with Identity(token("a").behind(gate)) as identity, scene(identity.url) as stage:
        first, second = (asyncio.create_task(stage.source.get_token()) for _ in range(2))
        await identity.wait_for_requests(1)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert first.cancelled()
        assert stage.source.status()["waiters"] == 1
        gate.set()
        assert await second == "a"
    assert len(identity.requests) == 1


async def test_a_fetch_continues_when_all_callers_leave() -> None:
    gate = asyncio.Event()
    async with Identity(token("a").behind(gate)) as identity, scene(identity.url) as stage:
        only = asyncio.create_task(stage.source.get_token())
        await identity.wait_for_requests(1)
        only.cancel()
        await asyncio.gather(only, return_exceptions=True)
        gate.set()
        await wait_for_fetches(stage.source)
        assert stage.source.get_fresh_token() == "a"


@pytest.mark.parametrize("nonsense", [answer(200), answer(200, b"{"), answer(200, b"<html>"), CLOSE])
async def test_nonsense_does_not_end_renewal_for_ever(nonsense: Answer) -> None:
    async with Identity(token("a"), nonsense, nonsense) as identity, scene(identity.url) as stage:
        await stage.source.get_token()
        stage.clock.advance(STALE)
        for _ in range(2):
            assert await stage.source.get_token() == "a"
            await wait_for_fetches(stage.source)
            stage.clock.advance(60)
        await stage.source.get_token()
        await wait_for_fetches(stage.source)
        assert stage.source.get_fresh_token() == "token-1"
    assert len(identity.requests) == 4


async def test_a_dead_token_is_never_sent_during_an_outage() -> None:
    async with Identity(token("a"), *[answer(503)] * 9) as identity, scene(identity.url) as stage:
        await stage.source.get_token()
        stage.clock.advance(DEAD)
        for _ in range(5):
            await failing(stage)
            assert stage.source.get_fresh_token() is None
            assert await stage.source.renew_rejected_token("a", ROUTE) is None
            stage.clock.advance(61)


async def test_a_failed_renewal_never_harms_a_live_token() -> None:
    async with Identity(token("a"), refusal("invalid_client", 401)) as identity, scene(identity.url) as stage:
        await stage.source.get_token()
        stage.clock.advance(STALE)
        await stage.source.get_token()
        await wait_for_fetches(stage.source)
        assert await stage.source.get_token() == "a"
        assert (await stage.source.check_readiness()).ok
    assert len(identity.requests) == 2


async def test_renewal_survives_its_errors_and_readiness_shows_them() -> None:
    async with Identity(answer(500), answer(500)) as identity, scene(identity.url) as stage:
        for _ in range(2):
            readiness = await stage.source.check_readiness()
            assert not readiness.ok
            assert readiness.code == "unreadable"
            assert readiness.remedy
            stage.clock.advance(61)
        assert (await stage.source.check_readiness()).ok


async def test_even_a_defect_of_our_own_does_not_end_renewal() -> None:
    broken = [True]

    def request() -> TokenRequest:
        if broken:
            broken.pop()
            raise RuntimeError(SECRET)
        return build_token_request(identity.url, client_id="orders", client_secret=SECRET)

    async with Identity() as identity, scene(identity.url, request=request) as stage:
        reason = (await failing(stage)).reason or ""
        assert re.fullmatch(r"defect: the renewal failed: RuntimeError at gateway\.oauth\.\w+:\d+", reason)
        stage.clock.advance(2)
        assert await stage.source.get_token() == "token-1"


@pytest.mark.parametrize("expires_in", [2, 3, 5, 9])
async def test_a_short_life_does_not_make_a_hot_loop(expires_in: float) -> None:
    script = [token(f"t{number}", expires_in) for number in range(50)]
    async with Identity(*script) as identity, scene(identity.url) as stage:
        for _ in range(100):
            await stage.source.get_token()
            await stage.source.get_token()
            await wait_for_fetches(stage.source)
            stage.clock.advance(0.05)
        assert len(identity.requests) <= 100 * 0.05 / 0.5 + 1


@pytest.mark.parametrize("expires_in", [0, -3600, "0", 0.001, 1])
async def test_a_token_without_a_life_is_a_failure(expires_in: float) -> None:
    async with Identity(token("a", expires_in)) as identity, scene(identity.url) as stage:
        assert (await failing(stage)).reason == "short-lived: the token lives for less than 2 s"
        assert stage.source.get_fresh_token() is None
        stage.clock.advance(2)
        assert await stage.source.get_token() == "token-1"
    assert len(identity.requests) == 2


@pytest.mark.parametrize("expires_in", [None, "", "soon", True])
async def test_a_missing_life_is_neither_endless_nor_none(expires_in: object) -> None:
    async with Identity(token("a", expires_in)) as identity, scene(identity.url) as stage:
        await stage.source.get_token()
        stage.clock.advance(200)
        assert stage.source.get_fresh_token() == "a"
        stage.clock.advance(100)
        assert await stage.source.get_token() == "token-1"


async def test_callers_wait_for_a_slow_identity_domain() -> None:
    gate = asyncio.Event()
    async with Identity(token("a").behind(gate)) as identity, scene(identity.url) as stage:
        waiting = asyncio.create_task(stage.source.get_token())
        await identity.wait_for_requests(1)
        stage.clock.advance(4)
        gate.set()
        assert await waiting == "a"


async def test_a_fetch_continues_after_a_caller_times_out() -> None:
    gate = asyncio.Event()
    async with Identity(token("a").behind(gate)) as identity, scene(identity.url, token_wait=0.02) as stage:
        error = await failing(stage)
        assert error.reason.startswith("waiting: ")
        assert error.retry_after == 1.0
        gate.set()
        await wait_for_fetches(stage.source)
        assert await stage.source.get_token() == "a"
    assert len(identity.requests) == 1


async def test_a_late_401_for_the_old_token_leaves_the_new_one() -> None:
    async with Identity() as identity, scene(identity.url) as stage:
        await stage.source.get_token()
        assert await stage.source.renew_rejected_token("token-1", ROUTE) == "token-2"
        assert await stage.source.renew_rejected_token("token-1", ROUTE) == "token-2"
        assert stage.source.get_fresh_token() == "token-2"
    assert len(identity.requests) == 2


async def test_without_a_token_get_raises() -> None:
    async with Identity(refusal("invalid_scope")) as identity, scene(identity.url) as stage:
        with pytest.raises(TokenRefused):
            await stage.source.get_token()
        assert stage.source.get_fresh_token() is None


async def test_an_outage_at_the_start_is_waited_out() -> None:
    async with Identity() as closed_identity:
        pass
    clock = ManualClock()
    target = [closed_identity.url]

    def request() -> TokenRequest:
        return build_token_request(target[0], client_id="orders", client_secret=SECRET)

    async with Identity() as identity, scene(closed_identity.url, clock=clock, request=request) as stage:
        readiness = await stage.source.check_readiness()
        assert (readiness.ok, readiness.code) == (False, "connect")
        target[0] = identity.url
        clock.advance(readiness.next_try_s or 0.0)
        assert (await stage.source.check_readiness()).ok


def waits(clock: ManualClock) -> tuple[list[float], Callable[[float], Awaitable[None]]]:
    """A sleep that turns the clock, and what was slept."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.advance(seconds)
        await asyncio.sleep(0)

    return slept, sleep


@pytest.mark.parametrize(
    "response",
    [answer(503), refusal("temporarily_unavailable", 503), CLOSE, answer(200, b"{"), answer(429, retry_after="2")],
)
async def test_a_passing_failure_is_waited_out(response: Answer) -> None:
    clock = ManualClock()
    slept, sleep = waits(clock)
    async with Identity(response, response) as identity, scene(identity.url, clock=clock, sleep=sleep) as stage:
        assert await stage.source.wait_for_token(ROUTE) == "token-1"
        assert len(identity.requests) == 3
        assert 0 < sum(slept) <= 5


async def test_a_failure_is_waited_out_no_longer_than_token_wait() -> None:
    clock = ManualClock()
    slept, sleep = waits(clock)
    async with (
        Identity(*[answer(503)] * 99) as identity,
        scene(identity.url, clock=clock, sleep=sleep, token_wait=5) as stage,
    ):
        with pytest.raises(TokenUnavailable) as caught:
            await stage.source.wait_for_token(ROUTE)
        assert caught.value.reason.startswith("unreadable: ")
        assert 4 < sum(slept) < 5


async def test_a_next_try_that_comes_too_late_is_not_waited_for() -> None:
    clock = ManualClock()
    slept, sleep = waits(clock)
    late = answer(429, retry_after="20")
    async with Identity(late) as identity, scene(identity.url, clock=clock, sleep=sleep, token_wait=5) as stage:
        with pytest.raises(TokenUnavailable):
            await stage.source.wait_for_token(ROUTE)
    assert slept == []


@pytest.mark.parametrize("response", [refusal("invalid_client", 401), token("a", 0), answer(302)])
async def test_a_failure_that_someone_must_mend_is_not_waited_out(response: Answer) -> None:
    clock = ManualClock()
    slept, sleep = waits(clock)
    async with Identity(response) as identity, scene(identity.url, clock=clock, sleep=sleep) as stage:
        with pytest.raises((TokenRefused, TokenUnavailable)):
            await stage.source.wait_for_token(ROUTE)
    assert slept == []


async def test_a_defect_of_the_renewal_is_not_waited_out() -> None:
    def request() -> TokenRequest:
        raise RuntimeError

    clock = ManualClock()
    slept, sleep = waits(clock)
    async with Identity() as identity, scene(identity.url, clock=clock, sleep=sleep, request=request) as stage:
        with pytest.raises(TokenUnavailable):
            await stage.source.wait_for_token(ROUTE)
    assert slept == []


async def test_all_who_wait_share_the_next_try() -> None:
    async with (
        Identity(answer(503)) as identity,
        scene(identity.url, clock=ManualClock(), sleep=asyncio.sleep) as stage,
    ):
        stage.source.prefetch()
        await wait_for_fetches(stage.source)
        slept, sleep = waits(stage.clock)
        stage.source._sleep = sleep
        assert set(await asyncio.gather(*(stage.source.wait_for_token(ROUTE) for _ in range(50)))) == {"token-1"}
        assert len(identity.requests) == 2
        assert slept


async def test_a_storm_of_401_costs_one_token_request_per_hold() -> None:
    async def call(stage: Scene) -> None:
        sent = stage.source.get_fresh_token() or await stage.source.get_token()
        if (again := await stage.source.renew_rejected_token(sent, ROUTE)) is not None:
            stage.source.record_rejection(again, ROUTE)

    async with Identity() as identity, scene(identity.url) as stage:
        await stage.source.get_token()
        for second in range(90):
            await asyncio.gather(*(call(stage) for _ in range(20)))
            assert stage.source.get_fresh_token() is not None, second
            stage.clock.advance(1)
    assert len(identity.requests) == 1 + 3


async def test_many_401_at_once_share_one_forced_renewal() -> None:
    async with Identity() as identity, scene(identity.url) as stage:
        await stage.source.get_token()
        assert set(
            await asyncio.gather(*(stage.source.renew_rejected_token("token-1", ROUTE) for _ in range(100)))
        ) == {"token-2"}
    assert len(identity.requests) == 2


async def test_the_same_token_handed_out_again_is_worth_one_replay() -> None:
    async with Identity(token("a"), token("a")) as identity, scene(identity.url) as stage:
        await stage.source.get_token()
        assert await stage.source.renew_rejected_token("a", ROUTE) == "a"
        stage.source.record_rejection("a", ROUTE)
        assert await stage.source.renew_rejected_token("a", ROUTE) is None
        assert stage.source.get_fresh_token() == "a"
    assert len(identity.requests) == 2


async def test_a_fruitless_report_on_an_old_token_means_nothing() -> None:
    async with Identity() as identity, scene(identity.url) as stage:
        await stage.source.get_token()
        await stage.source.renew_rejected_token("token-1", ROUTE)
        stage.clock.advance(30)
        stage.source.record_rejection("token-1", ROUTE)
        assert await stage.source.renew_rejected_token("token-2", ROUTE) == "token-3"


async def test_a_refused_token_is_replaced_at_most_once_per_interval() -> None:
    async with Identity() as identity, scene(identity.url) as stage:
        await stage.source.get_token()
        assert await stage.source.renew_rejected_token("token-1", ROUTE) == "token-2"
        stage.clock.advance(29)
        assert await stage.source.renew_rejected_token("token-2", ROUTE) is None
        assert stage.source.get_fresh_token() == "token-2"
        stage.clock.advance(1)
        assert await stage.source.renew_rejected_token("token-2", ROUTE) == "token-3"
    assert stage.watch.replays == stage.source.status()["replays"] == 2


async def test_late_fruitless_reports_do_not_lengthen_the_hold() -> None:
    async with Identity() as identity, scene(identity.url) as stage:
        await stage.source.get_token()
        assert await stage.source.renew_rejected_token("token-1", ROUTE) == "token-2"
        for _ in range(29):
            stage.source.record_rejection("token-2", ROUTE)
            assert await stage.source.renew_rejected_token("token-2", ROUTE) is None
            stage.clock.advance(1)
        stage.clock.advance(1)
        assert await stage.source.renew_rejected_token("token-2", ROUTE) == "token-3"


async def test_a_failed_forced_renewal_keeps_the_token() -> None:
    async with Identity(token("a"), answer(429, retry_after="20")) as identity, scene(identity.url) as stage:
        await stage.source.get_token()
        assert await stage.source.renew_rejected_token("a", ROUTE) is None
        assert await stage.source.renew_rejected_token("a", ROUTE) is None
        assert await stage.source.get_token() == "a"
        assert len(identity.requests) == 2
        stage.clock.advance(20)
        assert await stage.source.renew_rejected_token("a", ROUTE) == "token-1"


async def test_a_forced_renewal_waits_no_longer_than_a_caller_may() -> None:
    gate = asyncio.Event()
    async with Identity(token("a"), token("b").behind(gate)) as identity, scene(identity.url, token_wait=0.02) as stage:
        with suppress(TokenUnavailable):  # a busy machine may take longer than that
            await stage.source.get_token()
        await wait_for_fetches(stage.source)
        assert await stage.source.renew_rejected_token("a", ROUTE) is None
        assert await stage.source.get_token() == "a"
        gate.set()
        await wait_for_fetches(stage.source)
        assert stage.source.get_fresh_token() == "b"


async def test_a_wrong_secret_is_not_retried_without_end() -> None:
    script = [refusal("invalid_client", 401, "Client authentication failed")] * 99
    async with Identity(*script) as identity, scene(identity.url, random_fraction=0.5) as stage:
        for _ in range(600):
            with pytest.raises(TokenRefused) as caught:
                await stage.source.get_token()
            assert caught.value.reason == "invalid_client: Client authentication failed"
            stage.clock.advance(1)
        assert len(identity.requests) <= 8


async def test_a_transient_error_is_tried_again_soon() -> None:
    async with Identity(answer(503)) as identity, scene(identity.url, random_fraction=0.9) as stage:
        error = await failing(stage)
        assert error.retry_after == pytest.approx(0.92)
        again = await failing(stage)
        assert again is not error
        assert len(identity.requests) == 1
        stage.clock.advance(0.93)
        assert await stage.source.get_token() == "token-1"


async def test_retry_after_is_honoured() -> None:
    async with Identity(answer(429, retry_after="40")) as identity, scene(identity.url) as stage:
        assert (await failing(stage)).retry_after == 40
        stage.clock.advance(39)
        assert (await failing(stage)).retry_after == pytest.approx(1)
        assert len(identity.requests) == 1
        stage.clock.advance(1)
        assert await stage.source.get_token() == "token-1"


async def test_the_secret_is_read_each_time_and_never_in_the_loop() -> None:
    secrets = ["old-secret", "new-secret"]
    threads: set[int] = set()

    def request() -> TokenRequest:
        threads.add(threading.get_ident())
        return build_token_request(identity.url, client_id="orders", client_secret=secrets.pop(0), client_auth="post")

    async with Identity(token("a")) as identity, scene(identity.url, request=request) as stage:
        await stage.source.get_token()
        stage.clock.advance(DEAD)
        await stage.source.get_token()
    assert [token_request.form["client_secret"] for token_request in identity.requests] == [
        ["old-secret"],
        ["new-secret"],
    ]
    assert threading.get_ident() not in threads


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (FileNotFoundError(2, "No such file", "/run/secrets/x"), "secret: [Errno 2] No such file: '/run/secrets/x'"),
        (ValueError("the client id or secret is empty"), "secret: the client id or secret is empty"),
        (UnicodeEncodeError("utf-8", "hunter2", 0, 1, "x"), "secret: it cannot be encoded as UTF-8"),
    ],
)
async def test_a_missing_secret_sends_no_request_and_heals(problem: Exception, reason: str) -> None:
    problems = [problem]

    def request() -> TokenRequest:
        if problems:
            raise problems.pop()
        return build_token_request(identity.url, client_id="orders", client_secret=SECRET)

    async with Identity() as identity, scene(identity.url, request=request) as stage:
        assert (await failing(stage)).reason == reason
        assert identity.requests == []
        stage.clock.advance(2)
        assert await stage.source.get_token() == "token-1"


@pytest.mark.parametrize("clock", ["passed", "time"])
async def test_a_suspend_or_a_clock_jump_leaves_no_dead_token_in_use(clock: str) -> None:
    async with Identity() as identity, scene(identity.url) as stage:
        await stage.source.get_token()
        setattr(stage.clock, clock, getattr(stage.clock, clock) + 3600)
        assert stage.source.get_fresh_token() is None
        assert await stage.source.get_token() == "token-2"


async def test_a_clock_that_is_set_back_does_not_lengthen_a_life() -> None:
    async with Identity() as identity, scene(identity.url) as stage:
        await stage.source.get_token()
        stage.clock.time -= 86400
        assert stage.source.get_fresh_token() == "token-1"
        stage.clock.advance(3600)
        assert await stage.source.get_token() == "token-2"


async def test_a_token_that_is_dead_on_arrival_is_not_used() -> None:
    gate = asyncio.Event()
    async with Identity(token("a", 2).behind(gate)) as identity, scene(identity.url) as stage:
        waiting = asyncio.create_task(stage.source.get_token())
        await identity.wait_for_requests(1)
        stage.clock.advance(5)
        gate.set()
        with pytest.raises(TokenUnavailable, match="token") as caught:
            await waiting
        assert caught.value.reason.startswith("short-lived: ")


async def test_sources_of_one_key_share_a_token_through_the_store() -> None:
    clock = ManualClock()
    store = MemoryStore(clock)
    async with (
        Identity() as identity,
        scene(identity.url, clock=clock, store=store) as first,
        scene(identity.url, clock=clock, store=store) as second,
    ):
        assert await first.source.get_token() == await second.source.get_token() == "token-1"
        assert await first.source.renew_rejected_token("token-1", ROUTE) == "token-2"
        assert await second.source.renew_rejected_token("token-1", ROUTE) == "token-2"
    assert len(identity.requests) == 2


async def test_closing_ends_the_fetch_and_those_who_wait() -> None:
    async with Identity(token("a").behind(asyncio.Event())) as identity, scene(identity.url) as stage:
        waiting = asyncio.create_task(stage.source.get_token())
        await identity.wait_for_requests(1)
        await stage.source.close()
        with pytest.raises(TokenUnavailable) as caught:
            await waiting
        assert caught.value.reason.startswith("closed: ")
        assert (await failing(stage)).reason.startswith("closed: ")
        assert await stage.source.renew_rejected_token("x", ROUTE) is None
    assert len(identity.requests) == 1


async def test_closing_leaves_a_live_token_to_requests_under_way() -> None:
    async with Identity() as identity, scene(identity.url) as stage:
        await stage.source.get_token()
        await stage.source.close()
        stage.clock.advance(STALE)
        assert await stage.source.get_token() == "token-1"
    assert len(identity.requests) == 1


async def test_the_status_describes_the_token() -> None:
    script = (token("a"), refusal("unauthorized_client", 400, "no grant"))
    async with Identity(*script) as identity, scene(identity.url) as stage:
        status = stage.source.status()
        assert (status["state"], status["expires_in_s"], status["obtained"]) == ("none", None, None)
        started_at = stage.clock.time
        await stage.source.get_token()
        stage.clock.advance(STALE)
        await stage.source.get_token()
        await wait_for_fetches(stage.source)
        assert stage.source.status() == {
            "state": "stale",
            "expires_in_s": pytest.approx(DEAD - STALE),
            "obtained": started_at,
            "last_error": {
                "code": "unauthorized_client",
                "seen": "unauthorized_client: no grant",
                "means": FAILURE_KINDS["unauthorized_client"].means,
                "reason": "unauthorized_client: no grant",
                "remedy": stage.watch.failures[0][2],
                "permanent": True,
                "at": stage.clock.time,
            },
            "next_try_s": 30.0,
            "fetches": {"ok": 1, "refused": 1, "unavailable": 0},
            "waiters": 0,
            "coalesced": 0,
            "replays": 0,
            "budget_left": None,
            "clock_skew_s": None,
        }
        assert stage.watch.permanent == [True]
        stage.clock.advance(DEAD - STALE)
        assert stage.source.status()["state"] == "dead"
        assert (await stage.source.check_readiness()).ok
        assert stage.source.status()["last_error"] is None


async def test_token_events_are_reported() -> None:
    async with Identity(refusal("invalid_client", 401), answer(503)) as identity, scene(identity.url) as stage:
        for _ in range(3):
            await asyncio.gather(stage.source.get_token(), return_exceptions=True)
            stage.clock.advance(61)
        assert stage.watch.fetches == ["refused", "unavailable", "ok"]
        assert stage.watch.renewals == [3590]
        assert [code for code, _, _ in stage.watch.failures] == ["invalid_client", "unreadable"]
        assert "General Information" in stage.watch.failures[0][2]


async def test_secret_and_token_are_in_no_log_status_or_repr(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    script = (token("tok-visible"), refusal("invalid_client", 401, f"bad {SECRET}"), answer(500, SECRET.encode()))
    seen: list[str] = []
    async with Identity(*script) as identity, scene(identity.url) as stage:
        for _ in range(3):
            response = await asyncio.gather(stage.source.get_token(), return_exceptions=True)
            readiness = await stage.source.check_readiness()
            if isinstance(response[0], TokenRefused | TokenUnavailable):
                seen += [str(response[0]), repr(response[0]), response[0].reason, response[0].detail]
            seen += [repr(stage.source), repr(stage.source._token), repr(readiness), repr(stage.source.status())]
            seen += [repr(stage.source._shared_fetch.failure), repr(stage.source._fetch_task), repr(stage.watch)]
            stage.clock.advance(DEAD)
        [basic, *_] = [
            token_request.headers["authorization"].removeprefix("Basic ") for token_request in identity.requests
        ]
    assert stage.watch.fetches == ["ok", "refused", "unavailable"]
    text = "\n".join(seen) + caplog.text
    assert [word for word in (SECRET, "tok-visible", basic) if word in text] == []


async def test_a_source_lives_with_a_server_we_did_not_write() -> None:
    with serving(Client("orders", SECRET, method="client_secret_basic")) as (url, server):
        async with scene(url) as stage:
            first = await stage.source.get_token()
            second = await stage.source.renew_rejected_token(first, ROUTE)
            assert [first, second] == server.issued


async def test_try_again_forgets_the_back_off() -> None:
    async with Identity(refusal("invalid_client", 401), token("mended")) as identity, scene(identity.url) as stage:
        with pytest.raises(TokenRefused):
            await stage.source.get_token()
        with pytest.raises(TokenRefused):
            await stage.source.get_token()
        assert len(identity.requests) == 1
        stage.source.reset_back_off()
        assert await stage.source.get_token() == "mended"


@pytest.mark.parametrize(
    "response", [refusal("invalid_client", 401), answer(429, retry_after="200"), answer(502, b"<html>"), CLOSE]
)
async def test_a_changed_secret_is_tried_at_once_whatever_failed(tmp_path: Path, response: Answer) -> None:
    file = tmp_path / "secret"
    file.write_text("old")
    ref = SecretRef(file=str(file))

    def request() -> TokenRequest:
        return build_token_request(identity.url, client_id="orders", client_secret=file.read_text(), client_auth="post")

    look = partial(SecretReader({}).fingerprint, ref)
    async with (
        Identity(response) as identity,
        scene(identity.url, request=request, fingerprint=look, random_fraction=0.99) as stage,
    ):
        for _ in range(3):
            with pytest.raises((TokenRefused, TokenUnavailable)):
                await stage.source.get_token()
        file.write_text("newer")
        stage.clock.advance(0.9)
        with pytest.raises((TokenRefused, TokenUnavailable)):  # looked at no more than once a second
            await stage.source.get_token()
        assert len(identity.requests) == 1
        stage.clock.advance(0.1)
        assert await stage.source.get_token() == "token-1"
    assert [token_request.form["client_secret"] for token_request in identity.requests] == [["old"], ["newer"]]


@pytest.mark.parametrize("response", [refusal("invalid_client", 401), answer(502, b"<html>")])
async def test_a_copy_of_the_secret_is_trusted_until_a_request_fails(response: Answer) -> None:
    secret, copy = ["old"], ["old"]

    def request() -> TokenRequest:
        return build_token_request(identity.url, client_id="orders", client_secret=copy[0], client_auth="post")

    def expire() -> None:
        copy[0] = secret[0]

    async with (
        Identity(token("a"), response) as identity,
        scene(identity.url, request=request, fingerprint=lambda: copy[0], expire=expire, random_fraction=0.99) as stage,
    ):
        await stage.source.get_token()
        secret[0] = "new"
        stage.clock.advance(3600)
        with pytest.raises((TokenRefused, TokenUnavailable)):
            await stage.source.get_token()
        stage.clock.advance(1)
        assert await stage.source.get_token() == "token-1"
        secret[0] = "newest"
        stage.source.reset_back_off()
        assert await stage.source.force_refresh() == "token-2"
    assert [token_request.form["client_secret"] for token_request in identity.requests] == [
        ["old"],
        ["old"],
        ["new"],
        ["newest"],
    ]


async def test_a_changed_secret_is_tried_behind_a_stale_token() -> None:
    secret = ["old"]
    script = (token("a"), refusal("invalid_client", 401))
    async with Identity(*script) as identity, scene(identity.url, fingerprint=lambda: secret[0]) as stage:
        await stage.source.get_token()
        stage.clock.advance(STALE)
        assert await stage.source.get_token() == "a"
        await wait_for_fetches(stage.source)
        secret[0] = "new"
        stage.clock.advance(1)
        assert await stage.source.get_token() == "a"
        await wait_for_fetches(stage.source)
        assert stage.source.get_fresh_token() == "token-1"


async def test_forced_renewals_count_in_the_rate_limit() -> None:
    clock = ManualClock()
    limiter = RateLimiter(SlidingWindow(per_second=9, per_minute=2), clock=clock)
    async with Identity() as identity, scene(identity.url, clock=clock, limiter=limiter, token_wait=5) as stage:
        await stage.source.get_token()
        assert stage.source.status()["budget_left"] == 1
        assert await stage.source.renew_rejected_token("token-1", ROUTE) == "token-2"
        assert stage.source.status()["budget_left"] == 0
        clock.advance(31)
        assert await stage.source.renew_rejected_token("token-2", ROUTE) is None
        failure = stage.source.status()["last_error"]
        assert isinstance(failure, dict)
        assert failure["code"] == "budget"
        assert await stage.source.get_token() == "token-2"
        clock.advance(30)
        assert await stage.source.renew_rejected_token("token-2", ROUTE) == "token-3"
    assert len(identity.requests) == 3


async def test_credentials_of_one_endpoint_share_its_rate_limit() -> None:
    clock = ManualClock()
    limiter = RateLimiter(SlidingWindow(per_second=9, per_minute=3), clock=clock)
    async with Identity() as identity, AsyncExitStack() as stack:
        stages = [
            await stack.enter_async_context(scene(identity.url, clock=clock, limiter=limiter, token_wait=1))
            for _ in range(5)
        ]
        response = await asyncio.gather(*(stage.source.get_token() for stage in stages), return_exceptions=True)
        refused = [error for error in response if isinstance(error, TokenUnavailable)]
        assert [(error.reason.partition(":")[0], error.retry_after) for error in refused] == [("budget", 60.0)] * 2
        assert {stage.source.status()["budget_left"] for stage in stages} == {0}
    assert len(identity.requests) == 3


async def test_a_token_can_be_got_before_anyone_asks() -> None:
    async with Identity() as identity, scene(identity.url) as stage:
        stage.source.prefetch()
        await identity.wait_for_requests(1)
        await wait_for_fetches(stage.source)
        assert stage.source.get_fresh_token() == "token-1"
        stage.source.prefetch()
        await wait_for_fetches(stage.source)
    assert len(identity.requests) == 1


async def test_another_token_can_be_had_though_a_good_one_is_kept() -> None:
    script = (token("a"), token("b"), refusal("invalid_client", 401), token("c"))
    async with Identity(*script) as identity, scene(identity.url) as stage:
        assert await stage.source.get_token() == "a"
        assert await stage.source.force_refresh() == "b"
        with pytest.raises(TokenRefused):
            await stage.source.force_refresh()
        assert stage.source.get_fresh_token() == "b"
        assert await stage.source.force_refresh() == "c"
        shared = await stage.store.get_token(token_key(identity.url, client_id="orders", grant="client_credentials"))
        assert shared is not None
        assert shared.value == "c"


@pytest.mark.parametrize("off", [-86400.0, -3.0, 0.0, 3.0, 86400.0])
async def test_a_wrong_local_clock_does_not_change_the_life(off: float) -> None:
    clock = ManualClock()
    true = clock.time + off
    value = jwt.encode({"exp": true + 600, "iat": true}, "k" * 32)
    response = answer(200, {"access_token": value}, date=formatdate(true, usegmt=True))
    async with Identity(response) as identity, scene(identity.url, clock=clock) as stage:
        assert await stage.source.get_token() == value
        assert stage.source.status()["clock_skew_s"] == pytest.approx(off, abs=1)
        clock.advance(589)
        assert await stage.source.get_token() == value
        clock.advance(1)
        assert stage.source.get_fresh_token() is None
        assert await stage.source.get_token() == "token-1"


async def test_the_earlier_of_expires_in_and_exp_counts() -> None:
    clock = ManualClock()
    value = jwt.encode({"exp": clock.time + 600, "iat": clock.time}, "k" * 32)
    async with Identity(token(value, 3600)) as identity, scene(identity.url, clock=clock) as stage:
        await stage.source.get_token()
        clock.advance(590)
        assert await stage.source.get_token() == "token-1"


async def test_a_life_without_end_ends() -> None:
    response = answer(200, b'{"access_token": "a", "expires_in": Infinity}')
    async with Identity(response) as identity, scene(identity.url) as stage:
        assert await stage.source.get_token() == "a"
        stage.clock.advance(366 * 86400)
        assert await stage.source.get_token() == "token-1"
