"""Sockets that listen on a path: of several gateways that start at once, one has it."""

import socket
import threading
from pathlib import Path

from gateway.system.bind import UnixSocket

ROUNDS = 60
STARTERS = 6


def test_of_many_that_find_a_dead_socket_one_listens(tmp_path: Path) -> None:
    for number in range(ROUNDS):
        path = tmp_path / str(number)
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        listening = start_at_once(str(path))
        assert len(listening) == 1
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(path))
        listening[0].close()
        assert not path.exists()


def start_at_once(path: str) -> list[UnixSocket]:
    """What listens in the end, where many try it at the same time."""
    barrier, listening = threading.Barrier(STARTERS), list[UnixSocket]()

    def start() -> None:
        barrier.wait()
        try:
            listening.append(UnixSocket(path))
        except OSError as error:
            refusals.append(str(error))

    refusals: list[str] = []
    threads = [threading.Thread(target=start) for _ in range(STARTERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refusals == ["another process listens on this socket"] * (STARTERS - 1)
    return listening
