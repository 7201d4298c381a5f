"""Usage in memory: sums, limits, and draining by the thread that writes it."""

import threading

from gateway.history.usage_buckets import OTHER_OWNERS, UsageBuckets, UsageRow
from gateway.observe.record import Record

A, B, C = (("acme", "orders", caller) for caller in ("a", "b", "c"))
NOON, ONE, TWO = (f"2026-01-31T{hour}" for hour in (12, 13, 14))


def count(buckets: UsageBuckets, *calls: tuple[str, str | None, int]) -> None:
    """Count calls by time, caller and messages."""
    records = [Record(time=time, route="orders", caller=caller, messages=messages) for time, caller, messages in calls]
    buckets.count_calls(records, ["acme"] * len(records))


def test_calls_add_up_by_hour_and_owner() -> None:
    buckets = UsageBuckets()
    count(
        buckets,
        ("2026-01-31T12:59:59.999Z", "a", 1),
        ("2026-01-31T12:00:00.000Z", "a", 3),
        ("2026-01-31T13:00:00.000Z", "a", 2),
        ("2026-01-31T12:30:00.000Z", None, 1),
        ("2026-01-31T12:30:00.000Z", None, 0),
    )
    expected = [UsageRow(NOON, *A, 2, 4), UsageRow(NOON, "acme", "orders", "", 1, 1), UsageRow(ONE, *A, 1, 2)]
    assert buckets.rows() == expected
    assert buckets
    assert buckets.drain() == expected
    assert not buckets
    assert buckets.drain() == buckets.rows() == []


def test_a_call_without_messages_is_no_usage() -> None:
    buckets = UsageBuckets()
    count(buckets, ("2026-01-31T12:00:00.000Z", "a", 0))
    assert not buckets
    assert buckets.rows() == []


def test_unwritten_rows_are_added_again() -> None:
    buckets = UsageBuckets()
    buckets.add(NOON, A, 1, 2)
    drained = buckets.drain()
    buckets.add(NOON, A, 1, 1)
    buckets.add_rows(drained)
    assert buckets.rows() == [UsageRow(NOON, *A, 2, 3)]


def test_the_oldest_hour_is_dropped_for_new_ones() -> None:
    buckets = UsageBuckets(limit=2)
    buckets.add(NOON, A, 1, 5)
    buckets.add(ONE, A, 1, 1)
    buckets.add(TWO, A, 1, 1)
    assert [row.hour for row in buckets.rows()] == [ONE, TWO]
    assert buckets.lost == 5
    buckets.add(NOON, A, 1, 7)
    assert [row.hour for row in buckets.rows()] == [ONE, TWO]
    assert buckets.lost == 12


def test_one_full_hour_loses_names_but_no_messages() -> None:
    buckets = UsageBuckets(limit=2)
    for owner in (A, B, C, ("acme", "other", "a")):
        buckets.add(NOON, owner, 1, 2)
    assert buckets.rows() == [
        UsageRow(NOON, *A, 1, 2),
        UsageRow(NOON, *B, 1, 2),
        UsageRow(NOON, "acme", OTHER_OWNERS, OTHER_OWNERS, 2, 4),
    ]
    assert buckets.lost == 0


def test_threads_lose_nothing() -> None:
    buckets, drained = UsageBuckets(), list[UsageRow]()
    done = threading.Event()

    def drain() -> None:
        while not done.is_set():
            drained.extend(buckets.drain())

    thread = threading.Thread(target=drain)
    thread.start()
    for number in range(20_000):
        count(buckets, (f"2026-01-31T{number % 24:02}", None, 2))
    done.set()
    thread.join()
    drained.extend(buckets.drain())
    assert (sum(row.calls for row in drained), sum(row.messages for row in drained)) == (20_000, 40_000)
