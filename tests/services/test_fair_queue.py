from collections import Counter

from gateway.services.fair_queue import PRUNE_ABOVE, FairQueue


def filled(**callers: int) -> FairQueue[tuple[str, int]]:
    queue: FairQueue[tuple[str, int]] = FairQueue()
    for caller, count in callers.items():
        for number in range(count):
            queue.push((caller, number), caller)
    return queue


def test_one_caller_is_served_in_order() -> None:
    queue = filled(a=5)
    assert [queue.pop() for _ in range(5)] == [("a", number) for number in range(5)]


def test_light_caller_is_not_behind_a_flood() -> None:
    queue = filled(flood=1000, light=1)
    assert ("light", 0) in [queue.pop() for _ in range(2)]


def test_late_caller_gets_no_credit_for_its_absence() -> None:
    queue = filled(a=100)
    for _ in range(50):
        queue.pop()
    for number in range(20):
        queue.push(("b", number), "b")
    assert Counter(queue.pop()[0] for _ in range(20)) == {"a": 10, "b": 10}


def test_callers_are_served_by_their_shares() -> None:
    queue: FairQueue[tuple[str, int]] = FairQueue()
    for number in range(300):
        for caller, share in (("one", 1), ("two", 2), ("three", 3)):
            queue.push((caller, number), caller, share)
    assert Counter(queue.pop()[0] for _ in range(60)) == {"one": 10, "two": 20, "three": 30}


def test_caller_that_returns_at_once_keeps_its_turn() -> None:
    """A caller with one call at a time is not served before others each time that it comes back."""
    queue = filled(a=100, b=100)
    queue.push(("c", 0), "c", 1)
    served: Counter[str] = Counter()
    for number in range(1, 31):
        caller = queue.pop()[0]
        served[caller] += 1
        if caller == "c":
            queue.push(("c", number), "c", 1)
    assert served == {"a": 10, "b": 10, "c": 10}


def test_removed_items_are_not_served() -> None:
    queue = filled(a=3, b=3)
    assert queue.remove(("a", 1))
    assert not queue.remove(("a", 1))
    assert all(queue.remove(("b", number)) for number in range(3))
    assert len(queue) == 2
    assert [queue.pop() for _ in range(2)] == [("a", 0), ("a", 2)]
    assert len(queue) == 0


def test_callers_that_come_and_leave_use_no_memory() -> None:
    queue = filled(a=1)
    for number in range(10 * PRUNE_ABOVE):
        queue.push(("x", number), f"caller-{number}")
        queue.remove(("x", number))
    assert len(queue._turns) <= 2 * PRUNE_ABOVE
    assert len(queue._next_start) <= 2 * PRUNE_ABOVE
    assert queue.pop() == ("a", 0)
