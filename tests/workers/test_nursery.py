"""The nursery forks, so each test has it in a process of its own: the test runner has threads."""

import subprocess
import sys

SCRIPT = """
import asyncio, os, signal, socket, sys, time
from gateway.server.workers.fork_server import ForkServer

def work(line, listeners):
    said = line.recv(10)
    line.send(said + b" by " + str(os.getppid()).encode())
    if said == b"fail":
        raise RuntimeError("as asked")
    line.recv(10)
    return 7

async def main(nursery):
    nursery.open()
    async def bear():
        ours, theirs = socket.socketpair()
        with theirs, socket.socket() as listener:
            return ours, *await nursery.spawn(theirs, [listener])
    born = await asyncio.gather(*(bear() for _ in range(3)))
    for (ours, pid, end), word in zip(born, (b"leave", b"fail", b"die")):
        ours.send(word)
        assert ours.recv(100) == word + b" by " + str(nursery.pid).encode()
    (leaver, _, left), (_, _, failed), (_, dier, died) = born
    leaver.close()
    os.kill(dier, signal.SIGKILL)
    print(await left, await failed, await died)
    await nursery.close()
    try:
        os.kill(nursery.pid, 0)
    except ProcessLookupError:
        print("gone")

asyncio.run(main(ForkServer(work)))
"""


def test_it_bears_workers_and_tells_of_each_end() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False, timeout=20)
    assert done.stdout == "7 70 -9\ngone\n"
    assert done.stderr.count("Traceback") == 1
    assert "RuntimeError: as asked" in done.stderr


def test_killed_it_is_missed() -> None:
    script = (
        SCRIPT.partition("async def main")[0]
        + """
async def main(nursery):
    nursery.open()
    os.kill(nursery.pid, signal.SIGKILL)
    await nursery.lost.wait()
    ours, theirs = socket.socketpair()
    try:
        await nursery.spawn(theirs, [ours])
    except OSError:
        print("missed")
    await nursery.close()

asyncio.run(main(ForkServer(work)))
"""
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=20)
    assert (done.stdout, done.stderr) == ("missed\n", "")
