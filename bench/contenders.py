"""The measured programs, and the check that each does the whole job. A contender is a line in the table."""

import http.client
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit

from bench.interpreter import python
from bench.peers import peer
from bench.stage import HERE, NGINX, BenchFailed, Process, Stage, filled, free_port, log_of
from bench.workloads import WORKLOADS, Way, Workload

ALL = frozenset(WORKLOADS)
NO_HEADERS: Mapping[str, str] = {}
NAIVE = frozenset("plain tls post down up".split())


WORDS: dict[Way, str] = {way: f"{way.upper()}_PORT" for way in get_args(Way)} | {"plain": "PORT"}
PORTS: dict[Way, str] = {way: f"{word}/ic" for way, word in WORDS.items()}
"""A port for each way."""
PATHS: dict[Way, str] = {way: f"PORT/{way}" for way in WORDS} | {"plain": "PORT/ic", "listener": "LISTENER_PORT/ic"}
"""A path for each way."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A template of bench/ and the command that FILE (in FOLDER) completes; `log` is the name of its access log.
    `ways` are the port word and path of each way. `works` are the workloads it takes part in.
    """

    template: str
    command: tuple[str, ...]
    about: str
    log: str = ""
    ways: Mapping[Way, str] = field(default_factory=lambda: PORTS)
    works: frozenset[str] = ALL


CONTENDERS = {
    "gateway": Contender(
        "gateway.yaml",
        python("-m", "gateway", "serve", "--config", "FILE"),
        "this gateway: client credentials, JSON record of each request, metrics",
        ways=PATHS,
    ),
    "nginx": Contender(
        "nginx.conf",
        NGINX,
        "a fixed bearer token and an access log; fetches no token: the lower limit",
        log="nginx-access.log",
    ),
    "envoy": Contender(
        "envoy.yaml",
        (peer("envoy"), *"--concurrency 1 --disable-hot-restart --log-level error -c FILE".split()),
        "`credential_injector` with client credentials, JSON access log, statistics, one worker",
        log="envoy-access.log",
    ),
    "naive": Contender(
        "naive.yaml",
        python(str(HERE / "naive.py"), "FILE"),
        "`aiohttp.web.Application` and `ClientSession` with a token, an access log and two meters: the obvious program",
        ways=PATHS,
        works=NAIVE,
    ),
    "mitmproxy": Contender(
        "addon.py",
        (peer("mitmdump"), *"--mode reverse:http://127.0.0.1:UPSTREAM --listen-port PORT -s FILE".split()),
        "`mitmdump` with an addon of one line that sets a fixed bearer token; its flow log",
        works=frozenset({"plain"}),
    ),
}


@dataclass(frozen=True, slots=True)
class Runner:
    """A running contender: its process, its address by the route to the upstream, its access log."""

    name: str
    process: Process
    urls: dict[Way, str]
    log: Path

    def url(self, work: Workload) -> str:
        """Return the URL of this workload."""
        return self.urls[work.way] + work.path


@contextmanager
def started(name: str, stage: Stage) -> Iterator[Runner]:
    """Yield a contender that answers on its port."""
    contender = CONTENDERS[name]
    ports: dict[str, str | int] = {word: free_port() for word in (*WORDS.values(), "ADMIN")}
    words = {**stage.words, **ports}
    file = stage.fill(contender.template, **ports)
    command = tuple(filled(part, words) for part in contender.command)
    with stage.running(command, file, int(ports["PORT"])) as process:
        urls: dict[Way, str] = {}
        for way, place in contender.ways.items():
            word, _, folder = place.partition("/")
            urls[way] = f"{'https' if way == 'listener' else 'http'}://127.0.0.1:{ports[word]}/{folder}"
        yield Runner(name, process, urls, stage.folder / contender.log if contender.log else log_of(file))


def verify(runner: Runner, work: Workload, stage: Stage, *, timeout: float = 15.0) -> None:
    """Check that the correct response comes through this contender; the upstream requires the bearer. Retry for
    `timeout` seconds, because a contender may listen before it has its token.
    """
    direct = f"http://127.0.0.1:{stage.words['UPSTREAM']}/ic{work.sample}"
    body, file = work.body, stage.folder / "www" / "ic" / work.sample.split("/")[1]
    expected = file.read_bytes() if body is None else work.answer.encode()
    if (status := ask(direct, body)[0]) != 401:
        raise BenchFailed(f"the upstream answers {status} without a bearer")
    until = time.monotonic() + timeout
    url = runner.urls[work.way] + work.sample
    while (answer := ask(url, body, work.headers)) != (200, expected):
        if time.monotonic() > until:
            raise BenchFailed(f"{runner.name} answers {answer[0]}, {answer[1][:200]!r} at {url}")
        time.sleep(0.1)


def ask(url: str, body: bytes | None = None, headers: Mapping[str, str] = NO_HEADERS) -> tuple[int, bytes]:
    """Return status and body of one GET, or of a POST if there is a body. A certificate is not verified."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    if parts.scheme == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(host, port, timeout=30, context=context)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=30)
    try:
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request("GET" if body is None else "POST", target, body, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def verify_log(runner: Runner, requests: int, *, timeout: float = 15.0) -> None:
    """Check that at least one line for each request is written within `timeout` seconds (writers flush late)."""
    until = time.monotonic() + timeout
    while (lines := count_lines(runner.log)) < requests:
        if time.monotonic() > until:
            raise BenchFailed(f"{runner.name} wrote {lines} lines about {requests} requests")
        time.sleep(0.2)


def count_lines(file: Path) -> int:
    with file.open("rb") as content:
        return sum(block.count(b"\n") for block in iter(lambda: content.read(1 << 20), b""))
