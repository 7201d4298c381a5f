from gateway.server.workers.supervisor import restart_delay


def test_replacements_are_delayed_more_after_each_failure() -> None:
    delays = [restart_delay(failures) for failures in range(12)]
    assert delays[:5] == [0.0, 0.0, 0.1, 0.2, 0.4]
    assert delays == sorted(delays)
    assert delays[-1] == 10.0
