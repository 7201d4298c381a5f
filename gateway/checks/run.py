"""Goes through a configuration: every credential once, every upstream once, every route, the store; all at once.

Bounded: so many requests to upstreams at a time, and so long in all. What is not done by then is a finding too.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import partial
from typing import Any, TypeVar

from gateway import __version__
from gateway.checks.connect import check_connection
from gateway.checks.credential import CredentialAnswer, check_credential
from gateway.checks.route import RouteTrial, check_route
from gateway.config.issue import SecretProblem
from gateway.config.model import Config
from gateway.config.resolved import resolve
from gateway.config.secrets import Secrets
from gateway.config.state_model import State
from gateway.config.vault import Vault
from gateway.diagnosis.connections import diagnose_connection
from gateway.diagnosis.credential_findings import diagnose_credential
from gateway.diagnosis.facts import ConnectionProbe, RouteProbe
from gateway.diagnosis.finding import Finding, failed, skipped
from gateway.diagnosis.route_findings import diagnose_route
from gateway.network.dial import Origin
from gateway.oauth.clock import SystemClock
from gateway.observe.metrics import Metrics
from gateway.wiring.components import Components, Runtime
from gateway.wiring.token_stores import open_store as reach_store

WHOLE = 90.0
"""Seconds that a check takes at most."""
AT_ONCE = 16
"""Connections to upstreams at a time: enough to be quick, too few to be taken for an attack."""

T = TypeVar("T")
Findings = Coroutine[Any, Any, list[Finding]]


async def check(config: Config, *, within: float = WHOLE) -> list[Finding]:
    """Findings in the file's order: credentials, upstreams, routes, the store. Raises SecretProblem for a secret that
    is needed before anything can be asked.
    """
    parts = Components(Metrics(__version__), environ=os.environ)
    try:
        assembly = parts.build_runtime(config, parts.load_files(config))
    except SecretProblem:
        await parts.close()
        raise
    except OSError as error:  # ssl.SSLError is one
        await parts.close()
        return [_unusable(error)]
    try:
        return await _LiveCheck(parts, assembly).findings(within=within)
    finally:
        await parts.close()


def _unusable(error: OSError) -> Finding:
    told = (
        f"{error.filename}: {error.strerror}" if error.filename else error.strerror or "a file of `tls` cannot be used"
    )
    return failed("certificate", "configuration", told, step="configuration")


class _LiveCheck:
    """One run. What several steps need is a task that each of them waits for."""

    def __init__(self, parts: Components, assembly: Runtime) -> None:
        self._parts = parts
        self._config = assembly.config
        self._assembly = assembly
        self._secrets = Secrets(os.environ, vault=Vault(assembly.config.oci))
        self._room = asyncio.Semaphore(AT_ONCE)
        self._contacts: dict[Origin, asyncio.Task[ConnectionProbe]] = {}
        self._answers: dict[str, asyncio.Task[CredentialAnswer]] = {}
        self._tried: dict[tuple[object, ...], asyncio.Task[RouteProbe]] = {}

    async def findings(self, *, within: float) -> list[Finding]:
        steps = [(subject, asyncio.create_task(step)) for subject, step in self._steps()]
        _, late = await asyncio.wait([task for _, task in steps], timeout=within)
        if late:
            await _cancelled([*late, *self._contacts.values(), *self._answers.values(), *self._tried.values()])
        seen = f"no result within {within:g} s"
        found = ([failed("out-of-time", subject, seen)] if task in late else task.result() for subject, task in steps)
        return [finding for findings in found for finding in findings]

    def _steps(self) -> Iterable[tuple[str, Findings]]:
        config, assembly = self._config, self._assembly
        for name in config.credentials:
            self._answers[name] = asyncio.create_task(
                check_credential(self._parts, config, name, secrets=self._secrets)
            )
            yield f"credential {name}", self._credential(name)
        patience = max(route.connect_timeout for route in assembly.routes)
        for upstream in assembly.pools:
            origin = upstream.origin
            self._contacts[origin] = asyncio.create_task(
                self._in_turn(partial(check_connection, origin, within=patience))
            )
            yield f"upstream {origin.name}", self._upstream(origin)
        for settled, route in zip(resolve(config), assembly.routes, strict=True):
            scope = config.credentials[settled.credential].scope or ""
            yield f"route {route.name}", self._route(RouteTrial(settled, route.target, route.design_target, scope))
        if config.state is not None:
            yield "state", self._store(config.state)

    async def _credential(self, name: str) -> list[Finding]:
        return diagnose_credential((await self._answers[name]).asked)

    async def _upstream(self, origin: Origin) -> list[Finding]:
        return [diagnose_connection(await self._contacts[origin], f"upstream {origin.name}")]

    async def _route(self, trial: RouteTrial) -> list[Finding]:
        subject, step = f"route {trial.route.name}", "request"
        if not (token := (await self._answers[trial.route.credential]).token):
            return [skipped(subject, f"no token of {trial.route.credential}", step=step)]
        origin = trial.place.pool.origin
        if (await self._contacts[origin]).step:
            return [skipped(subject, f"{origin.name} is not reached", step=step)]
        if trial.key not in self._tried:
            self._tried[trial.key] = asyncio.create_task(self._in_turn(partial(check_route, trial, token)))
        return [diagnose_route(await self._tried[trial.key], trial.route.name, trial.target)]

    async def _store(self, state: State) -> list[Finding]:
        health = await reach_store(state, clock=SystemClock(), secrets=self._secrets)
        subject = f"state ({health.kind})"
        if health.ok:
            return [Finding(ok=True, subject=subject, seen="can be read and written", step="store")]
        return [failed("state", subject, health.why, step="store")]

    async def _in_turn(self, work: Callable[[], Awaitable[T]]) -> T:
        async with self._room:
            return await work()


async def _cancelled(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Ends them all, and waits until they have."""
    ending = list(tasks)
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)
