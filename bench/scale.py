"""What one workload cannot show: many routes, many callers, ending tokens, endless bodies, start-up, workers.

Each run below returns facts. A run is a line in `runs`; the limits of facts are in `goals`.
"""

import base64
import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from bench.callers import crowd, fetch, upload
from bench.contenders import ask
from bench.files import GIB
from bench.interpreter import python
from bench.measure import Bench, Figures, Load, forget_peak, measure, measure_share, peak_mb, rss_mb
from bench.stage import LOAD_CPU, PROXY_CPU, SECRET, BenchFailed, Process, Stage, free_port
from bench.witness import witness
from bench.workloads import varied

BOTH = f"{PROXY_CPU},{LOAD_CPU}"
ROUTES, MIDDLE = 10_000, 5_000
CREDENTIALS = 1_000
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
        """Return a load for `interleaved` whose requests all differ."""
        return lambda seconds: measure(self.pid, self.url + path, Load(seconds, connections, varied()))


@contextmanager
def gateway(stage: Stage, name: str, *, cpus: str = str(PROXY_CPU), **changes: object) -> Iterator[Gateway]:
    """Yield a gateway whose configuration differs by `changes` from the plain one; it has answered one request."""
    port, admin = free_port(), free_port()
    config = {**_config(stage, port, admin), **changes}
    file = stage.write(f"{name}.yaml", json.dumps(config))
    command = python("-m", "gateway", "serve", "--config", "FILE")
    with stage.running(command, file, port, cpus=cpus, timeout=120) as process:
        running = Gateway(process, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{admin}")
        yield running


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
        found = bench.with_short_turns().turns({"one": one_route.load(path), "all": all_routes.load(path)})
    return _one_and_all("routes", "1 route", "10,000 routes", found)


def credentials(bench: Bench) -> list[Fact]:
    """Compare one credential with 1,000, each with a route and a token; requests use the one in the middle."""
    upstream = f"http://127.0.0.1:{bench.stage.words['UPSTREAM']}"
    names = [f"c{number}" for number in range(CREDENTIALS)]
    used = names[CREDENTIALS // 2]
    with ExitStack() as stack:
        running = {}
        for label, each in (("one", [used]), ("all", names)):
            start = gateway(
                bench.stage,
                f"{label}-credentials",
                credentials={name: _credential(f"{upstream}/oauth2/v1/token") for name in each},
                defaults={},
                routes=[route(name, f"/{name}/", f"{upstream}/ic/", credential=name) for name in each],
            )
            running[label] = stack.enter_context(start)
            await_ready(running[label])
        found = bench.with_short_turns().turns({label: each.load(f"/{used}/k1") for label, each in running.items()})
    return _one_and_all("credentials", "1 credential", "1,000 credentials", found)


def _one_and_all(key: str, one: str, many: str, found: Mapping[str, Figures]) -> list[Fact]:
    """Return the CPU time per request with one thing and with many, and their ratio."""
    one_us, all_us = found["one"].cpu_us, found["all"].cpu_us
    return [
        Fact(f"{key}.one", f"{one}, CPU per request", one_us, "µs"),
        Fact(f"{key}.all", f"{many}, CPU per request", all_us, "µs"),
        Fact(f"{key}.ratio", f"{many} / {one}", all_us / one_us),
    ]


def history(bench: Bench) -> list[Fact]:
    """Compare no history of calls with one in SQLite: all threads of the gateway."""
    key = bench.stage.write("key", base64.b64encode(os.urandom(32)).decode())
    key.chmod(0o600)
    settings: dict[str, Config] = {"off": {"calls": 0}, "on": {}}
    with ExitStack() as stack:
        running = {}
        for name, setting in settings.items():
            state = {"path": str(bench.stage.folder / f"state-{name}"), "keys": [{"file": str(key)}]}
            running[name] = stack.enter_context(gateway(bench.stage, f"history-{name}", state=state, history=setting))
        found = bench.with_short_turns().turns({name: each.load("/ic/k1") for name, each in running.items()})
        stored = json.loads(ask(running["on"].admin + "/instances?limit=1")[1])
    if stored["lost"] or not stored["kept"]:
        raise BenchFailed(f"the history has {stored['kept']} calls and lost {stored['lost']}")
    off, on = found["off"].cpu_us, found["on"].cpu_us
    return [
        Fact("history.off_us", "no history, CPU per request", off, "µs"),
        Fact("history.on_us", "history in SQLite, CPU per request", on, "µs"),
        Fact("history.added_us", "history in SQLite adds", on - off, "µs"),
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
                token_requests = len(seen.tokens) - before
                started_at = time.monotonic()
                seen.may_answer.set()
                callers.receive()
                took = time.monotonic() - started_at
    return [
        Fact("storm.requests", "token requests for 1,000 waiting requests", token_requests),
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
    started_at = time.monotonic()
    with gateway(stage, "start") as running:
        await_ready(running, path)
        return time.monotonic() - started_at


def await_ready(running: Gateway, path: str = "/readyz", *, timeout: float = 60.0) -> None:
    """Wait until a path of the admin port answers 200. Raise BenchFailed after `timeout` seconds."""
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        try:
            if ask(running.admin + path)[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.005)
    raise BenchFailed(f"no 200 at {path}")


def stream(bench: Bench) -> list[Fact]:
    """Measure the memory that a download and an upload of 1 GiB add."""
    facts = []
    with witness() as seen:
        upstream = f"http://127.0.0.1:{bench.stage.words['UPSTREAM']}/ic/"
        ways = [route("down", "/ic/", upstream), route("up", "/up/", f"{seen.url}/")]
        for way, path, carry in (("down", "/ic/g1", fetch), ("up", "/up/sink", _sink)):
            with gateway(bench.stage, f"stream-{way}", routes=ways) as running:
                ask(running.url + "/ic/m1")
                forget_peak(running.pid)
                before, started_at = rss_mb(running.pid), time.monotonic()
                carry(running.url + path)
                speed = GIB / 1e6 / (time.monotonic() - started_at)
                facts.append(Fact(f"stream.{way}_mb", f"1 GiB {way} adds", peak_mb(running.pid) - before, "MB"))
                facts.append(Fact(f"stream.{way}_mb_s", f"1 GiB {way}, speed", speed, "MB/s"))
    return facts


def _sink(url: str) -> None:
    """Send 1 GiB. Raise BenchFailed unless all of it arrived."""
    if (arrived := json.loads(upload(url, GIB))["read"]) != GIB:
        raise BenchFailed(f"{arrived} of {GIB} bytes arrived")


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
    load = Load(seconds, WORKER_CONNECTIONS, varied())
    figures, share = measure_share(running.pid, running.url + "/ic/k1", load)
    shares.append(share)
    return figures


def _knows_workers(stage: Stage) -> bool:
    file = stage.write("workers.yaml", json.dumps({**_config(stage, 8080, 9090), "workers": 2}))
    command = python("-m", "gateway", "check", "--config", str(file))
    environ = {**os.environ, "BENCH_SECRET": SECRET}
    return subprocess.run(command, env=environ, capture_output=True, check=False).returncode == 0
