"""DNS lookups: requests for a name share one, no name waits for another, stale answers are used meanwhile."""

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.network import resolver
from gateway.network.resolver import (
    FAILURE_SHOWN_FOR,
    FRESH_FOR,
    MAX_LOOKUP_WAIT,
    MAX_NAMES,
    MAX_SLOW_THREADS,
    MAX_STALE,
    MAX_THREADS,
    REPORT_INTERVAL,
    SECOND_THREAD_AFTER,
    SLOW_AFTER,
    Resolver,
    StaleServing,
)
from tests.fakes.waiting import TIME_LIMIT

STREAM = (0, int(socket.SOCK_STREAM), 0, 0)
AGAIN = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
UNKNOWN = socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def info(address: str) -> list[Any]:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))]


class FakeDns:
    """A `resolver` whose lookups return `addresses` by name, or raise; lookups in `hanging` wait for their event."""

    def __init__(self) -> None:
        self.addresses: dict[str, str | Exception] = {}
        self.hanging: dict[str, threading.Event] = {}
        self.lookups: Counter[str] = Counter()
        self.now = 1000.0
        self._begun = threading.Condition()
        self.resolver = Resolver(look_up=self._look_up, now=lambda: self.now, time_of_day=lambda: self.now)
        self.reports: list[StaleServing] = []
        self.resolver.report = self.reports.append

    def hang(self, *names: str) -> None:
        for name in names:
            self.hanging[name] = threading.Event()

    async def get(self, name: str, port: int = 443) -> str:
        async with asyncio.timeout(TIME_LIMIT):
            [(_, _, _, _, (address, answer_port))] = await self.resolver.resolve(name, port, STREAM)
        assert answer_port == port
        return str(address)

    async def until_begun(self, count: int) -> None:
        """Wait until this number of lookups has begun."""
        await asyncio.to_thread(self._wait, count)

    def _wait(self, count: int) -> None:
        with self._begun:
            assert self._begun.wait_for(lambda: self.lookups.total() >= count, TIME_LIMIT)

    def _look_up(self, host: str, port: int, *_: int) -> list[Any]:
        hanging = self.hanging.get(host)  # read before the count: a test may change it after it
        with self._begun:
            self.lookups[host] += 1
            self._begun.notify_all()
        if hanging is not None:
            hanging.wait()
        address = self.addresses[host]
        if isinstance(address, Exception):
            raise address
        return info(address)


@pytest.fixture
async def dns() -> AsyncIterator[FakeDns]:
    dns = FakeDns()
    yield dns
    for event in dns.hanging.values():
        event.set()


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [("127.0.0.1", 80, ("127.0.0.1", 80)), ("::1", 443, ("::1", 443, 0, 0)), ("10.1.2.3", "443", ("10.1.2.3", 443))],
)
async def test_an_address_is_not_looked_up(dns: FakeDns, host: str, port: Any, expected: tuple[Any, ...]) -> None:
    for hints in (STREAM, (0, 0, 0, 0), (0, int(socket.SOCK_STREAM), 0, int(socket.AI_ADDRCONFIG))):
        assert (await dns.resolver.resolve(host, port, hints))[0][4] == expected
    assert not dns.lookups


async def test_requests_for_a_name_share_a_lookup_and_get_their_port(dns: FakeDns) -> None:
    dns.addresses["a"] = "10.0.0.1"
    dns.hang("a")
    requests = [asyncio.create_task(dns.get("a", port)) for port in (80, 443, 8443)]
    await dns.until_begun(1)
    requests[0].cancel()
    dns.hanging["a"].set()
    assert await asyncio.gather(*requests[1:]) == ["10.0.0.1"] * 2
    assert dns.lookups == {"a": 1}


async def test_an_answer_is_used_briefly_and_then_requested_again(dns: FakeDns) -> None:
    dns.addresses["a"] = "10.0.0.1"
    assert await dns.get("a") == "10.0.0.1"
    dns.addresses["a"] = "10.0.0.2"
    dns.now += FRESH_FOR / 2
    assert await dns.get("a") == "10.0.0.1"
    dns.now += FRESH_FOR
    assert await dns.get("a") == "10.0.0.2"
    assert dns.lookups == {"a": 2}


