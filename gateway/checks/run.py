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
from gateway.checks.credential import CredentialResult, check_credential
from gateway.checks.route import RouteCheck, check_route
from gateway.config.issue import SecretProblem
from gateway.config.model import Config
from gateway.config.resolved import resolve
from gateway.config.state_model import StateSettings
from gateway.diagnosis.connections import diagnose_connection
from gateway.diagnosis.credential_findings import diagnose_credential
from gateway.diagnosis.facts import ConnectionProbe, RouteProbe
from gateway.diagnosis.finding import Finding, failed_finding, skipped_finding
from gateway.diagnosis.route_findings import diagnose_route
from gateway.network.dial import Origin
from gateway.oauth.clock import SystemClock
from gateway.observe.metrics import Metrics
from gateway.wiring.components import Components, Runtime
from gateway.wiring.secret_reader import build_secret_reader, secret_servers
from gateway.wiring.token_stores import open_store

TIMEOUT = 90.0
"""Seconds for the whole check."""
MAX_CONCURRENT = 16
"""Concurrent connections to upstreams: enough to be quick, too few to look like an attack."""

T = TypeVar("T")
Findings = Coroutine[Any, Any, list[Finding]]


async def run_checks(config: Config, *, within: float = TIMEOUT) -> list[Finding]:
    """Return the findings in the order of the file: credentials, upstreams, routes, store. Raise SecretProblem if a
    secret that every check needs cannot be read.
    """
    components = Components(Metrics(__version__), environ=os.environ)
    try:
        runtime = components.build_runtime(config, components.load_files(config))
        components.adopt(runtime)
    except SecretProblem:
        await components.close()
        raise
    except OSError as error:  # ssl.SSLError is one
        await components.close()
        return [_unusable_config_finding(error)]
    try:
        return await _LiveCheck(components, runtime).findings(within=within)
    finally:
        await components.close()


def _unusable_config_finding(error: OSError) -> Finding:
    seen = (
        f"{error.filename}: {error.strerror}" if error.filename else error.strerror or "a file of `tls` cannot be used"
    )
    return failed_finding("certificate", "configuration", seen, step="configuration")


class _LiveCheck:
    """One run. A result that several steps need is a task; each of these steps awaits it."""

    def __init__(self, components: Components, runtime: Runtime) -> None:
        self._components = components
        self._config = runtime.config
        self._runtime = runtime
        self._secrets = build_secret_reader(os.environ, secret_servers(runtime.config))
        self._slots = asyncio.Semaphore(MAX_CONCURRENT)
        self._connection_probes: dict[Origin, asyncio.Task[ConnectionProbe]] = {}
        self._credential_results: dict[str, asyncio.Task[CredentialResult]] = {}
        self._route_probes: dict[tuple[object, ...], asyncio.Task[RouteProbe]] = {}

    async def findings(self, *, within: float) -> list[Finding]:
        steps = [(subject, asyncio.create_task(step)) for subject, step in self._list_checks()]
        _, late = await asyncio.wait([task for _, task in steps], timeout=within)
        if late:
            await _cancel_all(
                [
                    *late,
                    *self._connection_probes.values(),
                    *self._credential_results.values(),
                    *self._route_probes.values(),
                ]
            )
        seen = f"no result within {within:g} s"
        found = (
            [failed_finding("out-of-time", subject, seen)] if task in late else task.result() for subject, task in steps
        )
        return [finding for findings in found for finding in findings]

    def _list_checks(self) -> Iterable[tuple[str, Findings]]:
        config, runtime = self._config, self._runtime
        for name in config.credentials:
            self._credential_results[name] = asyncio.create_task(
                check_credential(self._components, config, name, secrets=self._secrets)
            )
            yield f"credential {name}", self._check_credential(name)
        timeout = max(route.connect_timeout for route in runtime.routes)
        for upstream in runtime.pools:
            origin = upstream.origin
            self._connection_probes[origin] = asyncio.create_task(
                self._run_limited(partial(check_connection, origin, within=timeout))
            )
            yield f"upstream {origin.name}", self._check_upstream(origin)
        for resolved, route in zip(resolve(config), runtime.routes, strict=True):
            scope = config.credentials[resolved.credential].scope or ""
            yield (
                f"route {route.name}",
                self._check_route(RouteCheck(resolved, route.upstream, route.design_upstream, scope)),
            )
        if config.state is not None:
            yield "state", self._check_store(config.state)

    async def _check_credential(self, name: str) -> list[Finding]:
        return diagnose_credential((await self._credential_results[name]).probe)

    async def _check_upstream(self, origin: Origin) -> list[Finding]:
        return [diagnose_connection(await self._connection_probes[origin], f"upstream {origin.name}")]

    async def _check_route(self, route_check: RouteCheck) -> list[Finding]:
        subject, step = f"route {route_check.route.name}", "request"
        if not (token := (await self._credential_results[route_check.route.credential]).token):
            return [skipped_finding(subject, f"credential {route_check.route.credential} has no token", step=step)]
        origin = route_check.upstream.pool.origin
        if (await self._connection_probes[origin]).step:
            return [skipped_finding(subject, f"{origin.name} cannot be reached", step=step)]
        if route_check.key not in self._route_probes:
            self._route_probes[route_check.key] = asyncio.create_task(
                self._run_limited(partial(check_route, route_check, token))
            )
        return [diagnose_route(await self._route_probes[route_check.key], route_check.route.name, route_check.target)]

    async def _check_store(self, state: StateSettings) -> list[Finding]:
        health = await open_store(state, clock=SystemClock(), secrets=self._secrets)
        subject = f"state ({health.kind})"
        if health.ok:
            return [Finding(ok=True, subject=subject, seen="can be read and written", step="store")]
        return [failed_finding("state", subject, health.why, step="store")]

    async def _run_limited(self, work: Callable[[], Awaitable[T]]) -> T:
        async with self._slots:
            return await work()


async def _cancel_all(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel the tasks, and wait until they have ended."""
    cancelled = list(tasks)
    for task in cancelled:
        task.cancel()
    await asyncio.gather(*cancelled, return_exceptions=True)
