import pytest

from gateway.services.circuit_breaker import FAILURE_THRESHOLD, TRIAL_TIMEOUT, CircuitBreaker, is_failure, open_time


def opened(breaker: CircuitBreaker, now: float, random_fraction: float = 0.0) -> bool:
    """Record failures until the circuit would open."""
    return [
        breaker.record_failure(now, "status 503", random_fraction=random_fraction) for _ in range(FAILURE_THRESHOLD)
    ] == [
        *[False] * (FAILURE_THRESHOLD - 1),
        True,
    ]


def test_failures_in_a_row_open_the_circuit() -> None:
    breaker = CircuitBreaker()
    assert opened(breaker, 100.0)
    assert (breaker.state, breaker.reason) == ("open", "status 503")
    assert breaker.open_for(101.0) == 4.0


def test_success_between_failures_keeps_it_closed() -> None:
    breaker = CircuitBreaker()
    for _ in range(10 * FAILURE_THRESHOLD):
        assert not breaker.record_failure(1.0, "timeout", random_fraction=0.0)
        breaker.record_success()
    assert breaker.state == "closed"


def test_one_trial_call_closes_the_circuit() -> None:
    breaker = CircuitBreaker()
    opened(breaker, 100.0)
    assert not breaker.begin_trial(104.9)
    assert breaker.begin_trial(105.0)
    assert not breaker.begin_trial(105.0), "only one trial call"
    assert not breaker.record_success(), "a call that was sent before shows nothing"
    assert breaker.record_success(is_trial=True)
    assert (breaker.state, breaker.failures) == ("closed", 0)


def test_failed_trial_opens_it_for_longer() -> None:
    breaker = CircuitBreaker()
    now, times = 0.0, []
    opened(breaker, now, random_fraction=1.0)
    for _ in range(7):
        times.append(breaker.open_for(now))
        now += times[-1]
        assert breaker.begin_trial(now)
        assert breaker.record_failure(now, "timeout", random_fraction=1.0, is_trial=True)
    assert times == [10.0, 20.0, 40.0, 80.0, 120.0, 120.0, 120.0]


def test_trial_without_result_is_followed_by_another() -> None:
    breaker = CircuitBreaker()
    opened(breaker, 0.0)
    assert breaker.begin_trial(5.0)
    breaker.end_trial()
    assert breaker.begin_trial(5.0)
    assert breaker.begin_trial(5.0 + TRIAL_TIMEOUT), "the last one takes too long"


def test_late_failures_do_not_extend_an_open_circuit() -> None:
    breaker = CircuitBreaker()
    opened(breaker, 0.0)
    assert not breaker.record_failure(4.0, "timeout", random_fraction=1.0)
    assert breaker.begin_trial(5.0)
    assert not breaker.record_failure(6.0, "timeout", random_fraction=1.0), "not the trial call"
    assert breaker.state == "half-open"


@pytest.mark.parametrize("openings", range(1, 40))
@pytest.mark.parametrize("random_fraction", [0.0, 0.5, 0.999])
def test_open_time_is_between_five_seconds_and_two_minutes(openings: int, random_fraction: float) -> None:
    assert 5.0 <= open_time(openings, random_fraction) <= 120.0


@pytest.mark.parametrize("status", [502, 503, 504])
def test_errors_of_a_flow_are_no_failures(status: int) -> None:
    assert is_failure(status, has_instance_id=False)
    assert not is_failure(status, has_instance_id=True)


@pytest.mark.parametrize("status", [200, 400, 401, 404, 429, 500, 501])
def test_other_responses_are_no_failures(status: int) -> None:
    assert not is_failure(status, has_instance_id=False)
