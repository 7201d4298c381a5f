from gateway.sandbox.granting import TokenRateLimit


def admitted(
    budget: TokenRateLimit, *arrivals: float, per_second: int | None = None, per_minute: int | None = None
) -> list[bool]:
    return [budget.admits(now, per_second=per_second, per_minute=per_minute) for now in arrivals]


def test_no_limit_admits_all() -> None:
    assert all(admitted(TokenRateLimit(), *[5.0] * 100))


def test_the_second_slides() -> None:
    assert admitted(TokenRateLimit(), 0.0, 0.5, 0.9, 1.0, 1.4, per_second=2) == [True, True, False, True, False]


def test_the_minute_slides_and_refusals_do_not_count() -> None:
    assert admitted(TokenRateLimit(), 0.0, 30.0, 59.0, 59.9, 60.0, per_minute=2) == [True, True, False, False, True]
