"""A running gateway: start, reload, drain, stop. What it is made of is put together in `wiring`.

`serve` is the whole life of the process: it comes up even where the identity domain is down, reads the configuration
again at SIGHUP (a bad one changes nothing), drains at SIGTERM, and says in the log what it did.
"""

import asyncio
import contextlib
import logging
import os
import resource
import signal
import socket
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from typing import Any

from gateway import __version__
from gateway.admin.desk import Desk
from gateway.admin.server import AdminServer
from gateway.config.load import ConfigProblems, Loaded
from gateway.config.model import Config
from gateway.config.values import split_address
from gateway.oauth.source import Readiness
from gateway.observe.log import Log, say
from gateway.observe.metrics import Metrics
from gateway.proxy.forward import Forward
from gateway.proxy.server import CallerServer, Limits
from gateway.wiring import Parts

log = logging.getLogger("gateway.app")

BACKLOG = 1024
FIXED = ("listen", "admin", "limits", "log")
"""Keys that count only at a start."""


class Gateway(Desk):
    """One gateway in this process, between `start` and `stop`."""

    def __init__(self, config: Config, records: Log, *, environ: Mapping[str, str]) -> None:
        self._config = config
        self._records = records
        self._metrics = Metrics(__version__)
        self._metrics.watch_lost(lambda: records.lost)
        self._parts = Parts(self._metrics, environ=environ)
        self._assembly = self._parts.assemble(config)
        self._forward = Forward(self._assembly.table, metrics=self._metrics, sink=records.write)
        limits = config.limits
        self._callers = CallerServer(
            self._forward,
            on_malformed=self._forward.malformed,
            limits=Limits(limits.uri, limits.field, limits.fields, limits.connections),
        )
        self._listener: asyncio.Server | None = None
        self._admin = AdminServer(self, may_call=self._may_call)
        self.listen = config.listen
        self.admin = config.admin
        self._metrics.watch_connections(self._connections)

    async def start(self) -> None:
        """Opens both ports. Raises OSError, with the address in its words, where one is taken."""
        with _naming(self._config.admin):
            self.admin = await self._admin.start(self._config.admin)
        with _naming(self._config.listen):
            callers = _bind(self._config.listen)
        self._listener = await asyncio.get_running_loop().create_server(self._callers, sock=callers, backlog=BACKLOG)
        self.listen = _named(callers, self._config.listen)
        say(log, logging.INFO, "started", f"listening on {self.listen}", listen=self.listen, admin=self.admin)

    def reload(self, config: Config) -> None:
        """Takes on another configuration at once; requests under way end by the old one. What is `FIXED` stays.
        Raises OSError where a file that it names cannot be used; then nothing has changed.
        """
        before, self._assembly = self._assembly, self._parts.assemble(config)
        self._forward.table = self._assembly.table
        for upstream in before.upstreams:
            upstream.close()
        if any(getattr(config, key) != getattr(self._config, key) for key in FIXED):
            told = f"{', '.join(f'`{key}`' for key in FIXED)} change only at a restart"
            say(log, logging.WARNING, "restart-needed", told)
        self._config = config
        say(log, logging.INFO, "reloaded", "the configuration was read again", routes=len(config.routes))

    async def stop(self, *, hurry: asyncio.Event) -> bool:
        """Drains: refuses new requests, waits for those under way (`drain`, or until `hurry` is set), closes all.
        True when every request under way could finish.
        """
        say(log, logging.INFO, "draining", "stopping", under_way=self._forward.under_way)
        self._forward.draining = True
        if self._listener is not None:
            self._listener.close()
        self._callers.close_idle()
        await _first(self._forward.idle.wait(), hurry.wait(), within=self._config.drain)
        drained = self._forward.idle.is_set()
        self._forward.cutting = True
        self._callers.cut()
        await self._callers.shutdown(timeout=0.1)
        for upstream in self._assembly.upstreams:
            upstream.close()
        for source in self._assembly.sources.values():
            await source.close()
        await self._parts.close()
        await self._admin.close()
        _unlink(self._config.listen)
        say(log, logging.INFO if drained else logging.WARNING, "stopped", "stopped", drained=drained)
        return drained

    # The desk of the admin port -------------------------------------------------------------------------------------

    async def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Ready only while every credential in use has, or can get, a token."""
        if self._forward.draining:
            return False, {"state": "draining"}
        sources = self._assembly.sources
        answers = await asyncio.gather(*(source.ready() for source in sources.values()))
        credentials = {
            name: {"state": "ok"} if answer.ok else {"state": "no-token", **_trouble(answer)}
            for name, answer in zip(sources, answers, strict=True)
        }
        ready = all(answer.ok for answer in answers)
        return ready, {"state": "ready" if ready else "unready", "credentials": credentials}

    def metrics(self) -> bytes:
        """Prometheus text."""
        return self._metrics.text()

    def status(self) -> dict[str, Any]:
        """Routes and credentials, without secrets."""
        routes = [
            {
                "name": route.name,
                "path": (route.path or "") + "/",
                "upstream": f"{route.base.scheme}://{route.base.authority}{route.base.path}",
                "credential": route.credential,
                "methods": sorted(route.methods),
            }
            for route in self._assembly.routes
        ]
        connections = {up.origin.name: up.counts() for up in self._assembly.upstreams}
        return {
            "listen": self.listen,
            "draining": self._forward.draining,
            "requests_under_way": self._forward.under_way,
            "routes": routes,
            "credentials": {name: source.status() for name, source in self._assembly.sources.items()},
            "connections": connections,
        }

    def _may_call(self, peer: str | None, host: str) -> str | None:
        admission = self._assembly.table.admission
        if not admission.accepts_address(peer):
            return "this address may not call; add its network to `allow`"
        return None if admission.accepts_host(host) else "this Host is not a name of the gateway; add it to `hosts`"

    def _connections(self) -> Iterable[tuple[str, str, int]]:
        for upstream in self._assembly.upstreams:
            for state, count in upstream.counts().items():
                yield upstream.origin.name, state, count


async def serve(loaded: Loaded, read_again: Callable[[], Loaded], records: Log) -> int:
    """Runs a gateway until SIGTERM or SIGINT; a second signal hurries. Exit status: 0 after a drained stop, 1 where
    requests were cut off, 69 where a port is taken.
    """
    _raise_file_limit()
    stop, hurry = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    gateway = Gateway(loaded.config, records, environ=os.environ)

    def on_stop() -> None:
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_stop)
    loop.add_signal_handler(signal.SIGHUP, _reload, gateway, read_again)
    for warning in loaded.warnings:
        say(log, logging.WARNING, "configuration", str(warning))
    try:
        await gateway.start()
    except OSError as error:
        say(log, logging.ERROR, "not-started", f"{error.strerror}; free the address or change it")
        stop.set()
        hurry.set()
        await gateway.stop(hurry=hurry)
        return 69
    await stop.wait()
    return 0 if await gateway.stop(hurry=hurry) else 1


def _reload(gateway: Gateway, read_again: Callable[[], Loaded]) -> None:
    try:
        gateway.reload(read_again().config)
    except ConfigProblems as problems:
        say(log, logging.ERROR, "reload-refused", f"the configuration stays as it was:\n{problems}")
    except OSError as error:
        say(log, logging.ERROR, "reload-refused", f"the configuration stays as it was: {error}")


def _trouble(answer: Readiness) -> dict[str, Any]:
    wait = None if answer.next_try_s is None else round(answer.next_try_s, 1)
    return {"code": answer.code, "error": answer.why, "remedy": answer.remedy, "next_try_s": wait}


def _raise_file_limit() -> None:
    """A connection is a file: the usual soft limit of 1024 would end the gateway's answers long before `limits` do."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _first(*waits: Coroutine[Any, Any, object], within: float) -> None:
    tasks = [asyncio.create_task(wait) for wait in waits]
    await asyncio.wait(tasks, timeout=within, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.contextmanager
def _naming(address: str) -> Iterator[None]:
    """Says in an OSError which address it is about; asyncio and the system word theirs differently."""
    try:
        yield
    except socket.gaierror as error:
        raise OSError(error.errno, f"cannot listen on {address}: {error.strerror}") from error
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise OSError(error.errno, f"cannot listen on {address}: {reason}") from error


def _bind(address: str) -> socket.socket:
    host, port = split_address(address)
    if address.startswith("unix:"):
        _unlink(address)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.bind(host)
        return sock
    family, kind, proto, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    sock = socket.socket(family, kind, proto)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(where)
    except OSError:
        sock.close()
        raise
    return sock


def _named(sock: socket.socket, address: str) -> str:
    """The address with the port that the system chose for 0."""
    if address.startswith("unix:"):
        return address
    return f"{address.rpartition(':')[0]}:{sock.getsockname()[1]}"


def _unlink(address: str) -> None:
    """Takes the file of a unix socket away: one left by a killed process would keep the next from starting."""
    if address.startswith("unix:"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(split_address(address)[0])  # noqa: PTH108 - a socket's address, not a path of ours
