"""What one workload cannot show: many routes, many callers, ending tokens, endless bodies, start-up, workers.

Each run below returns facts. A run is a line in `runs`; the limits of facts are in `goals`.
"""

import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from bench.callers import crowd, download, upload
from bench.contenders import ask
from bench.measure import Bench, Figures, Load, forget_peak, measure, measure_share, peak_mb, rss_mb
from bench.stage import GIB, LOAD_CPU, PROXY_CPU, SECRET, BenchFailed, Process, Stage, free_port, python
from bench.witness import witness

BOTH = f"{PROXY_CPU},{LOAD_CPU}"
ROUTES, MIDDLE = 10_000, 5_000
CALLERS = 10_000
WAITING = 1_000
STORM_LIFE = 5.0  # seconds; the gateway takes a tenth off
LIVES = {"short": 2, "long": 3600}
STARTS = 5
WORKER_CONNECTIONS = 256

Config = dict[str, object]


@dataclass(frozen=True, slots=True)
class Fact:
    """One result; `key` is its name for goals and JSON, `label` for readers."""

    key: str
    label: str
    value: float
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway of a scale run: its process, its address, its admin port."""

    process: Process
    url: str
    admin: str

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self.process.pid

    def load(self, path: str, *, connections: int = 32) -> Callable[[float], Figures]:
        """Return a load for `interleaved`."""
        return lambda seconds: measure(self.pid, self.url + path, Load(seconds, connections=connections))


@contextmanager
def gateway(stage: Stage, name: str, *, cpus: str = str(PROXY_CPU), **changes: object) -> Iterator[Gateway]:
    """Yield a gateway whose configuration differs by `changes` from the plain one; it has answered one request."""
    port, admin = free_port(), free_port()
    config = {**_config(stage, port, admin), **changes}
    file = stage.write(f"{name}.yaml", json.dumps(config))
    command = python("-m", "gateway", "serve", "--config", "FILE")
    with stage.running(command, file, port, cpus=cpus, patience=120) as process:
        made = Gateway(process, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{admin}")
        yield made


def _config(stage: Stage, port: int, admin: int) -> Config:
    upstream = f"http://127.0.0.1:{stage.words['UPSTREAM']}"
    return {
        "listen": f"127.0.0.1:{port}",
        "admin": f"127.0.0.1:{admin}",
        "pool": {"size": 1024},
        "limits": {"connections": CALLERS + 2000},
        "credentials": {"bench": _credential(f"{upstream}/oauth2/v1/token")},
        "defaults": {"credential": "bench"},
        "routes": [route("bench", "/ic/", f"{upstream}/ic/")],
    }


def _credential(token_url: str) -> Config:
    return {"token_url": token_url, "client_id": "bench", "client_secret": {"env": "BENCH_SECRET"}}


def route(name: str, path: str, upstream: str, **settings: object) -> Config:
    """Return a route of a configuration."""
    return {"name": name, "path": path, "upstream": upstream, **settings}


def routes(bench: Bench) -> list[Fact]:
    """Compare one route with 10,000; requests use the one in the middle."""
    upstream = f"http://127.0.0.1:{bench.stage.words['UPSTREAM']}/ic/"
    many = [route(f"r{number}", f"/r{number}/", upstream) for number in range(ROUTES)]
    with ExitStack() as stack:
        start = partial(gateway, bench.stage)
        one_route = stack.enter_context(start("one-route", routes=[many[MIDDLE]]))
        all_routes = stack.enter_context(start("all-routes", routes=many))
        path = f"/r{MIDDLE}/k1"
        found = bench.turns({"one": one_route.load(path), "all": all_routes.load(path)})
    one, every = found["one"].cpu_us, found["all"].cpu_us
    return [
        Fact("routes.one", "1 route, CPU per request", one, "µs"),
        Fact("routes.all", "10,000 routes, CPU per request", every, "µs"),
        Fact("routes.ratio", "10,000 routes / 1 route", every / one),
    ]


def renewal(bench: Bench) -> list[Fact]:
    """Measure the same load with a token that is renewed about every second, and with one that lasts."""
    with witness() as seen, ExitStack() as stack:
        running = {}
        for name, life in LIVES.items():
            credentials = {"bench": _credential(f"{seen.url}/token/{life}")}
            running[name] = stack.enter_context(gateway(bench.stage, f"life-{name}", credentials=credentials))
        found = bench.turns({name: each.load("/ic/k1") for name, each in running.items()})
        renewals = seen.tokens.count(LIVES["short"])
    if renewals < bench.rounds:
        raise BenchFailed(f"the token was got only {renewals} times")
    short, long = found["short"].p99_us, found["long"].p99_us
    return [
        Fact("renewal.count", "token requests while loaded", renewals),
        Fact("renewal.p99_us", "p99 with renewals", short, "µs"),
        Fact("renewal.p99_without_us", "p99 without", long, "µs"),
        Fact("renewal.ratio", "p99 with / without", short / long),
    ]


def idle(bench: Bench) -> list[Fact]:
    """Measure the memory of 10,000 callers that sent one request and stay connected."""
    with gateway(bench.stage, "idle") as running:
        ask(running.url + "/ic/k1")
        before = rss_mb(running.pid)
        with crowd(running.url + "/ic/k1", CALLERS) as callers:
            callers.send()
            callers.receive()
            after = rss_mb(running.pid)
            if (left := callers.open()) < CALLERS:
                raise BenchFailed(f"only {left} of {CALLERS} idle connections stayed open")
            ask(running.url + "/ic/k1")
    return [Fact("idle.mb", "10,000 idle callers add", after - before, "MB")]


def storm(bench: Bench) -> list[Fact]:
    """Measure 1,000 requests that wait for a new token: the token request is delayed until all of them wait."""
    with witness() as seen:
        credentials = {"bench": _credential(f"{seen.url}/token/{STORM_LIFE:g}")}
        with gateway(bench.stage, "storm", credentials=credentials) as running:
            if ask(running.url + "/ic/k1")[0] != 200:
                raise BenchFailed("no first token was got")
            seen.may_answer.clear()
            time.sleep(STORM_LIFE)
            before = len(seen.tokens)
            with crowd(running.url + "/ic/k1", WAITING) as callers:
                callers.send()
                time.sleep(1.5)
                asked = len(seen.tokens) - before
                began = time.monotonic()
                seen.may_answer.set()
                callers.receive()
                took = time.monotonic() - began
    return [
        Fact("storm.requests", "token requests for 1,000 waiting requests", asked),
        Fact("storm.seconds", "from the token's arrival until all were answered", took, "s"),
    ]


def rest(bench: Bench) -> list[Fact]:
    """Measure the memory of a gateway that has answered one request."""
    with gateway(bench.stage, "rest") as running:
        ask(running.url + "/ic/k1")
        time.sleep(1)
        return [Fact("rest.mb", "RSS at rest", rss_mb(running.pid), "MB")]


def start(bench: Bench) -> list[Fact]:
    """Measure the time until the admin port reports the process alive, and ready with a token."""
    found = [(_start(bench.stage, "/livez"), _start(bench.stage, "/readyz")) for _ in range(STARTS)]
    alive, ready = (statistics.median(column) for column in zip(*found, strict=True))
    return [
        Fact("start.alive_s", "start until /livez answers 200", alive, "s"),
        Fact("start.ready_s", "start until /readyz answers 200", ready, "s"),
    ]


def _start(stage: Stage, path: str) -> float:
    began = time.monotonic()
    with gateway(stage, "start") as running:
        while time.monotonic() < began + 15:
            try:
                if ask(running.admin + path)[0] == 200:
                    return time.monotonic() - began
            except OSError:
                time.sleep(0.005)
    raise BenchFailed(f"no 200 at {path}")


def stream(bench: Bench) -> list[Fact]:
    """Measure the memory that a download and an upload of 1 GiB add."""
    facts = []
    with witness() as seen:
        upstream = f"http://127.0.0.1:{bench.stage.words['UPSTREAM']}/ic/"
        ways = [route("down", "/ic/", upstream), route("up", "/up/", f"{seen.url}/")]
        for way, path, carry in (("down", "/ic/g1", download), ("up", "/up/sink", upload)):
            with gateway(bench.stage, f"stream-{way}", routes=ways) as running:
                ask(running.url + "/ic/m1")
                forget_peak(running.pid)
                before, began = rss_mb(running.pid), time.monotonic()
                if (carried := carry(running.url + path, GIB)) != GIB:
                    raise BenchFailed(f"{carried} of {GIB} bytes went {way}")
                speed = GIB / 1e6 / (time.monotonic() - began)
                facts.append(Fact(f"stream.{way}_mb", f"1 GiB {way} adds", peak_mb(running.pid) - before, "MB"))
                facts.append(Fact(f"stream.{way}_mb_s", f"1 GiB {way}, speed", speed, "MB/s"))
    return facts


def workers(bench: Bench) -> list[Fact]:
    """Compare one worker on one CPU with two on two.

    Upstream and load need one of the two CPUs as well, so requests per second cannot double here. CPU time shows what a
    machine with room for both would reach: the cost of a request with two workers, and the share of work of the busier
    one, which sets the pace. The cost is the higher of two: on both CPUs, and sharing one. The share is measured where
    both share one CPU: beside the load, the worker with less CPU answers fewer requests, however evenly the callers are
    distributed.
    """
    if not _knows_workers(bench.stage):
        raise BenchFailed("skipped: this gateway's configuration does not know `workers` yet")
    shares: list[float] = []
    with ExitStack() as stack:
        places = {"one": (1, str(PROXY_CPU)), "two": (2, BOTH), "sharing": (2, str(PROXY_CPU))}
        running = {
            name: stack.enter_context(gateway(bench.stage, f"workers-{name}", cpus=cpus, workers=count))
            for name, (count, cpus) in places.items()
        }
        crowds = {name: each.load("/ic/k1", connections=WORKER_CONNECTIONS) for name, each in running.items()}
        found = bench.turns({**crowds, "sharing": partial(_sharing, running["sharing"], shares)})
    one, two, share = found["one"], found["two"], statistics.median(shares)
    dearer = max(two.cpu_us, found["sharing"].cpu_us)
    return [
        Fact("workers.one_us", "1 worker, CPU per request", one.cpu_us, "µs"),
        Fact("workers.two_us", "2 workers on two CPUs, CPU per request", two.cpu_us, "µs"),
        Fact("workers.sharing_us", "2 workers on one CPU, CPU per request", found["sharing"].cpu_us, "µs"),
        Fact("workers.share", "part of the busier one", share),
        Fact("workers.ratio", "2 workers / 1, throughput by CPU", one.cpu_us / dearer / share),
        Fact("workers.measured", "the same in requests/s, the load sharing a CPU", two.requests_s / one.requests_s),
    ]


def _sharing(running: Gateway, shares: list[float], seconds: float) -> Figures:
    load = Load(seconds, connections=WORKER_CONNECTIONS)
    figures, share = measure_share(running.pid, running.url + "/ic/k1", load)
    shares.append(share)
    return figures


def _knows_workers(stage: Stage) -> bool:
    file = stage.write("workers.yaml", json.dumps({**_config(stage, 8080, 9090), "workers": 2}))
    command = python("-m", "gateway", "check", "--config", str(file))
    environ = {**os.environ, "BENCH_SECRET": SECRET}
    return subprocess.run(command, env=environ, capture_output=True, check=False).returncode == 0
