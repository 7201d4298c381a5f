"""One rotation of a refresh token in a separate process, which is killed at a chosen line.

As a program it reads one line for each attempt: a state file, a token endpoint, the number of a point. It forks
a process that gets a token by its refresh token, and that kills itself with SIGKILL at that point (`Killer`). It prints
the line, or `end` when there are no more.
"""

import asyncio
import os
import signal
import sys
import threading
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import gateway.oauth
from gateway.oauth.clock import Clock, SystemClock
from gateway.oauth.endpoint import TokenEndpoint
from gateway.oauth.fetch_lease import FetchLease
from gateway.oauth.grants import build_token_request
from gateway.oauth.refresh_rotation import RefreshTokenRotation
from gateway.oauth.stores.encrypted import EncryptedStore
from gateway.oauth.stores.entry_cipher import EntryCipher
from gateway.oauth.stores.file import FileBackend
from gateway.oauth.token_request import TokenRequestBuilder
from tests.oauth.scene import token_source

KEY = "person"
ENGINE = Path(gateway.oauth.__file__).parent
EVERY_LINE = {"fetch_lease.py", "refresh_rotation.py", "file.py"}


class FailingReporter:
    """Fails if an entry cannot be read: it would be lost."""

    def on_unreadable_entry(self, name: str) -> None:
        raise AssertionError(name)


def open_store(file: Path, clock: Clock) -> EncryptedStore:
    return EncryptedStore(
        FileBackend(file, clock=clock), cipher=EntryCipher((bytes(32),)), clock=clock, reporter=FailingReporter()
    )


async def rotate_token(file: Path, url: str, clock: Clock) -> str:
    """Get a token with the refresh token in the file, as the gateway does; return it."""
    store = open_store(file, clock)
    requests = TokenRequestBuilder(
        partial(build_token_request, url, client_id="page"),
        grant="authorization_code",
        client_auth="none",
        endpoint=TokenEndpoint(),
        readers={},
    )
    rotation = RefreshTokenRotation(store, key=KEY)
    source = token_source("person", KEY, requests.build, requests.send, store=store, clock=clock, rotation=rotation)
    try:
        return await source.get_token()
    finally:
        await source.close()
        await store.close()


class Killer:
    """A trace function for all threads: kills the process at point number `point`, counted from the lease.

    A point is a line that runs for the first time: each line of the modules that hold the lease, rotate and write to
    the file; of all other modules only the first line after a change of module. Between two of these lines the other
    modules only compute.
    """

    def __init__(self, point: int, output: int) -> None:
        self._point = point
        self._output = output
        self._seen: set[tuple[str, int]] = set()
        self._points = 0
        self._module = ""
        self._is_armed = False
        self._lock = threading.Lock()

    def __call__(self, frame: FrameType, event: str, _argument: Any) -> "Killer | None":
        name = frame.f_code.co_filename
        if not name.startswith(str(ENGINE)):
            return None
        self._is_armed = self._is_armed or frame.f_code is FetchLease.run_exclusive.__code__
        if event == "line" and self._is_armed:
            with self._lock:
                self._pass(Path(name).name, frame.f_lineno)
        return self

    def _pass(self, module: str, line: int) -> None:
        if (module, line) not in self._seen and (module in EVERY_LINE or module != self._module):
            self._points += 1
            if self._points == self._point:
                os.write(self._output, f"{module}:{line}\n".encode())
                os.kill(os.getpid(), signal.SIGKILL)
        self._seen.add((module, line))
        self._module = module


def attempt(file: Path, url: str, point: int) -> None:
    """Fork the process that will be killed, and wait for its end."""
    child = os.fork()
    if child == 0:
        killer = Killer(point, 1)
        threading.settrace(killer)
        sys.settrace(killer)
        asyncio.run(rotate_token(file, url, SystemClock()))
        sys.settrace(None)
        os.write(1, b"end\n")
        os._exit(0)
    os.waitpid(child, 0)


if __name__ == "__main__":
    while words := sys.stdin.readline().split():
        attempt(Path(words[0]), words[1], int(words[2]))
