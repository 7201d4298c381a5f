"""Looking names up: one lookup for all who ask, no name that waits for another, and what serves meanwhile."""

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.network import resolver
from gateway.network.resolver import (
    FRESH,
    MAX_LOOKUP_WAIT,
    MAX_STALE,
    NAMES,
    OVERDUE,
    QUIET,
    SHOWN,
    SLOW,
    SLOW_THREADS,
    THREADS,
    Resolver,
    StaleServing,
)

STREAM = (0, int(socket.SOCK_STREAM), 0, 0)
AGAIN = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
UNKNOWN = socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def info(address: str) -> list[Any]:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))]


class House:
    """A resolver over a resolver of ours: `addresses` by name, or an error; names in `hanging` wait for their event."""

    def __init__(self) -> None:
        self.addresses: dict[str, str | Exception] = {}
        self.hanging: dict[str, threading.Event] = {}
        self.asked: Counter[str] = Counter()
        self.now = 1000.0
        self._begun = threading.Condition()
        self.resolver = Resolver(look_up=self._look_up, now=lambda: self.now, wall=lambda: self.now)
        self.reports: list[StaleServing] = []
        self.resolver.report = self.reports.append

    def hang(self, *names: str) -> None:
        for name in names:
            self.hanging[name] = threading.Event()

    async def get(self, name: str, port: int = 443) -> str:
        async with asyncio.timeout(10):
            [(_, _, _, _, (address, got))] = await self.resolver.resolve(name, port, STREAM)
        assert got == port
        return str(address)

    async def begun(self, count: int) -> None:
        """Waits until so many lookups have begun."""
        await asyncio.to_thread(self._wait, count)

    def _wait(self, count: int) -> None:
        with self._begun:
            assert self._begun.wait_for(lambda: self.asked.total() >= count, 10)

    def _look_up(self, host: str, port: int, *_: int) -> list[Any]:
        hanging = self.hanging.get(host)  # before it is counted: a test may change it from then on
        with self._begun:
            self.asked[host] += 1
            self._begun.notify_all()
        if hanging is not None:
            hanging.wait()
        address = self.addresses[host]
        if isinstance(address, Exception):
            raise address
        return info(address)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    made = House()
    yield made
    for event in made.hanging.values():
        event.set()


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [("127.0.0.1", 80, ("127.0.0.1", 80)), ("::1", 443, ("::1", 443, 0, 0)), ("10.1.2.3", "443", ("10.1.2.3", 443))],
)
async def test_an_address_is_not_looked_up(house: House, host: str, port: Any, expected: tuple[Any, ...]) -> None:
    for hints in (STREAM, (0, 0, 0, 0), (0, int(socket.SOCK_STREAM), 0, int(socket.AI_ADDRCONFIG))):
        assert (await house.resolver.resolve(host, port, hints))[0][4] == expected
    assert not house.asked


async def test_all_who_ask_share_a_lookup_and_get_their_port(house: House) -> None:
    house.addresses["a"] = "10.0.0.1"
    house.hang("a")
    asking = [asyncio.create_task(house.get("a", port)) for port in (80, 443, 8443)]
    await house.begun(1)
    asking[0].cancel()
    house.hanging["a"].set()
    assert await asyncio.gather(*asking[1:]) == ["10.0.0.1"] * 2
    assert house.asked == {"a": 1}


async def test_an_answer_is_used_briefly_and_then_requested_again(house: House) -> None:
    house.addresses["a"] = "10.0.0.1"
    assert await house.get("a") == "10.0.0.1"
    house.addresses["a"] = "10.0.0.2"
    house.now += FRESH / 2
    assert await house.get("a") == "10.0.0.1"
    house.now += FRESH
    assert await house.get("a") == "10.0.0.2"
    assert house.asked == {"a": 2}


async def test_names_that_hang_hold_up_no_other(house: House) -> None:
    names = [f"hanging{n}" for n in range(THREADS - 1)]
    house.hang(*names)
    house.addresses = dict.fromkeys((*names, "a"), "10.0.0.1")
    asking = [asyncio.create_task(house.get(name)) for name in names]
    await house.begun(len(names))
    assert await house.get("a") == "10.0.0.1"
    for name in names:
        house.hanging[name].set()
    await asyncio.gather(*asking)


async def test_slow_names_leave_places_to_the_others(house: House) -> None:
    names = [f"slow{n}" for n in range(THREADS)]
    house.hang(*names)
    house.addresses = dict.fromkeys((*names, "a", "b"), "10.0.0.1")
    first = [asyncio.create_task(house.get(name)) for name in names]
    await house.begun(THREADS)
    late = asyncio.create_task(house.get("a"))  # every place is taken: it is not known yet that these are slow
    house.now += SLOW
    for name in names:
        house.hanging[name].set()
    assert await asyncio.gather(*first, late) == ["10.0.0.1"] * (THREADS + 1)
    house.hang(*names)
    house.now += FRESH + MAX_STALE
    again = [asyncio.create_task(house.get(name)) for name in names]
    await house.begun(THREADS + 1 + SLOW_THREADS)
    assert await house.get("b") == "10.0.0.1"
    assert house.asked.total() == THREADS + 2 + SLOW_THREADS
    for name in names:
        house.hanging[name].set()
    assert await asyncio.gather(*again) == ["10.0.0.1"] * THREADS


