"""Checks of callers across keys: names that must exist, callers without a route, proofs of two callers, quotas that
cannot be reached. Pure.

The checks use the plain values of the file. The model reports values of the wrong type.
"""

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.config.issue import ConfigIssue, Steps, is_plain
from gateway.config.messages import did_you_mean
from gateway.config.values import PERIODS, QUOTA_PATTERN, RATE_PATTERN

_DISTINCT_REMEDY = "remove it from one of them, since it must name one caller"


def check_callers(tree: Mapping[str, Any]) -> Iterator[ConfigIssue]:
    """Yield issues of `callers` and of the `callers` of routes; `tree` is the plain value of the file."""
    callers = _mapping(tree.get("callers"))
    used: set[str] = set()
    for steps, name in _caller_references(tree):
        used.add(name)
        if name not in callers:
            yield _unknown_caller(steps, name, callers)
    for name in callers:
        if name not in used:
            what, remedy = "is not used by any route", "remove it, or add it to the `callers` of a route"
            yield ConfigIssue(("callers", name), what, remedy, severity="warning")
        yield from _unreachable_quota(name, _mapping(callers[name]))
    yield from _equal_proofs(callers)
    yield from _overlapping_networks(callers)


def _caller_references(tree: Mapping[str, Any]) -> Iterator[tuple[Steps, str]]:
    """Yield each name in the `callers` of a route or of `defaults`, with its steps."""
    routes = tree.get("routes")
    places: list[tuple[Steps, Any]] = [(("defaults", "callers"), _mapping(tree.get("defaults")).get("callers"))]
    for index, route in enumerate(routes if isinstance(routes, list) else ()):
        places.append((("routes", index, "callers"), _mapping(route).get("callers")))
    for steps, names in places:
        for index, name in enumerate(names if isinstance(names, list) else ()):
            if isinstance(name, str):
                yield (*steps, index), name


def _unknown_caller(steps: Steps, name: str, known: Mapping[str, Any]) -> ConfigIssue:
    shown = f"names the caller `{name}`" if is_plain(name) else "names a caller"
    plain = ", ".join(filter(is_plain, sorted(map(str, known))))
    otherwise = f"the callers are {plain}" if plain else "add it under `callers` at the top level"
    return ConfigIssue(steps, f"{shown} that does not exist", did_you_mean(name, map(str, known), otherwise=otherwise))


def _unreachable_quota(caller: str, settings: Mapping[str, Any]) -> Iterator[ConfigIssue]:
    """Yield a warning if the rate allows fewer calls in the period of the quota than the quota."""
    rate = _frequency(settings.get("rate"), RATE_PATTERN)
    quota = _frequency(_mapping(settings.get("quota")).get("calls"), QUOTA_PATTERN)
    if rate is None or quota is None:
        return
    burst = settings.get("burst")
    most = rate[0] * quota[1] // rate[1] + (burst if isinstance(burst, int) else 0)
    if most < quota[0]:
        what = f"is never reached: `rate` allows {most} calls in that time"
        yield ConfigIssue(("callers", caller, "quota", "calls"), what, "lower it, or raise `rate`", severity="warning")


def _frequency(text: object, pattern: str) -> tuple[int, int] | None:
    if not isinstance(text, str) or not re.fullmatch(pattern, text):
        return None
    amount, _, period = text.partition("/")
    return int(amount), PERIODS[period]


def _equal_proofs(callers: Mapping[str, Any]) -> Iterator[ConfigIssue]:
    """Yield issues of a certificate or a unix user that two callers have."""
    first: dict[tuple[str, str], str] = {}
    for caller, settings in callers.items():
        certificate = _mapping(_mapping(settings).get("certificate"))
        values: list[tuple[Steps, Any]] = [(("certificate", key), value) for key, value in certificate.items()]
        values.append((("unix_user",), _mapping(settings).get("unix_user")))
        for steps, value in values:
            if not isinstance(value, str | int):
                continue
            proof = str(steps[-1]), str(value).lower().replace(":", "") if steps[-1] == "sha256" else str(value)
            if first.setdefault(proof, caller) != caller:
                yield _same_proof(("callers", caller, *steps), "is", first[proof])


def _overlapping_networks(callers: Mapping[str, Any]) -> Iterator[ConfigIssue]:
    """Yield issues of networks that contain one of another caller. In sorted order, a network
    comes after those that contain it.
    """
    found = []
    for caller, settings in callers.items():
        networks = _mapping(settings).get("networks")
        for index, text in enumerate(networks if isinstance(networks, list) else ()):
            try:
                network = ipaddress.ip_network(text if isinstance(text, str) else "")
            except ValueError:
                continue
            found.append((network.version, int(network.network_address), network.prefixlen, network, caller, index))
    enclosing: list[tuple[Any, str]] = []
    for *_, network, caller, index in sorted(found, key=lambda row: row[:3]):
        while enclosing and (enclosing[-1][0].version != network.version or not network.subnet_of(enclosing[-1][0])):
            enclosing.pop()
        other = next((name for _, name in enclosing if name != caller), None)
        if other is not None:
            yield _same_proof(("callers", caller, "networks", index), "is, or is part of,", other)
        enclosing.append((network, caller))


def _same_proof(steps: Steps, relation: str, other: str) -> ConfigIssue:
    shown = f"the caller `{other}`" if is_plain(other) else "another caller"
    return ConfigIssue(steps, f"{relation} a proof of {shown}", _DISTINCT_REMEDY)


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
