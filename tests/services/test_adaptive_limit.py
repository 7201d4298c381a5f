from gateway.services.adaptive_limit import LONGEST_HOLD, AdaptiveLimit


def test_refusal_lowers_the_limit_to_seven_tenths() -> None:
    limit = AdaptiveLimit(100)
    limit.lower(50.0, None)
    assert limit.current(50.0) == 70


def test_limit_rises_by_one_each_good_second() -> None:
    limit = AdaptiveLimit(100)
    limit.lower(50.0, None)
    assert [limit.current(50.0 + seconds) for seconds in (0.9, 1.0, 5.5, 29.0, 30.0, 900.0)] == [
        70,
        71,
        75,
        99,
        100,
        100,
    ]


def test_limit_does_not_rise_before_retry_after() -> None:
    limit = AdaptiveLimit(100)
    limit.lower(50.0, 20.0)
    assert [limit.current(at) for at in (60.0, 70.0, 71.0)] == [70, 70, 71]


def test_refusals_of_one_second_count_once() -> None:
    limit = AdaptiveLimit(100)
    for _ in range(30):
        limit.lower(50.0, None)
    assert limit.current(50.0) == 70
    limit.lower(51.0, None)
    assert limit.current(51.0) == 49


def test_limit_stays_above_zero() -> None:
    limit = AdaptiveLimit(100)
    for second in range(100):
        limit.lower(float(second), None)
    assert 1 <= limit.current(99.0) <= 2


def test_endless_retry_after_is_bounded() -> None:
    limit = AdaptiveLimit(10)
    limit.lower(0.0, 1e9)
    assert limit.current(LONGEST_HOLD + 100) == 10


def test_reload_changes_the_maximum() -> None:
    limit = AdaptiveLimit(100)
    limit.lower(0.0, None)
    limit.maximum = 50
    assert limit.current(0.0) == 50
    limit.maximum = 200
    assert limit.current(0.0) == 200
