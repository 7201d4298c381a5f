"""What the admin port of several workers tells: their answers as one.

Each question goes to all of them at the same time. One that does not answer soon is `stuck`, and said to be; nobody
waits for it. One that has not begun, or takes the place of a lost one, gets no calls yet and is `starting`.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from gateway import __version__
from gateway.admin.backend import AdminBackend
from gateway.config.model import Config
from gateway.config.resolved import hosts_of
from gateway.history.interface import NoneKept, SearchResult, merged
from gateway.history.query import HistoryQuery
from gateway.observe.metrics import (
    PREFIX,
    Metrics,
    ProcessStats,
    Snapshot,
    counters_only,
    exposition,
    join_snapshot,
    merge,
)
from gateway.proxy.admission import Admission
from gateway.server.gateway import why_not
from gateway.server.workers.rpc import ChannelError
from gateway.server.workers.worker import join_status
from gateway.server.workers.worker_handle import WorkerHandle
from gateway.wiring.history import reader_of

SOON = 1.0  # seconds in which a loop that turns has answered
LONG = 10.0  # seconds in which one that answers has told of thousands of routes
TOKEN = 60.0  # seconds in which a worker that answers knows whether it can get its tokens


class AggregatedAdmin(AdminBackend):
    """Asks `members`, by process id, which the crew keeps up to date as it does the public fields."""

    def __init__(
        self, members: Mapping[int, WorkerHandle], config: Config, *, lost_lines: Callable[[], int], nursery: int
    ) -> None:
        self._members = members
        self._past: Snapshot = {}
        self._losses = 0
        self._metrics = Metrics(__version__)
        self._metrics.watch_lost(lost_lines)
        self.processes = ProcessStats(lambda: (nursery, *members))
        self.listen = config.listen
        self.is_open = self.is_draining = False
        self.apply_config(config)

    def apply_config(self, config: Config) -> None:
        """Who may ask is of this configuration from now on."""
        self._admission = Admission(config.allow, hosts_of(config))
        self._reader = reader_of(config)
        self._keeps_calls = config.history.calls != 0

    def retire_counters(self, member: WorkerHandle) -> None:
        """A worker has ended unasked; what it had counted stays counted."""
        self._past = merge((self._past, member.counters))
        self._losses += 1

    def may_call(self, peer: str | None, host: str) -> str | None:
        """Why the admin port does not answer this peer, or None."""
        return why_not(self._admission, peer, host)

    async def liveness(self) -> tuple[bool, dict[str, Any]]:
        """Alive while the loop of every worker turns."""
        answers = await self._query_workers("ping")
        stuck = [pid for pid, answer in answers.items() if isinstance(answer, ChannelError)]
        return not stuck, {"state": "stuck", "stuck": stuck} if stuck else {"state": "alive"}

    async def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Ready while each worker that gets calls is, and at least one does; a credential's trouble is the first's."""
        if self.is_draining or not self.is_open:
            return False, {"state": "draining" if self.is_draining else "starting"}
        answers = await self._query_workers("readiness", within=TOKEN)
        told = [answer for answer in answers.values() if not isinstance(answer, ChannelError)]
        ready = len(told) == len(answers) > 0 and all(is_ready for is_ready, _ in told)
        credentials: dict[str, Any] = {}
        for _, document in told:
            for name, state in document.get("credentials", {}).items():
                if credentials.setdefault(name, state)["state"] == "ok":
                    credentials[name] = state
        states = self._states({pid: _readiness(answer) for pid, answer in answers.items()})
        store = _worst_store(document["store"] for _, document in told if "store" in document)
        state = "unready" if not ready else "ready" if store.get("ok", True) else "degraded"
        return ready, {"state": state, "credentials": credentials, "store": store, "workers": states}

    async def metrics(self) -> list[bytes]:
        """Prometheus text: sums over all workers that there are and were."""
        answers = await self._query_workers("numbers", within=LONG)
        told = {pid: join_snapshot(answer) for pid, answer in answers.items() if not isinstance(answer, ChannelError)}
        for pid, snapshot in told.items():
            self._members[pid].counters = counters_only(snapshot)
        # From here on without a pause: a worker that ends is either still a member or already in the past, never both.
        living = [told.get(pid, member.counters) for pid, member in self._members.items()]
        return await exposition(merge([*living, self._past, self._own()]), self.processes)

    async def status(self) -> dict[str, Any]:
        """Routes, sums, of each credential the worker that is worst off, and each worker by itself."""
        answers = await self._query_workers("status", within=LONG)
        told = {pid: join_status(answer) for pid, answer in answers.items() if not isinstance(answer, ChannelError)}
        documents = list(told.values())
        states = self._states({pid: "working" if pid in told else "stuck" for pid in answers})
        return {
            "listen": self.listen,
            "draining": self.is_draining,
            "requests_under_way": sum(document["requests_under_way"] for document in documents),
            "routes": _worst_problem([document["routes"] for document in documents]),
            "credentials": _worst(document["credentials"] for document in documents),
            "callers": _callers([document["callers"] for document in documents]),
            "connections": _sums(document["connections"] for document in documents),
            "names": _worst_names(document["names"] for document in documents),
            "store": _worst_store(document["store"] for document in documents),
            "history": _worst_store(document["history"] for document in documents),
            "workers": [state | _worker_part(told.get(state["pid"])) for state in states],
        }

    async def instances(self, query: HistoryQuery) -> SearchResult:
        """See `Desk`: out of the file that all workers write to, or out of the memory of each."""
        if not self._keeps_calls:
            raise NoneKept
        answers = await self._query_workers("instances" if self._reader is None else "settle", query)
        told = {pid: answer for pid, answer in answers.items() if not isinstance(answer, ChannelError)}
        if self._reader is None:
            found = merged(told.values(), query.limit)
        else:
            found = replace(await self._reader.find(query), lost=sum(told.values()))
        before = self._past.get(PREFIX + "history_lost_total", {}).get((), 0)
        assert isinstance(before, int)
        return replace(found, lost=found.lost + before, stuck=tuple(answers.keys() - told.keys()))

    async def _query_workers(self, verb: str, argument: object = None, *, within: float = SOON) -> dict[int, Any]:
        """By process id, of all that serve: the answer, or NoAnswer. One that ends meanwhile is left out."""
        asked = [member for member in self._members.values() if member.is_active]
        answers = await asyncio.gather(*(_answer(member, verb, argument, within=within) for member in asked))
        return {
            member.pid: answer
            for member, answer in zip(asked, answers, strict=True)
            if member.pid in self._members and not member.channel.closed.done()
        }

    def _states(self, known: Mapping[int, str]) -> list[dict[str, Any]]:
        return [{"pid": pid, "state": known.get(pid, "starting")} for pid in self._members]

    def _own(self) -> Snapshot:
        """The parent's part: it serves nobody."""
        own = self._metrics.snapshot()
        return own | {PREFIX + "workers": {(): 0}, PREFIX + "worker_losses_total": {(): self._losses}}


