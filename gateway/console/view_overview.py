"""The overview as a template shows it, from the document of `/status`. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from gateway.console.view_state import (
    ProblemView,
    StateLabel,
    Tone,
    circuit_state,
    credential_state,
    page_url,
    problem_view,
    state_label,
    worker_state,
)
from gateway.content.untrusted_text import read_origin

_TONES: dict[Tone, int] = {"bad": 0, "warn": 1, "rest": 2, "ok": 3}
_CERTIFICATE_WARNING = 14 * 86_400
"""Seconds before the end of a listener's certificate from which the overview reports it."""


_SIGN_IN_REMEDY = (
    "Press Sign in on the page of the credential, or Invite to send a link to the person who has the account. Both "
    "need the role admin."
)


@dataclass(frozen=True, slots=True)
class CredentialCard:
    """A credential: its state, what is left of its token, and where it is used.

    `left` and `lifetime` are in seconds, `share` is the part of the lifetime that is left, `holders` the number of
    workers that have the token, None without several workers.
    """

    name: str
    href: str
    state: StateLabel
    left: float | None
    lifetime: float | None
    share: float | None
    obtained: float | None
    routes: tuple[str, ...]
    budget_left: int | None
    fetches: Mapping[str, int]
    clock_skew: float | None
    next_try: float | None
    waiters: int
    replays: int
    problem: ProblemView | None
    holders: int | None
    workers: int


@dataclass(frozen=True, slots=True)
class ServiceRow:
    """An OIC service: its places, and its circuit breaker."""

    name: str
    href: str
    url: str
    running: int
    waiting: int
    limit: int | None
    configured_limit: int | None
    circuit: StateLabel
    is_open: bool
    open_for: float
    reason: str | None
    problem: ProblemView | None


@dataclass(frozen=True, slots=True)
class RouteRow:
    """A route, the service that its upstream belongs to, and its state."""

    name: str
    href: str
    path: str
    upstream: str
    host: str
    credential: str
    credential_href: str
    service: str | None
    methods: tuple[str, ...]
    state: StateLabel
    problem: ProblemView | None


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A process that serves callers."""

    pid: int
    state: StateLabel
    requests: int | None
    connections: int | None


@dataclass(frozen=True, slots=True)
class PartState:
    """A part of the gateway beside credentials, routes and services: what it is, and its state."""

    name: str
    value: str
    state: StateLabel


@dataclass(frozen=True, slots=True)
class Overview:
    """All that the overview shows of `/status`."""

    state: StateLabel
    problems: tuple[ProblemView, ...]
    credentials: tuple[CredentialCard, ...]
    services: tuple[ServiceRow, ...]
    routes: tuple[RouteRow, ...]
    workers: tuple[WorkerRow, ...]
    parts: tuple[PartState, ...]
    in_flight: int
    connections: int
    connection_limit: int
    listen: str
    version: str
    started_at: float | None


def overview(status: Mapping[str, Any], *, now: float) -> Overview:
    """Return the overview at `now`, in epoch seconds."""
    credentials = tuple(credential_card(status, name, now=now) for name in status["credentials"])
    services, routes = tuple(service_rows(status)), tuple(route_rows(status))
    problems = sorted(_problems(status, credentials, services, routes, now=now), key=lambda one: _TONES[one.tone])
    callers, process = status["callers"], status.get("process", {})
    return Overview(
        _overall_state(status, problems),
        tuple(problems),
        tuple(sorted(credentials, key=lambda card: _TONES[card.state.tone])),
        services,
        routes,
        tuple(worker_rows(status)),
        tuple(part_states(status)),
        status["requests_under_way"],
        callers["connections"],
        callers["limit"],
        status["listen"],
        process.get("version", ""),
        process.get("started_at"),
    )


def credential_card(status: Mapping[str, Any], name: str, *, now: float) -> CredentialCard:
    """Return one credential of `/status` at `now`, in epoch seconds."""
    views = [
        worker["credentials"][name] for worker in status.get("workers", ()) if name in worker.get("credentials", {})
    ]
    document = _best_view(status["credentials"][name], views)
    left, obtained = document["expires_in_s"], document["obtained"]
    lifetime = None if left is None or obtained is None else max(left, now - obtained + left)
    state = credential_state(document)
    problem = document["problem"] or document["last_error"]
    if problem is not None and problem["code"] == "sign-in":  # `/status` names a command
        problem = {**problem, "remedy": _SIGN_IN_REMEDY}
    at = (document["last_error"] or {}).get("at")
    href = page_url("credentials", name)
    return CredentialCard(
        name,
        href,
        state,
        left,
        lifetime,
        None if lifetime is None or not left else left / lifetime,
        obtained,
        tuple(route["name"] for route in status["routes"] if route["credential"] == name),
        document["budget_left"],
        _sum_fetches(document, views),
        document["clock_skew_s"],
        document["next_try_s"],
        document["waiters"],
        document["replays"],
        problem and problem_view("Credential", name, href, problem, tone=state.tone, at=at),
        sum(view["state"] in {"fresh", "stale"} for view in views) if views else None,
        len(views),
    )


def service_rows(status: Mapping[str, Any]) -> Iterator[ServiceRow]:
    """Yield the services of `/status`."""
    for name, service in status["services"].items():
        circuit, problem = service["circuit"], service["problem"]
        is_open = circuit["state"] != "closed"
        href = page_url("services", name)
        yield ServiceRow(
            name,
            href,
            service["url"],
            service["running"],
            service["waiting"],
            service["limit"],
            service["calls"],
            circuit_state(service),
            is_open,
            circuit["open_for_s"],
            circuit["reason"],
            problem and problem_view("Service", name, href, problem, tone="bad" if is_open else "warn"),
        )


def route_rows(status: Mapping[str, Any]) -> Iterator[RouteRow]:
    """Yield the routes of `/status`, each with the state of its credential if that prevents calls."""
    services = {read_origin(service["url"]): name for name, service in status["services"].items()}
    for route in status["routes"]:
        name, problem, address = route["name"], route["problem"], urlsplit(route["upstream"])
        href, credential = page_url("routes", name), route["credential"]
        view = problem and problem_view("Route", name, href, problem)
        yield RouteRow(
            name,
            href,
            route["path"],
            route["upstream"],
            address.netloc,
            credential,
            page_url("credentials", credential),
            services.get(read_origin(route["upstream"])),
            tuple(route["methods"]),
            _route_state(problem, status["credentials"].get(credential)),
            view,
        )


def worker_rows(status: Mapping[str, Any]) -> Iterator[WorkerRow]:
    """Yield the workers of `/status`; none if one process does all."""
    for worker in status.get("workers", ()):
        yield WorkerRow(
            worker["pid"],
            worker_state(worker["state"]),
            worker.get("requests_under_way"),
            worker.get("callers", {}).get("connections"),
        )


def _route_state(problem: Mapping[str, Any] | None, credential: Mapping[str, Any] | None) -> StateLabel:
    if problem is not None:
        return state_label("bad", "Upstream fails")
    if credential is not None and (state := credential_state(credential)).tone == "bad":
        return state_label("bad", state.text, state.icon)
    return state_label("ok", "No problem")


def _best_view(worst: Mapping[str, Any], views: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the view of the worker with most of the token's lifetime left, unless a worker reports an error: a worker
    that had no call yet has no token.
    """
    if worst["problem"] is not None or worst["last_error"] is not None:
        return worst
    return max(views, key=lambda view: view["expires_in_s"] or 0.0, default=worst)


