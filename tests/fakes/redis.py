"""A real Redis on a port of loopback and on a socket, in its own folder; a test can kill, pause and restart it."""

import asyncio
import shutil
import signal
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from redis.asyncio import Redis

from tests.fakes.ports import ReservedPort
from tests.fakes.waiting import TIME_LIMIT

READY = (b"Ready to accept connections", b"Sentinel ID is")


def program() -> str:
    found = shutil.which("redis-server")
    assert found, "these tests need a real Redis: apt-get install redis-server"
    return found


class RedisServer:
    """A server with the lines `settings` in redis.conf. By default it writes nothing to disk."""

    def __init__(self, *settings: str, tls: Path | None = None, is_sentinel: bool = False) -> None:
        """With `tls`, a PEM file of key and certificate, the port uses TLS."""
        self._reserved = ReservedPort()
        self.port = self._reserved.number
        self.folder = Path(tempfile.mkdtemp(prefix="redis-"))  # short: a socket's path has 107 bytes at most
        self.socket = self.folder / "s"
        self._mode = ["--sentinel"] if is_sentinel else []
        ports: tuple[str, ...] = (f"port {self.port}",)
        if tls is not None:
            of_tls = ("tls-cert-file", "tls-key-file", "tls-ca-cert-file")
            ports = ("port 0", f"tls-port {self.port}", *(f"{key} {tls}" for key in of_tls), "tls-auth-clients no")
        persistence = () if is_sentinel else ('save ""',)
        lines = (*ports, "bind 127.0.0.1", f"dir {self.folder}", f"unixsocket {self.socket}", *persistence, *settings)
        (self.folder / "redis.conf").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            self._clean()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.kill()
        self._clean()

    def _clean(self) -> None:
        shutil.rmtree(self.folder)
        self._reserved.release()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start the server; return when it accepts connections."""
        self._process = await asyncio.create_subprocess_exec(
            program(), self.folder / "redis.conf", *self._mode, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL
        )
        assert self._process.stdout is not None
        output = b""
        try:
            async with asyncio.timeout(TIME_LIMIT):
                while not any(word in output for word in READY):
                    line = await self._process.stdout.readline()
                    assert line, output.decode(errors="replace")
                    output += line
        except BaseException:
            if self._process.returncode is None:
                self._process.kill()
            await self._process.wait()
            raise
        self._reader = asyncio.create_task(self._process.stdout.read())

    async def kill(self) -> None:
        """Kill the server, as a power failure does: what is not on the disk is lost."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._reader

    def pause(self) -> None:
        """Stop the process: it does not respond, and does not end."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    async def restart(self) -> None:
        """Kill and start the server; it is empty unless its settings write to disk."""
        await self.kill()
        await self.start()

    async def evaluate(self, script: str, name: str, arguments: list[str]) -> object:
        """Run a script with one key, as the gateway does: any failure is an OSError."""
        try:
            async with self.client() as client:
                return await client.eval(script, 1, name, *arguments)
        except Exception as error:
            raise OSError(type(error).__name__) from error

    @asynccontextmanager
    async def client(self, password: str | None = None) -> AsyncIterator[Any]:
        """Open a second connection, as an operator or an attacker does."""
        client = Redis(unix_socket_path=str(self.socket), password=password, protocol=2)
        try:
            yield client
        finally:
            await client.aclose()

    async def advance_time(self, seconds: float) -> None:
        """Let entries with an expiry age: the clock of Redis cannot be set, so their expiry is moved forward."""
        async with self.client() as client:
            for name in await client.keys("*"):
                left = await client.pttl(name)
                if 0 <= left <= seconds * 1000:
                    await client.delete(name)
                elif left > 0:
                    await client.pexpire(name, int(left - seconds * 1000))

    async def dump_bytes(self) -> bytes:
        """Return everything it contains: names, values and its dump file."""
        async with self.client() as client:
            await client.save()
            values = [await client.dump(name) + name for name in await client.keys("*")]
        return b"".join(values) + (self.folder / "dump.rdb").read_bytes()