async def test_a_hanging_lookup_delays_no_other_name(dns: FakeDns) -> None:
    names = [f"hanging{n}" for n in range(MAX_THREADS - 1)]
    dns.hang(*names)
    dns.addresses = dict.fromkeys((*names, "a"), "10.0.0.1")
    requests = [asyncio.create_task(dns.get(name)) for name in names]
    await dns.until_begun(len(names))
    assert await dns.get("a") == "10.0.0.1"
    for name in names:
        dns.hanging[name].set()
    await asyncio.gather(*requests)


async def test_slow_names_leave_threads_to_other_names(dns: FakeDns) -> None:
    names = [f"slow{n}" for n in range(MAX_THREADS)]
    dns.hang(*names)
    dns.addresses = dict.fromkeys((*names, "a", "b"), "10.0.0.1")
    first = [asyncio.create_task(dns.get(name)) for name in names]
    await dns.until_begun(MAX_THREADS)
    late = asyncio.create_task(dns.get("a"))  # no thread is free: these names are not known as slow yet
    dns.now += SLOW_AFTER
    for name in names:
        dns.hanging[name].set()
    assert await asyncio.gather(*first, late) == ["10.0.0.1"] * (MAX_THREADS + 1)
    dns.hang(*names)
    dns.now += FRESH_FOR + MAX_STALE
    again = [asyncio.create_task(dns.get(name)) for name in names]
    await dns.until_begun(MAX_THREADS + 1 + MAX_SLOW_THREADS)
    assert await dns.get("b") == "10.0.0.1"
    assert dns.lookups.total() == MAX_THREADS + 2 + MAX_SLOW_THREADS
    for name in names:
        dns.hanging[name].set()
    assert await asyncio.gather(*again) == ["10.0.0.1"] * MAX_THREADS


async def test_the_last_good_answer_is_used_while_a_lookup_hangs(dns: FakeDns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "MAX_LOOKUP_WAIT", 0.01)
    dns.addresses["a"] = "10.0.0.1"
    await dns.get("a")
    assert dns.resolver.failures() == {}
    dns.hang("a")
    dns.now += FRESH_FOR
    assert await dns.get("a") == "10.0.0.1"
    dns.now += MAX_LOOKUP_WAIT + SLOW_AFTER
    assert await dns.get("a") == "10.0.0.1"
    assert dns.lookups["a"] == 2
    assert dns.resolver.failures() == {
        "a": {
            "state": "stale",
            "error": "no answer for 2 s",
            "since": 1005.0,
            "resolved": 1000.0,
            "addresses": ["10.0.0.1"],
        }
    }
    dns.addresses["a"] = "10.0.0.2"
    dns.hanging.pop("a").set()
    while await dns.get("a") != "10.0.0.2":  # noqa: ASYNC110 - no event marks the end of the thread
        await asyncio.sleep(0)
    assert dns.resolver.failures() == {}


async def test_the_last_good_answer_is_used_while_lookups_fail(dns: FakeDns) -> None:
    dns.addresses["a"] = "10.0.0.1"
    await dns.get("a")
    dns.addresses["a"] = AGAIN
    dns.now += FRESH_FOR
    assert await dns.get("a") == "10.0.0.1"
    assert dns.resolver.failures()["a"]["state"] == "stale"
    dns.now += MAX_STALE
    with pytest.raises(socket.gaierror, match="Temporary failure"):
        await dns.get("a")
    failure = dns.resolver.failures()["a"]
    assert (failure["state"], failure["addresses"]) == ("unresolved", [])
    dns.now += FAILURE_SHOWN_FOR + 1
    assert dns.resolver.failures() == {}


async def test_a_removed_name_is_no_longer_resolved(dns: FakeDns) -> None:
    dns.addresses["a"] = "10.0.0.1"
    await dns.get("a")
    dns.addresses["a"] = UNKNOWN
    dns.now += FRESH_FOR
    for _ in range(2):
        with pytest.raises(socket.gaierror, match="not known"):
            await dns.get("a")
    assert dns.lookups["a"] == 3


