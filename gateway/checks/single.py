"""Check one credential or one route of a running gateway, with its connections, secrets and tokens."""

import asyncio

from gateway.checks.connect import check_connection
from gateway.checks.credential import check_credential
from gateway.checks.route import RouteCheck, check_route
from gateway.config.resolved import resolve
from gateway.diagnosis.connections import diagnose_connection
from gateway.diagnosis.credential_findings import diagnose_credential
from gateway.diagnosis.finding import Finding, failed_finding, skipped_finding
from gateway.diagnosis.route_findings import diagnose_route
from gateway.errors import TokenRefused, TokenUnavailable
from gateway.proxy.route_table import Route
from gateway.wiring.components import Components, Runtime

TIMEOUT = 60.0
"""Seconds for one check."""


async def check_one_credential(components: Components, runtime: Runtime, name: str) -> list[Finding]:
    """Check the connection, the discovery document and a new token of a credential."""
    try:
        async with asyncio.timeout(TIMEOUT):
            result = await check_credential(components, runtime.config, name, secrets=components.secrets)
    except TimeoutError:
        return [_late_finding(f"credential {name}")]
    return diagnose_credential(result.probe)


async def check_one_route(components: Components, runtime: Runtime, name: str) -> list[Finding]:
    """Check a route: its token, else its credential; the connection to its upstream; a harmless request."""
    route, route_check = find_route_check(runtime, name)
    subject = f"route {name}"
    try:
        async with asyncio.timeout(TIMEOUT):
            try:
                token = await route.token_source.get_token(name)
            except (TokenRefused, TokenUnavailable):
                found = await check_one_credential(components, runtime, route.credential)
                why = f"credential {route.credential} has no token"
                return [*found, skipped_finding(subject, why, step="request")]
            return await _check_upstream(route_check, token)
    except TimeoutError:
        return [_late_finding(subject)]


async def _check_upstream(route_check: RouteCheck, token: str) -> list[Finding]:
    name, origin = route_check.route.name, route_check.upstream.pool.origin
    probe = await check_connection(origin, within=route_check.route.connect_timeout)
    connection = diagnose_connection(probe, f"upstream {origin.name}")
    if probe.step:
        why = f"{origin.name} cannot be reached"
        return [connection, skipped_finding(f"route {name}", why, step="request")]
    return [connection, diagnose_route(await check_route(route_check, token), name, route_check.target)]


def find_route_check(runtime: Runtime, name: str) -> tuple[Route, RouteCheck]:
    """Return the route of this name and its check."""
    config = runtime.config
    number, route = next((number, route) for number, route in enumerate(runtime.routes) if route.name == name)
    [resolved] = resolve(config.model_copy(update={"routes": [config.routes[number]]}))  # one of up to ten thousand
    scope = config.credentials[route.credential].scope or ""
    return route, RouteCheck(resolved, route.upstream, route.design_upstream, scope)


def _late_finding(subject: str) -> Finding:
    return failed_finding("out-of-time", subject, f"no result within {TIMEOUT:g} s")
