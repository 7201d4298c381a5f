"""Check a configuration: each credential and each upstream once, each route, the store; concurrently.

The number of concurrent requests to upstreams and the total time are limited. A check that does not end in time is a
finding, too.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import partial
from typing import Any, TypeVar

from gateway import __version__
from gateway.checks.connect import check_connection
from gateway.checks.credential import CredentialAnswer, check_credential
from gateway.checks.route import RouteCheck, check_route
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
from gateway.wiring.token_stores import open_store

TIMEOUT = 90.0
"""Seconds for the whole check."""
AT_ONCE = 16
"""Concurrent connections to upstreams: quick, and too few to look like an attack."""

T = TypeVar("T")
Findings = Coroutine[Any, Any, list[Finding]]


async def check(config: Config, *, within: float = TIMEOUT) -> list[Finding]:
    """Return the findings in the order of the file: credentials, upstreams, routes, store. Raise SecretProblem if a
    secret that every check needs cannot be read.
    """
    components = Components(Metrics(__version__), environ=os.environ)
    try:
        runtime = components.build_runtime(config, components.load_files(config))
    except SecretProblem:
        await components.close()
        raise
    except OSError as error:  # ssl.SSLError is one
        await components.close()
        return [_unusable(error)]
    try:
        return await _LiveCheck(components, runtime).findings(within=within)
    finally:
        await components.close()


def _unusable(error: OSError) -> Finding:
    seen = (
        f"{error.filename}: {error.strerror}" if error.filename else error.strerror or "a file of `tls` cannot be used"
    )
    return failed("certificate", "configuration", seen, step="configuration")


class _LiveCheck:
    """One run. A result that several steps need is a task that each of them awaits."""

    def __init__(self, components: Components, runtime: Runtime) -> None:
        self._components = components
        self._config = runtime.config
        self._runtime = runtime
        self._secrets = Secrets(os.environ, vault=Vault(runtime.config.oci))
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._contacts: dict[Origin, asyncio.Task[ConnectionProbe]] = {}
        self._answers: dict[str, asyncio.Task[CredentialAnswer]] = {}
        self._tried: dict[tuple[object, ...], asyncio.Task[RouteProbe]] = {}

    async def findings(self, *, within: float) -> list[Finding]:
        steps = [(subject, asyncio.create_task(step)) for subject, step in self._steps()]
        _, late = await asyncio.wait([task for _, task in steps], timeout=within)
        if late:
            await _cancel_all([*late, *self._contacts.values(), *self._answers.values(), *self._tried.values()])
        seen = f"no result within {within:g} s"
        found = ([failed("out-of-time", subject, seen)] if task in late else task.result() for subject, task in steps)
        return [finding for findings in found for finding in findings]

    def _steps(self) -> Iterable[tuple[str, Findings]]:
        config, runtime = self._config, self._runtime
        for name in config.credentials:
            self._answers[name] = asyncio.create_task(
                check_credential(self._components, config, name, secrets=self._secrets)
            )
            yield f"credential {name}", self._credential(name)
        timeout = max(route.connect_timeout for route in runtime.routes)
        for upstream in runtime.pools:
            origin = upstream.origin
            self._contacts[origin] = asyncio.create_task(
                self._limited(partial(check_connection, origin, within=timeout))
            )
            yield f"upstream {origin.name}", self._upstream(origin)
        for resolved, route in zip(resolve(config), runtime.routes, strict=True):
            scope = config.credentials[resolved.credential].scope or ""
            yield f"route {route.name}", self._route(RouteCheck(resolved, route.upstream, route.design_upstream, scope))
        if config.state is not None:
            yield "state", self._store(config.state)

    async def _credential(self, name: str) -> list[Finding]:
        return diagnose_credential((await self._answers[name]).asked)

    async def _upstream(self, origin: Origin) -> list[Finding]:
        return [diagnose_connection(await self._contacts[origin], f"upstream {origin.name}")]

    async def _route(self, trial: RouteCheck) -> list[Finding]:
        subject, step = f"route {trial.route.name}", "request"
        if not (token := (await self._answers[trial.route.credential]).token):
            return [skipped(subject, f"credential {trial.route.credential} has no token", step=step)]
        origin = trial.place.pool.origin
        if (await self._contacts[origin]).step:
            return [skipped(subject, f"{origin.name} cannot be reached", step=step)]
        if trial.key not in self._tried:
            self._tried[trial.key] = asyncio.create_task(self._limited(partial(check_route, trial, token)))
        return [diagnose_route(await self._tried[trial.key], trial.route.name, trial.target)]

    async def _store(self, state: State) -> list[Finding]:
        health = await open_store(state, clock=SystemClock(), secrets=self._secrets)
        subject = f"state ({health.kind})"
        if health.ok:
            return [Finding(ok=True, subject=subject, seen="can be read and written", step="store")]
        return [failed("state", subject, health.why, step="store")]

    async def _limited(self, work: Callable[[], Awaitable[T]]) -> T:
        async with self._slots:
            return await work()


async def _cancel_all(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel the tasks, and wait until they have ended."""
    ending = list(tasks)
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)
