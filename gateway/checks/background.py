"""Checks of failing credentials and routes in the background, for `/status` of a running gateway.

`/status` has a diagnosis of callers' requests at once. A request for `/status` also starts the checks of `check --live`
for each credential and route that fails: at most once in `CHECK_INTERVAL` for each, `MAX_CONCURRENT` at a time, without
token requests and without running a flow. Later responses of `/status` have their findings.
"""

import asyncio
import time
from collections.abc import Coroutine, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.config.model import Config
from gateway.diagnosis.connections import diagnose_connection
from gateway.diagnosis.credential_findings import diagnose_credential
from gateway.diagnosis.facts import ConnectionProbe, CredentialConfig, CredentialProbe
from gateway.diagnosis.finding import Finding
from gateway.diagnosis.route_findings import diagnose_route
from gateway.diagnosis.route_health import RouteHealth
from gateway.errors import GatewayError
from gateway.oauth.grants import read_epoch_time, read_jwt_claims
from gateway.oauth.token_source import TokenSource
from gateway.wiring.components import Components, Runtime

if TYPE_CHECKING:
    from gateway.checks.route import RouteCheck

CHECK_INTERVAL = 60.0
"""Seconds until the same credential or route is checked again."""
STATUS_WAIT = 0.5
"""Seconds that a request for `/status` waits for running checks: enough for most of them."""
TIMEOUT = 30.0
"""Seconds for one check."""
MAX_CONCURRENT = 8

CheckKey = tuple[str, str]


class _CachedFinding(msgspec.Struct, frozen=True):
    """The finding for a failure with this reason."""

    reason: str
    finding: Finding


class BackgroundChecks:
    """The checks of one gateway, in its event loop. Call `cancel` after a reload and at the end."""

    def __init__(self, components: Components) -> None:
        self._components = components
        self._next_check_at: dict[CheckKey, float] = {}
        self._running: dict[CheckKey, asyncio.Task[None]] = {}
        self._findings: dict[str, _CachedFinding] = {}

    async def refresh(self, runtime: Runtime) -> None:
        """Start the checks that are due, and wait for running ones for up to `STATUS_WAIT`."""
        now = time.monotonic()
        if failing := [key for key in _failing_keys(runtime) if now >= self._next_check_at.get(key, 0.0)]:
            await asyncio.to_thread(_load_probes)
            for key in failing[: MAX_CONCURRENT - len(self._running)]:
                self._next_check_at[key] = now + CHECK_INTERVAL
                task = self._running[key] = asyncio.create_task(_run_with_timeout(self._check(runtime, key)))
                task.add_done_callback(partial(self._on_check_end, key))
        if self._running:
            await asyncio.wait(self._running.values(), timeout=STATUS_WAIT)

    def credential_finding(self, config: Config, name: str, source: TokenSource) -> Finding | None:
        """Return the current problem of a credential, or None."""
        status = source.status()
        reason = failure_reason(status)
        if (found := self._findings.get(name)) is not None and reason == found.reason:
            return found.finding
        return _first_failure(_facts_without_requests(config, name, source, reason))

    async def cancel(self) -> None:
        """Cancel running checks and forget all findings."""
        running = list(self._running.values())
        self._next_check_at.clear()
        self._findings.clear()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _on_check_end(self, key: CheckKey, _: asyncio.Task[None]) -> None:
        self._running.pop(key, None)

    async def _check(self, runtime: Runtime, key: CheckKey) -> None:
        kind, name = key
        await (self._check_route(runtime, name) if kind == "route" else self._check_credential(runtime, name))

    async def _check_credential(self, runtime: Runtime, name: str) -> None:
        from gateway.checks.credential import gather_credential_facts  # noqa: PLC0415 - see `_load_probes`

        status = runtime.sources[name].status()
        reason, secrets = failure_reason(status), self._components.secrets
        facts = await gather_credential_facts(
            self._components, runtime.config, name, secrets=secrets, reason=reason, skew=status["clock_skew_s"]
        )
        if (finding := _first_failure(facts)) is not None:
            self._findings[name] = _CachedFinding(reason, finding)

    async def _check_route(self, runtime: Runtime, name: str) -> None:
        from gateway.checks.single import find_route_check  # noqa: PLC0415 - see `_load_probes`

        route, route_check = find_route_check(runtime, name)
        await _check_route_now(route_check, route.health, route.token_source.get_fresh_token())


async def _check_route_now(route_check: "RouteCheck", health: RouteHealth, token: str | None) -> None:
    """Check the connection if there was no response, then the route with a token, if there is one."""
    from gateway.checks.connect import check_connection  # noqa: PLC0415 - see `_load_probes`
    from gateway.checks.route import check_route  # noqa: PLC0415

    name = route_check.route.name
    if health.status == 0:
        connection = await check_connection(route_check.upstream.pool.origin, within=route_check.route.connect_timeout)
        if connection.step:
            health.record_finding(diagnose_connection(connection, f"route {name}"), 0)
            return
    if token is not None:
        target = health.target or route_check.target
        probe = await check_route(route_check, token, target)
        health.record_finding(
            diagnose_route(probe, name, target), probe.response.status if probe.response is not None else 0
        )


def failure_reason(status: Mapping[str, Any]) -> str:
    """Return why the last token request failed, `CODE: text`; empty if it succeeded."""
    return status["last_error"]["reason"] if status["last_error"] is not None else ""


def _failing_keys(runtime: Runtime) -> Iterable[CheckKey]:
    yield from (("credential", name) for name, source in runtime.sources.items() if failure_reason(source.status()))
    yield from (("route", route.name) for route in runtime.routes if route.health.has_problem)


def _facts_without_requests(config: Config, name: str, source: TokenSource, reason: str) -> CredentialProbe:
    """Return what is known of a credential without any request, and without its secret."""
    credential, status = config.credentials[name], source.status()
    claims = {} if reason else read_jwt_claims(source.get_fresh_token() or "")
    credential_config = CredentialConfig(
        name,
        grant=credential.grant,
        client_auth=credential.client_auth,
        client_id=credential.client_id,
        token_url=credential.token_url,
        scope=credential.scope or "",
    )
    skew: Any = status["clock_skew_s"]
    return CredentialProbe(
        credential_config,
        ConnectionProbe(credential.token_url),
        reason=reason,
        lifetime=_lifetime(claims),
        claims=claims,
        skew=skew,
    )


def _lifetime(claims: Mapping[str, Any]) -> float:
    """Return the seconds from `iat` to `exp`; infinity without them."""
    begins, ends = (read_epoch_time(claims.get(name)) for name in ("iat", "exp"))
    return float("inf") if begins is None or ends is None else ends - begins


async def _run_with_timeout(work: Coroutine[Any, Any, None]) -> None:
    """Run a check with a time limit. A failure to get facts is ignored; a defect is reported by the event loop."""
    try:
        async with asyncio.timeout(TIMEOUT):
            await work
    except (OSError, ValueError, GatewayError):  # TimeoutError and ssl.SSLError are OSErrors
        return


def _first_failure(facts: CredentialProbe) -> Finding | None:
    return next((finding for finding in diagnose_credential(facts) if not finding.ok), None)


def _load_probes() -> None:
    """Import the probes, in a thread. Only a gateway with a problem needs them: they bring cryptography."""
    import gateway.checks.credential  # noqa: PLC0415 - see above
    import gateway.checks.single  # noqa: F401, PLC0415
