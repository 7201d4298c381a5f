from gateway.server.workers.supervisor import restart_delay


def test_the_first_replacement_comes_at_once_and_further_ones_ever_later() -> None:
    pauses = [restart_delay(deaths) for deaths in range(12)]
    assert pauses[:5] == [0.0, 0.0, 0.1, 0.2, 0.4]
    assert pauses == sorted(pauses)
    assert pauses[-1] == 10.0
