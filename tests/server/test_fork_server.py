"""The fork server forks, so each test runs it in a process of its own: the test runner has threads."""

import subprocess
import sys

from tests.fakes.waiting import TIME_LIMIT

SCRIPT = """
import asyncio, os, signal, socket, sys, time
from gateway.server.workers.fork_server import ForkServer

def work(channel, listeners):
    word = channel.recv(10)
    channel.send(word + b" by " + str(os.getppid()).encode())
    if word == b"fail":
        raise RuntimeError("as asked")
    channel.recv(10)
    return 7

async def main(server):
    server.open()
    async def spawn():
        left, right = socket.socketpair()
        with right, socket.socket() as listener:
            return left, *await server.spawn(right, [listener])
    spawned = await asyncio.gather(*(spawn() for _ in range(3)))
    for (left, pid, end), word in zip(spawned, (b"leave", b"fail", b"die")):
        left.send(word)
        assert left.recv(100) == word + b" by " + str(server.pid).encode()
    (leaver, _, left), (_, _, failed), (_, dier, died) = spawned
    leaver.close()
    os.kill(dier, signal.SIGKILL)
    print(await left, await failed, await died)
    await server.close()
    try:
        os.kill(server.pid, 0)
    except ProcessLookupError:
        print("gone")

asyncio.run(main(ForkServer(work)))
"""


def test_each_worker_starts_and_its_exit_is_reported() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False, timeout=TIME_LIMIT
    )
    assert done.stdout == "7 70 -9\ngone\n"
    assert done.stderr.count("Traceback") == 1
    assert "RuntimeError: as asked" in done.stderr


def test_a_killed_fork_server_is_noticed() -> None:
    script = (
        SCRIPT.partition("async def main")[0]
        + """
async def main(server):
    server.open()
    os.kill(server.pid, signal.SIGKILL)
    await server.lost.wait()
    left, right = socket.socketpair()
    try:
        await server.spawn(right, [left])
    except OSError:
        print("noticed")
    await server.close()

asyncio.run(main(ForkServer(work)))
"""
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=TIME_LIMIT
    )
    assert (done.stdout, done.stderr) == ("noticed\n", "")
