"""The cost of rewriting URLs in bodies, compared with forwarding the same body unchanged.

Two routes of one gateway lead to the same files of the upstream: `plain` with `rewrite: []`, `renamed` with the
default. Each run makes the same files again, with items like those in OIC's lists.
"""

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.callers import fetch
from bench.contenders import ask
from bench.measure import Bench, Figures, forget_peak, measure_whole, peak_mb, rss_mb
from bench.scale import Config, Fact, Gateway, gateway, route
from bench.stage import BenchFailed, Stage

LARGE, SMALL = 50_000_000, 1000
MIB = 1 << 20
WAYS = ("plain", "renamed")
PAUSE = 1.0
"""Seconds in which a caller does not read: the upstream's data must not accumulate in the gateway."""


@dataclass(frozen=True, slots=True)
class Body:
    """A file of the upstream: JSON of `size` bytes or an item more, whose links begin with `links`. OURS in it means
    the URL of the upstream; without `links` text of that length takes their place.
    """

    about: str
    links: str
    size: int

    def write(self, ours: str) -> Iterator[str]:
        """Write the document item by item."""
        links, left = self.links.replace("OURS", ours), self.size
        for number in itertools.count():
            text = json.dumps(_item(number, links))
            left -= len(text) + 1
            yield ("," if number else '{"items":[') + text
            if left <= 0:
                break
        yield f'],"totalResults":{number + 1},"hasMore":false}}'


BODIES = {
    "ours": Body("50 MB of JSON, two links to OIC per item", "OURS/orders", LARGE),
    "none": Body("50 MB of JSON without a URL", "", LARGE),
    "others": Body("50 MB of JSON, two links to others per item", "https://supplier.example/ic/orders", LARGE),
    "small-ours": Body("1 KiB of JSON, two links to OIC per item", "OURS/orders", SMALL),
    "small-none": Body("1 KiB of JSON without a URL", "", SMALL),
}


def renaming(bench: Bench) -> list[Fact]:
    """Measure 50 MB of JSON, and 1 KiB, through a route that rewrites URLs in bodies and one that does not."""
    make_bodies(bench.stage)
    with gateway(bench.stage, "renaming", routes=_two_routes(bench.stage)) as running:
        for name in BODIES:
            verify(running, name, bench.stage)
        found = bench.turns({f"{name}.{way}": _load(running, name, way) for name in BODIES for way in WAYS})
    facts = [fact for name in BODIES for fact in _costs(name, *(found[f"{name}.{way}"] for way in WAYS))]
    large = [name for name, body in BODIES.items() if body.size == LARGE]
    grown = {f"{name}.{way}": _growth(bench.stage, name, way) for way in WAYS for name in large}
    facts += [Fact(f"renaming.{key}_mb", f"{key} adds", value, "MB") for key, value in grown.items()]
    most = max(grown[f"{name}.renamed"] for name in large)
    return [*facts, Fact("renaming.most_mb", "50 MB renamed in flight adds at most", most, "MB")]


def make_bodies(stage: Stage) -> None:
    """Write the files for the upstream."""
    for name, body in BODIES.items():
        with _file(stage, name).open("w") as file:
            file.writelines(body.write(_upstream(stage)))


def verify(running: Gateway, name: str, stage: Stage) -> None:
    """Check that `plain` leaves a body unchanged, and that `renamed` rewrites all of our links and nothing else."""
    wanted = _file(stage, name).read_bytes()
    links = f'"{_upstream(stage)}/'.encode()
    if (links in wanted) != (BODIES[name].links.startswith("OURS")):
        raise BenchFailed(f"{name}: the body is not what it is called")
    own = f'"{running.url}/renamed/'.encode()
    for way, right in zip(WAYS, (wanted, wanted.replace(links, own)), strict=True):
        if ask(f"{running.url}/{way}/{name}") != (200, right):
            raise BenchFailed(f"{name} is not what it should be when it is {way}")


def _load(running: Gateway, name: str, way: str) -> Callable[[float], Figures]:
    path = f"/{way}/{name}"
    if BODIES[name].size != LARGE:
        return running.load(path)
    return lambda seconds: measure_whole(running.pid, partial(fetch, running.url + path), seconds)


def _costs(name: str, plain: Figures, renamed: Figures) -> Iterator[Fact]:
    for way, figures in zip(WAYS, (plain, renamed), strict=True):
        if BODIES[name].size == LARGE:
            cost, speed = figures.cpu_us / 1000 / LARGE * MIB, figures.requests_s * LARGE / MIB
            yield Fact(f"renaming.{name}.{way}_ms", f"{name}.{way}, CPU per MiB", cost, "ms")
            yield Fact(f"renaming.{name}.{way}_mib_s", f"{name}.{way}, speed", speed, "MiB/s")
        else:
            yield Fact(f"renaming.{name}.{way}_us", f"{name}.{way}, CPU per request", figures.cpu_us, "µs")
    yield Fact(f"renaming.{name}.ratio", f"{name}, renamed / plain", renamed.cpu_us / plain.cpu_us)


def _growth(stage: Stage, name: str, way: str) -> float:
    """Return the MB that one body in flight adds to a gateway that has answered a request of 1 MiB."""
    with gateway(stage, f"growth-{name}-{way}", routes=_two_routes(stage)) as running:
        ask(f"{running.url}/{way}/m1")
        forget_peak(running.pid)
        before = rss_mb(running.pid)
        fetch(f"{running.url}/{way}/{name}", pause=PAUSE)
        return peak_mb(running.pid) - before


def _item(number: int, links: str) -> Config:
    """Return an order of a list, about 400 bytes."""
    text = f'Flow meter DN 80/100, flanged, ordered 2026-01-31T12:00:00Z; drawing 4/{number % 97}, "rev. C"'
    item: Config = {
        "id": f"ORD-{number:07d}",
        "status": "SHIPPED",
        "item": text,
        "quantity": number % 50,
        "price": 17.25,
    }
    ends = {"self": f"/{number:07d}", "canonical": f"/{number:07d}?expand=lines&limit=50"}
    if links:
        return item | {"links": [{"rel": rel, "href": links + end} for rel, end in ends.items()]}
    return item | {"notes": [{"by": rel, "text": f"as agreed with the supplier{end}"} for rel, end in ends.items()]}


def _two_routes(stage: Stage) -> list[Config]:
    upstream = f"{_upstream(stage)}/"
    return [route("plain", "/plain/", upstream, rewrite=[]), route("renamed", "/renamed/", upstream)]


def _upstream(stage: Stage) -> str:
    return f"http://127.0.0.1:{stage.words['UPSTREAM']}/ic"


def _file(stage: Stage, name: str) -> Path:
    return stage.folder / "www" / "ic" / name