def _sum_fetches(document: Mapping[str, Any], views: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    views = list(views) or [document]
    return {key: sum(view["fetches"].get(key, 0) for view in views) for key in ("ok", "refused", "unavailable")}


def _overall_state(status: Mapping[str, Any], problems: Sequence[ProblemView]) -> StateLabel:
    if status["draining"]:
        return state_label("warn", "Stopping")
    if not problems:
        return state_label("ok", "All good")
    return state_label(problems[0].tone, "Needs attention", "alert")


def part_states(status: Mapping[str, Any]) -> Iterator[PartState]:
    """Yield the token store and the history of `/status`."""
    kinds = {"memory": "in memory", "file": "in a file", "redis": "in Redis"}
    for key, name in (("store", "Token store"), ("history", "Call history")):
        part = status[key]
        if part:
            kind = part.get("kind") or part.get("where") or ""
            state = state_label("ok", "OK") if part["ok"] else state_label("bad", "Unavailable")
            yield PartState(name, kinds.get(kind, kind), state)


def _problems(
    status: Mapping[str, Any],
    credentials: Iterable[CredentialCard],
    services: Iterable[ServiceRow],
    routes: Iterable[RouteRow],
    *,
    now: float,
) -> Iterator[ProblemView]:
    parts: tuple[Iterable[CredentialCard | ServiceRow | RouteRow], ...] = (credentials, services, routes)
    down = {service.name for service in services if service.is_open}
    for part in (one for group in parts for one in group):
        is_explained = isinstance(part, RouteRow) and part.service in down  # the problem of the service explains it
        if part.problem is not None and not is_explained:
            yield part.problem
    overview_url = page_url()
    for key, name in (("store", "Token store"), ("history", "Call history")):
        if status[key] and not status[key]["ok"]:
            means = {
                "store": "Each process keeps its tokens in memory until the store answers again.",
                "history": "New calls are not stored.",
            }
            yield problem_view(name, "", overview_url, {"seen": status[key]["why"], "means": means[key]}, tone="warn")
    for name, caller in status["caller_limits"].items():
        if caller["problem"] is not None:
            yield problem_view("Caller", name, page_url("callers"), caller["problem"], tone="warn")
    yield from _other_problems(status, now=now)


def _other_problems(status: Mapping[str, Any], *, now: float) -> Iterator[ProblemView]:
    """Yield the problems of listeners, names, files and workers."""
    overview_url = page_url()
    for listener in status["listeners"]:
        certificate = listener.get("certificate") or {}
        left = certificate.get("expires_at", now + _CERTIFICATE_WARNING) - now
        if certificate.get("problem"):
            facts = {"seen": str(certificate["problem"]), "remedy": "Replace the files of the listener's `tls`."}
            yield problem_view("Certificate", listener["address"], overview_url, facts)
        elif left < _CERTIFICATE_WARNING:
            seen = f"the certificate expires in {max(0, left) / 86_400:.0f} days"
            facts = {"seen": seen, "remedy": "Replace its files; the gateway reads them again by itself."}
            yield problem_view("Certificate", listener["address"], overview_url, facts, tone="warn")
    for name, lookup in status["names"].items():
        facts = {"code": "dns", "seen": f"{name} cannot be resolved", "remedy": "Check the name and the DNS server."}
        tone: Tone = "bad" if lookup.get("state") == "unresolved" else "warn"
        yield problem_view("Host name", name, overview_url, facts, tone=tone)
    if status["callers"]["open_files"].get("short"):
        facts = {
            "seen": "the process has no free file descriptors",
            "remedy": "Raise the limit of open files (ulimit -n).",
        }
        yield problem_view("Open files", "", overview_url, facts)
    for worker in status.get("workers", ()):
        if worker["state"] == "stuck":
            facts = {"seen": f"worker {worker['pid']} does not respond", "means": "The supervisor replaces it."}
            yield problem_view("Worker", str(worker["pid"]), overview_url, facts)