async def _answer(member: WorkerHandle, verb: str, argument: object, *, within: float) -> Any:
    """A worker whose loop does not turn is known soon, however long the answer itself may take."""
    try:
        if within > SOON:
            await member.channel.ask("ping", within=SOON)
        return await member.channel.ask(verb, argument, within=within)
    except ChannelError as error:
        return error


def _readiness(answer: tuple[bool, Any] | ChannelError) -> str:
    if isinstance(answer, ChannelError):
        return "stuck"
    return "ready" if answer[0] else "unready"


def _worst(views: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Of each credential the view with an error, else with the least time left."""
    worst: dict[str, Any] = {}
    for view in views:
        for name, token in view.items():
            worst[name] = min(worst.get(name, token), token, key=_health)
    return worst


def _health(token: dict[str, Any]) -> tuple[bool, bool, float]:
    return token["last_error"] is None, token["trouble"] is None, token["expires_in_s"] or 0.0


def _worst_problem(views: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The routes, each with the latest trouble that a worker knows of."""
    if not views:
        return []
    latest: dict[str, dict[str, Any]] = {}
    for route in itertools.chain.from_iterable(views):
        if (trouble := route["trouble"]) is not None and trouble["at"] >= latest.get(route["name"], trouble)["at"]:
            latest[route["name"]] = trouble
    return [route | {"trouble": latest.get(route["name"])} for route in views[0]]


def _worst_store(views: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The first worker's view that is not well, else any; empty where nobody has told."""
    return min(views, key=lambda store: bool(store["ok"]), default={})


def _worst_names(views: Iterable[dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """The names that some worker cannot look up; of each the view of one that has no address for it, if there is."""
    worst: dict[str, dict[str, Any]] = {}
    for view in views:
        for name, trouble in view.items():
            worst[name] = max(worst.get(name, trouble), trouble, key=lambda known: known["state"] == "unresolved")
    return worst


def _sums(views: Iterable[dict[str, dict[str, int]]]) -> dict[str, dict[str, int]]:
    sums: dict[str, Counter[str]] = {}
    for view in views:
        for origin, counts in view.items():
            sums.setdefault(origin, Counter()).update(counts)
    return {origin: dict(counts) for origin, counts in sums.items()}


def _callers(views: list[dict[str, Any]]) -> dict[str, Any]:
    """Sums, and the files of the worker that is worst off."""
    sums: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    for view in views:
        sums.update({key: view[key] for key in ("connections", "limit", "per_address")})
        refused.update(view["refused"])
    worst: dict[str, Any] = max(
        (view["open_files"] for view in views), key=lambda files: bool(files["short"]), default={}
    )
    return {**sums, "refused": dict(refused), "open_files": worst}


def _worker_part(document: dict[str, Any] | None) -> dict[str, Any]:
    kept = ("requests_under_way", "credentials", "callers", "connections", "store")
    return {} if document is None else {key: document[key] for key in kept}
