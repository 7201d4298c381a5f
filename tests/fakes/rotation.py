"""One rotation of a refresh token in a process of its own, which is killed at a line that it passes.

As a program it is told on standard input what to do, a line each: a state file, a token endpoint, a number. It forks
a process that gets a token by its refresh token, and kills itself with SIGKILL when it has come to that many different
lines of the engine, counted from its turn on. It says the line, or `end` when there are no more.
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
from gateway.oauth.grants import build
from gateway.oauth.refresh_rotation import RefreshTokenRotation
from gateway.oauth.stores.encrypted import EncryptedStore
from gateway.oauth.stores.entry_cipher import EntryCipher
from gateway.oauth.stores.file import FileBackend
from gateway.oauth.token_request import TokenRequestBuilder
from tests.oauth.scene import token_source

KEY = "person"
ENGINE = Path(gateway.oauth.__file__).parent


class Loud:
    """An entry that cannot be read is one that was lost."""

    def unreadable(self, name: str) -> None:
        raise AssertionError(name)


def opened(file: Path, clock: Clock) -> EncryptedStore:
    return EncryptedStore(
        FileBackend(file, clock=clock), cipher=EntryCipher((bytes(32),)), clock=clock, reporter=Loud()
    )


async def rotated(file: Path, url: str, clock: Clock) -> str:
    """The token that a source gets there; raises what the source raises."""
    store = opened(file, clock)
    requests = TokenRequestBuilder(
        partial(build, url, client_id="page"),
        grant="authorization_code",
        client_auth="none",
        endpoint=TokenEndpoint(),
        readers={},
    )
    rotation = RefreshTokenRotation(store, key=KEY)
    source = token_source("person", KEY, requests.build, requests.send, store=store, clock=clock, rotation=rotation)
    try:
        return await source.get()
    finally:
        await source.close()
        await store.close()


class Killer:
    """A trace function for all threads: ends the process at the `point`th new line of `FetchLease.run_exclusive`."""

    def __init__(self, point: int, told: int) -> None:
        self._point = point
        self._told = told
        self._seen: set[tuple[str, int]] = set()
        self._is_armed = False
        self._alone = threading.Lock()

    def __call__(self, frame: FrameType, event: str, _argument: Any) -> "Killer | None":
        name = frame.f_code.co_filename
        if not name.startswith(str(ENGINE)):
            return None
        self._is_armed = self._is_armed or frame.f_code is FetchLease.run_exclusive.__code__
        if event == "line" and self._is_armed:
            with self._alone:
                self._seen.add((name, frame.f_lineno))
                if len(self._seen) == self._point:
                    os.write(self._told, f"{Path(name).name}:{frame.f_lineno}\n".encode())
                    os.kill(os.getpid(), signal.SIGKILL)
        return self


def attempt(file: Path, url: str, point: int) -> None:
    """Forks the process that is to be killed, and waits for its end."""
    child = os.fork()
    if child == 0:
        killer = Killer(point, 1)
        threading.settrace(killer)
        sys.settrace(killer)
        asyncio.run(rotated(file, url, SystemClock()))
        sys.settrace(None)
        os.write(1, b"end\n")
        os._exit(0)
    os.waitpid(child, 0)


if __name__ == "__main__":
    while words := sys.stdin.readline().split():
        attempt(Path(words[0]), words[1], int(words[2]))
