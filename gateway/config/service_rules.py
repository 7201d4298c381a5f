"""Checks of `services`: entries without routes, entries for one service, limits that cannot be reached. Pure.

The checks use the plain values of the file, so that they find problems even if other keys are wrong.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.config.issue import ConfigIssue, Steps
from gateway.content.untrusted_text import read_origin
from gateway.oic.message_packs import Licence, default_call_limit, synchronous_runs


def check_services(tree: Mapping[str, Any], upstreams: list[str]) -> Iterator[ConfigIssue]:
    """Yield issues of `services`; `tree` is the plain value of the file, `upstreams` are those of its routes."""
    services = tree.get("services")
    used = {read_origin(upstream) for upstream in upstreams}
    known: dict[str, str] = {}
    for name, entry in services.items() if isinstance(services, dict) else ():
        if not isinstance(entry, dict):
            continue
        steps: Steps = ("services", name)
        url = entry.get("url")
        origin = read_origin(url) if isinstance(url, str) else None
        if origin is not None:
            yield from _check_origin((*steps, "url"), origin, used=used, known=known)
            known.setdefault(origin, name)
        yield from _check_calls(steps, entry, _connections(tree))


def _check_origin(
    steps: Steps, origin: str, *, used: set[str | None], known: Mapping[str, str]
) -> Iterator[ConfigIssue]:
    if origin in known:
        what = f"is the service of `services.{known[origin]}`, too"
        yield ConfigIssue(steps, what, "keep one entry for each service instance")
    elif origin not in used:
        what = "is not the host of any route's `upstream`, so the entry has no effect"
        yield ConfigIssue(steps, what, "write the scheme, host and port of the routes", severity="warning")


def _check_calls(steps: Steps, entry: Mapping[str, Any], connections: int | None) -> Iterator[ConfigIssue]:
    """Yield warnings if more calls are sent at once than the packs, or the connections, allow."""
    packs, calls = _number(entry.get("packs")), _number(entry.get("calls"))
    licence: Licence = "byol" if entry.get("licence") == "byol" else "included"
    key = "calls"
    if packs is not None and calls is not None and calls > (runs := synchronous_runs(packs, licence)):
        what = f"is above the {runs} synchronous runs that `packs` allow, so OIC refuses calls"
        yield ConfigIssue((*steps, key), what, "lower it, or remove it for 90 % of the runs", severity="warning")
    if packs is not None and entry.get("calls") is None:
        key, calls = "packs", default_call_limit(packs, licence)
    if calls is not None and connections is not None and calls > connections:
        what = f"allows {calls} calls at once, but `pool.size` only {connections} connections"
        yield ConfigIssue(
            (*steps, key), what, f"set `pool: {{size: {calls}}}`, or start more workers", severity="warning"
        )


def _connections(tree: Mapping[str, Any]) -> int | None:
    """Return the largest number of connections to one origin, of all workers together; None if it is not known."""
    pool = tree.get("pool")
    size = _number(pool.get("size", 256) if isinstance(pool, dict) else 256)
    workers = _number(tree.get("workers", 1))
    return None if size is None or workers is None else size * workers


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