async def test_a_long_lookup_gets_one_second_thread(dns: FakeDns) -> None:
    dns.addresses["a"] = "10.0.0.1"
    dns.hang("a")
    first = asyncio.create_task(dns.get("a"))
    await dns.until_begun(1)
    first_thread = dns.hanging["a"]
    dns.hang("a")
    dns.now += SECOND_THREAD_AFTER
    others = [asyncio.create_task(dns.get("a")) for _ in range(3)]
    await dns.until_begun(2)
    dns.hanging["a"].set()
    assert await asyncio.gather(first, *others) == ["10.0.0.1"] * 4
    assert dns.lookups["a"] == 2
    dns.addresses["a"] = AGAIN  # the first thread returns an old result
    first_thread.set()
    assert await dns.get("a") == "10.0.0.1"
    assert dns.resolver.failures() == {}


async def test_the_number_of_cached_names_is_limited(dns: FakeDns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "MAX_NAMES", 2)
    dns.addresses = dict.fromkeys("abc", "10.0.0.1")
    for name in "abcb":
        await dns.get(name)
    assert dns.lookups == {"a": 1, "b": 1, "c": 1}
    await dns.get("a")
    assert dns.lookups["a"] == 2
    assert MAX_NAMES > 2


async def test_an_impossible_name_is_rejected_without_a_lookup(dns: FakeDns) -> None:
    with pytest.raises(UnicodeError):
        await dns.get("x" * 300)
    assert not dns.lookups


async def test_stale_answers_are_reported_once_at_begin_and_end(dns: FakeDns) -> None:
    dns.addresses["a"] = "10.0.0.1"
    await dns.get("a")
    dns.addresses["a"] = AGAIN
    for _ in range(50):  # longer than `REPORT_INTERVAL`
        dns.now += FRESH_FOR
        await dns.get("a")
    stale = StaleServing("a", ["10.0.0.1"], "Temporary failure in name resolution")
    assert dns.reports == [stale]
    dns.addresses["a"] = "10.0.0.2"
    for _ in range(2):
        dns.now += FRESH_FOR
        await dns.get("a")
    assert dns.reports == [stale, StaleServing("a", ["10.0.0.2"])]


async def test_a_hanging_lookup_is_reported_once_it_is_slow(dns: FakeDns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "MAX_LOOKUP_WAIT", 0.0)
    dns.addresses["a"] = "10.0.0.1"
    await dns.get("a")
    dns.hang("a")
    dns.now += FRESH_FOR
    await dns.get("a")
    assert dns.reports == []
    dns.now += SLOW_AFTER
    for _ in range(2):
        await dns.get("a")
    assert dns.reports == [StaleServing("a", ["10.0.0.1"], "no answer for 1 s")]


async def test_a_name_that_often_fails_is_reported_once_a_minute(dns: FakeDns) -> None:
    dns.addresses["a"] = "10.0.0.1"
    await dns.get("a")
    for _ in range(2 * int(REPORT_INTERVAL / FRESH_FOR)):
        dns.addresses["a"] = AGAIN if isinstance(dns.addresses["a"], str) else "10.0.0.1"
        dns.now += FRESH_FOR
        await dns.get("a")
    assert [bool(report.error) for report in dns.reports] == [True, False] * 2
    dns.addresses["a"] = AGAIN
    dns.now += FRESH_FOR
    await dns.get("a")
    dns.now += REPORT_INTERVAL
    await dns.get("a")
    assert dns.reports[-1].error, "a lasting failure is reported after the minute"


async def test_the_removal_of_a_stale_name_is_reported(dns: FakeDns) -> None:
    dns.addresses["a"] = "10.0.0.1"
    await dns.get("a")
    dns.addresses["a"] = AGAIN
    dns.now += FRESH_FOR
    await dns.get("a")
    dns.addresses["a"] = UNKNOWN
    with pytest.raises(socket.gaierror, match="not known"):
        await dns.get("a")
    assert [report.addresses for report in dns.reports] == [["10.0.0.1"], []]


async def test_a_name_without_a_last_answer_is_not_reported(dns: FakeDns) -> None:
    dns.addresses["a"] = AGAIN
    with pytest.raises(socket.gaierror):
        await dns.get("a")
    dns.addresses["a"] = "10.0.0.1"
    await dns.get("a")
    assert dns.reports == []
