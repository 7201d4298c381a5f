from gateway.services.recent_count import RecentCount
from gateway.services.retry_budget import RetryBudget


def test_three_second_tries_are_always_allowed() -> None:
    budget = RetryBudget()
    assert [budget.try_spend(100.0, 0) for _ in range(4)] == [True, True, True, False]
    assert budget.denied == 1


def test_second_tries_are_a_fifth_of_the_calls() -> None:
    budget = RetryBudget()
    assert [budget.try_spend(105.0, 100) for _ in range(30)].count(True) == 20


def test_only_retries_of_ten_seconds_count() -> None:
    budget = RetryBudget()
    assert [budget.try_spend(109.9, 100) for _ in range(30)].count(True) == 20
    assert [budget.try_spend(118.9, 0) for _ in range(30)].count(True) == 0
    assert [budget.try_spend(119.0, 0) for _ in range(30)].count(True) == 3


def test_count_forgets_whole_seconds() -> None:
    count = RecentCount()
    for second in range(100, 130):
        count.add(second + 0.5)
        assert count.total(second + 0.9) == min(10, second - 99)
    assert count.total(138.0) == 1
    assert count.total(139.0) == 0
    assert count.total(1e9) == 0


def test_counted_events_belong_to_the_second_that_has_begun() -> None:
    count = RecentCount()
    for second in range(100, 130):
        count.advance(second + 0.5)
        count.events += second
        assert count.total(second + 0.9) == sum(range(max(100, second - 9), second + 1))