async def test_the_last_good_answer_serves_while_a_lookup_hangs(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "MAX_LOOKUP_WAIT", 0.01)
    house.addresses["a"] = "10.0.0.1"
    await house.get("a")
    assert house.resolver.troubles() == {}
    house.hang("a")
    house.now += FRESH
    assert await house.get("a") == "10.0.0.1"
    house.now += MAX_LOOKUP_WAIT + SLOW
    assert await house.get("a") == "10.0.0.1"
    assert house.asked["a"] == 2
    assert house.resolver.troubles() == {
        "a": {
            "state": "stale",
            "error": "no answer for 2 s",
            "since": 1005.0,
            "resolved": 1000.0,
            "addresses": ["10.0.0.1"],
        }
    }
    house.addresses["a"] = "10.0.0.2"
    house.hanging.pop("a").set()
    while await house.get("a") != "10.0.0.2":  # noqa: ASYNC110 - the thread's end is told to nobody
        await asyncio.sleep(0)
    assert house.resolver.troubles() == {}


async def test_the_last_good_answer_is_used_while_lookups_fail(house: House) -> None:
    house.addresses["a"] = "10.0.0.1"
    await house.get("a")
    house.addresses["a"] = AGAIN
    house.now += FRESH
    assert await house.get("a") == "10.0.0.1"
    assert house.resolver.troubles()["a"]["state"] == "stale"
    house.now += MAX_STALE
    with pytest.raises(socket.gaierror, match="Temporary failure"):
        await house.get("a")
    trouble = house.resolver.troubles()["a"]
    assert (trouble["state"], trouble["addresses"]) == ("unresolved", [])
    house.now += SHOWN + 1
    assert house.resolver.troubles() == {}


async def test_a_name_that_is_gone_is_no_longer_served(house: House) -> None:
    house.addresses["a"] = "10.0.0.1"
    await house.get("a")
    house.addresses["a"] = UNKNOWN
    house.now += FRESH
    for _ in range(2):
        with pytest.raises(socket.gaierror, match="not known"):
            await house.get("a")
    assert house.asked["a"] == 3


async def test_a_lookup_that_hangs_for_long_gets_one_thread_more(house: House) -> None:
    house.addresses["a"] = "10.0.0.1"
    house.hang("a")
    first = asyncio.create_task(house.get("a"))
    await house.begun(1)
    stuck = house.hanging["a"]
    house.hang("a")
    house.now += OVERDUE
    others = [asyncio.create_task(house.get("a")) for _ in range(3)]
    await house.begun(2)
    house.hanging["a"].set()
    assert await asyncio.gather(first, *others) == ["10.0.0.1"] * 4
    assert house.asked["a"] == 2
    house.addresses["a"] = AGAIN  # what the first thread brings at last is old
    stuck.set()
    assert await house.get("a") == "10.0.0.1"
    assert house.resolver.troubles() == {}


async def test_names_are_bounded(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "NAMES", 2)
    house.addresses = dict.fromkeys("abc", "10.0.0.1")
    for name in "abcb":
        await house.get(name)
    assert house.asked == {"a": 1, "b": 1, "c": 1}
    await house.get("a")
    assert house.asked["a"] == 2
    assert NAMES > 2


async def test_a_name_that_cannot_be_one_is_refused_at_once(house: House) -> None:
    with pytest.raises(UnicodeError):
        await house.get("x" * 300)
    assert not house.asked


async def test_stale_serving_is_reported_once_and_so_is_its_end(house: House) -> None:
    house.addresses["a"] = "10.0.0.1"
    await house.get("a")
    house.addresses["a"] = AGAIN
    for _ in range(50):  # longer than `QUIET`
        house.now += FRESH
        await house.get("a")
    stale = StaleServing("a", ["10.0.0.1"], "Temporary failure in name resolution")
    assert house.reports == [stale]
    house.addresses["a"] = "10.0.0.2"
    for _ in range(2):
        house.now += FRESH
        await house.get("a")
    assert house.reports == [stale, StaleServing("a", ["10.0.0.2"])]


async def test_a_lookup_that_hangs_is_reported_once_slow(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "MAX_LOOKUP_WAIT", 0.0)
    house.addresses["a"] = "10.0.0.1"
    await house.get("a")
    house.hang("a")
    house.now += FRESH
    await house.get("a")
    assert house.reports == []
    house.now += SLOW
    for _ in range(2):
        await house.get("a")
    assert house.reports == [StaleServing("a", ["10.0.0.1"], "no answer for 1 s")]


async def test_an_often_failing_name_is_reported_once_a_minute(house: House) -> None:
    house.addresses["a"] = "10.0.0.1"
    await house.get("a")
    for _ in range(2 * int(QUIET / FRESH)):
        house.addresses["a"] = AGAIN if isinstance(house.addresses["a"], str) else "10.0.0.1"
        house.now += FRESH
        await house.get("a")
    assert [bool(report.error) for report in house.reports] == [True, False] * 2
    house.addresses["a"] = AGAIN
    house.now += FRESH
    await house.get("a")
    house.now += QUIET
    await house.get("a")
    assert house.reports[-1].error, "what lasts is reported after the minute"


async def test_the_end_of_a_name_that_is_gone_is_reported(house: House) -> None:
    house.addresses["a"] = "10.0.0.1"
    await house.get("a")
    house.addresses["a"] = AGAIN
    house.now += FRESH
    await house.get("a")
    house.addresses["a"] = UNKNOWN
    with pytest.raises(socket.gaierror, match="not known"):
        await house.get("a")
    assert [report.addresses for report in house.reports] == [["10.0.0.1"], []]


async def test_a_name_without_a_last_answer_is_not_reported(house: House) -> None:
    house.addresses["a"] = AGAIN
    with pytest.raises(socket.gaierror):
        await house.get("a")
    house.addresses["a"] = "10.0.0.1"
    await house.get("a")
    assert house.reports == []
