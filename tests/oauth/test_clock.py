import time

from gateway.oauth.clock import SystemClock


def test_both_clocks_advance_and_the_wall_is_the_time_of_day() -> None:
    clock = SystemClock()
    first = clock.monotonic()
    assert clock.monotonic() >= first
    assert abs(clock.wall() - time.time()) < 5


def test_suspended_time_counts_where_the_system_can_tell() -> None:
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    expected = time.monotonic() if boot is None else time.clock_gettime(boot)
    assert abs(SystemClock().monotonic() - expected) < 5
