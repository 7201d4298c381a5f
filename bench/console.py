"""The cost of the console: a call with the console configured, and while people watch calls end in it."""

import select
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPResponse
from urllib.parse import urlsplit

from bench.measure import Bench
from bench.scale import Config, Fact, gateway
from bench.stage import PROXY_CPU, BenchFailed

READERS = 20
_EVENT = b"event: calls\n"
_BLOCK = 1 << 16
_TIMEOUT = 15.0  # seconds


class LiveReaders:
    """Open pages of live calls: each has a session and reads all events at once. `events` is their number so far."""

    def __init__(self, admin: str) -> None:
        self.events = 0
        self._address = urlsplit(admin).netloc
        self._connections: list[HTTPConnection] = []
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._read_all)

    def open(self, count: int) -> None:
        """Open this many readers, and read from now on. Raise BenchFailed unless each gets the stream."""
        for _ in range(count):
            connection = HTTPConnection(self._address, timeout=_TIMEOUT)
            self._connections.append(connection)
            page = _get(connection, "/console/calls")
            page.read()
            cookie = page.headers.get("Set-Cookie", "").partition(";")[0]
            _get(connection, "/console/calls/live", cookie)
        self._thread.start()

    def close(self) -> None:
        """Stop to read, and close the streams."""
        self._is_closing.set()
        if self._thread.is_alive():
            self._thread.join()
        for connection in self._connections:
            connection.close()

    @property
    def is_reading(self) -> bool:
        """Return whether no stream has ended."""
        return self._thread.is_alive()

    def _read_all(self) -> None:
        """Read all streams until `close`, or until one of them ends."""
        socks = {connection.sock.fileno(): connection.sock for connection in self._connections}
        poll = select.poll()
        for number in socks:
            poll.register(number, select.POLLIN)
        while not self._is_closing.is_set():
            for number, _ in poll.poll(100):
                data = socks[number].recv(_BLOCK)
                if not data:
                    return
                self.events += data.count(_EVENT)


@contextmanager
def live_readers(admin: str) -> Iterator[LiveReaders]:
    """Yield open readers of the gateway with this admin port. Raise BenchFailed at the end if they got no calls."""
    readers = LiveReaders(admin)
    try:
        readers.open(READERS)
        yield readers
        if not readers.is_reading:
            raise BenchFailed("a stream of live calls ended")
        if readers.events < READERS:
            raise BenchFailed(f"{READERS} readers of live calls got {readers.events} events")
    finally:
        readers.close()


def console(bench: Bench) -> list[Fact]:
    """Compare no console with an idle one, and with one where 20 readers watch calls as they end."""
    with ExitStack() as stack:
        with_console: Config = {"console": {}}
        settings: dict[str, Config] = {"off": {}, "on": with_console, "live": with_console}
        running = {}
        for name, changes in settings.items():
            running[name] = stack.enter_context(gateway(bench.stage, f"console-{name}", cpus=str(PROXY_CPU), **changes))
        readers = stack.enter_context(live_readers(running["live"].admin))
        found = bench.with_short_turns().turns({name: each.load("/ic/k1") for name, each in running.items()})
        events = readers.events
    off, idle, live = (found[name].cpu_us for name in ("off", "on", "live"))
    return [
        Fact("console.off_us", "no console, CPU per request", off, "µs"),
        Fact("console.on_us", "a console, CPU per request", idle, "µs"),
        Fact("console.live_us", f"a console with {READERS} live readers, CPU per request", live, "µs"),
        Fact("console.on_ratio", "a console / none", idle / off),
        Fact("console.live_ratio", f"{READERS} live readers / no console", live / off),
        Fact("console.requests_s", "calls a second beside the readers", found["live"].requests_s, "/s"),
        Fact("console.events", "events that the readers got", events),
    ]


def _get(connection: HTTPConnection, path: str, cookie: str = "") -> HTTPResponse:
    connection.request("GET", path, headers={"Cookie": cookie} if cookie else {})
    response = connection.getresponse()
    if response.status != 200:
        raise BenchFailed(f"the console answers {response.status} at {path}")
    return response
