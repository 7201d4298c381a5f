"""Checks of failing credentials and routes in the background, for `/status` of a running gateway.

`/status` has a diagnosis of callers' requests at once. A request for `/status` also starts the checks of `check --live`
for what fails: at most once in `PAUSE` seconds for each credential and route, `AT_ONCE` at a time, without token
requests and without running a flow. `/status` then has their finding.
"""

import asyncio
import time
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from gateway.config.model import Config
from gateway.config.resolved import resolve
from gateway.diagnosis.connections import diagnose_connection
from gateway.diagnosis.credential_findings import diagnose_credential
from gateway.diagnosis.facts import ConnectionProbe, CredentialConfig, CredentialProbe
from gateway.diagnosis.finding import Finding
from gateway.diagnosis.route_findings import diagnose_route
from gateway.diagnosis.route_health import RouteHealth
from gateway.errors import GatewayError
from gateway.oauth.grants import claims_of
from gateway.oauth.token_source import TokenSource
from gateway.wiring.components import Components, Runtime

if TYPE_CHECKING:
    from gateway.checks.route import RouteCheck

PAUSE = 60.0
"""Seconds until the same credential or route is checked again."""
STATUS_WAIT = 0.5
"""Seconds that a request for `/status` waits for running checks: enough for most of them."""
TIMEOUT = 30.0
"""Seconds for one check."""
AT_ONCE = 8

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _CachedFinding:
    """The finding about a failure with this reason."""

    reason: str
    finding: Finding


class BackgroundChecks:
    """Check for one gateway, in its event loop. Call `cancel` after a reload and at the end."""

    def __init__(self, components: Components) -> None:
        self._components = components
        self._due: dict[Key, float] = {}
        self._running: dict[Key, asyncio.Task[None]] = {}
        self._found: dict[str, _CachedFinding] = {}

    async def refresh(self, runtime: Runtime) -> None:
        """Start the checks that are due, and wait for running ones for up to `STATUS_WAIT`."""
        now = time.monotonic()
        if failing := [key for key in _failing(runtime) if now >= self._due.get(key, 0.0)]:
            await asyncio.to_thread(_load_probes)
            for key in failing[: AT_ONCE - len(self._running)]:
                self._due[key] = now + PAUSE
                task = self._running[key] = asyncio.create_task(_bounded(self._check(runtime, key)))
                task.add_done_callback(partial(self._ended, key))
        if self._running:
            await asyncio.wait(self._running.values(), timeout=STATUS_WAIT)

    def credential_finding(self, config: Config, name: str, source: TokenSource) -> Finding | None:
        """Return the current problem of a credential, or None."""
        status = source.status()
        reason = reason_of(status)
        if (found := self._found.get(name)) is not None and reason == found.reason:
            return found.finding
        return _first_failure(_known_facts(config, name, source, reason))

    async def cancel(self) -> None:
        """Cancel running checks and forget all findings."""
        ending = list(self._running.values())
        self._due.clear()
        self._found.clear()
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    def _ended(self, key: Key, _: asyncio.Task[None]) -> None:
        self._running.pop(key, None)

    async def _check(self, runtime: Runtime, key: Key) -> None:
        kind, name = key
        await (self._check_route(runtime, name) if kind == "route" else self._check_credential(runtime, name))

    async def _check_credential(self, runtime: Runtime, name: str) -> None:
        from gateway.checks.credential import gather_credential_facts  # noqa: PLC0415 - see `_load_probes`

        status = runtime.sources[name].status()
        reason, secrets = reason_of(status), self._components.secrets
        facts = await gather_credential_facts(
            self._components, runtime.config, name, secrets=secrets, reason=reason, skew=status["clock_skew_s"]
        )
        if (finding := _first_failure(facts)) is not None:
            self._found[name] = _CachedFinding(reason, finding)

    async def _check_route(self, runtime: Runtime, name: str) -> None:
        from gateway.checks.route import RouteCheck  # noqa: PLC0415 - see `_load_probes`

        config = runtime.config
        number, route = next((number, route) for number, route in enumerate(runtime.routes) if route.name == name)
        [resolved] = resolve(config.model_copy(update={"routes": [config.routes[number]]}))  # one of up to ten thousand
        scope = config.credentials[route.credential].scope or ""
        trial = RouteCheck(resolved, route.upstream, route.design_upstream, scope)
        await _try_route(trial, route.health, route.token_source.current())


async def _try_route(trial: "RouteCheck", health: RouteHealth, token: str | None) -> None:
    """Check the connection if there was no response, then the route with a token, if there is one."""
    from gateway.checks.connect import check_connection  # noqa: PLC0415 - see `_load_probes`
    from gateway.checks.route import check_route  # noqa: PLC0415

    name = trial.route.name
    if health.status == 0:
        contact = await check_connection(trial.place.pool.origin, within=trial.route.connect_timeout)
        if contact.step:
            health.record_finding(diagnose_connection(contact, f"route {name}"), 0)
            return
    if token is not None:
        target = health.target or trial.target
        tried = await check_route(trial, token, target)
        health.record_finding(diagnose_route(tried, name, target), tried.reply.status if tried.reply is not None else 0)


def reason_of(status: Mapping[str, Any]) -> str:
    """Return why the last token request failed, `CODE: text`; empty if it succeeded."""
    return status["last_error"]["reason"] if status["last_error"] is not None else ""


def _failing(runtime: Runtime) -> Iterable[Key]:
    yield from (("credential", name) for name, source in runtime.sources.items() if reason_of(source.status()))
    yield from (("route", route.name) for route in runtime.routes if route.health.is_known)


def _known_facts(config: Config, name: str, source: TokenSource, reason: str) -> CredentialProbe:
    """Return what is known of a credential without any request, and without its secret."""
    credential, status = config.credentials[name], source.status()
    claims = {} if reason else claims_of(source.current() or "")
    shape = CredentialConfig(
        name,
        grant=credential.grant,
        client_auth=credential.client_auth,
        client_id=credential.client_id,
        token_url=credential.token_url,
        scope=credential.scope or "",
    )
    skew: Any = status["clock_skew_s"]
    return CredentialProbe(
        shape, ConnectionProbe(credential.token_url), reason=reason, life=_lifetime(claims), claims=claims, skew=skew
    )


def _lifetime(claims: Mapping[str, Any]) -> float:
    """Return the seconds from `iat` to `exp`; infinity without them."""
    begins, ends = claims.get("iat"), claims.get("exp")
    return float(ends - begins) if isinstance(begins, int | float) and isinstance(ends, int | float) else float("inf")


async def _bounded(work: Coroutine[Any, Any, None]) -> None:
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
    import gateway.checks.route  # noqa: F401, PLC0415
