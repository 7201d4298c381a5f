"""Asks again about what fails while the gateway serves, as `check --live` does, but never for a token; no flow runs.

A credential's own failure is told by its source; a route is tried with the token that is at hand.
"""

from typing import Any

from gateway.checks.connect import check_connection
from gateway.checks.credential import ask_around
from gateway.checks.route import RouteTrial, check_route
from gateway.config.model import Config
from gateway.diagnosis.connections import diagnose_connection
from gateway.diagnosis.credential_findings import diagnose_credential
from gateway.diagnosis.finding import Finding
from gateway.diagnosis.route_findings import diagnose_route
from gateway.diagnosis.route_health import RouteHealth
from gateway.wiring.components import Components


async def about_credential(parts: Components, config: Config, name: str, *, reason: str, skew: Any) -> Finding | None:
    """Why the credential failed for that reason, code and colon first, by all that can be seen around it."""
    asked = await ask_around(parts, config, name, secrets=parts.secrets, reason=reason, skew=skew)
    return next((finding for finding in diagnose_credential(asked) if not finding.ok), None)


async def about_route(trial: RouteTrial, trouble: RouteHealth, token: str | None) -> None:
    """Tells the trouble what came of asking again; nothing without a token, where the way is open."""
    name = trial.route.name
    if trouble.status == 0:
        contact = await check_connection(trial.place.pool.origin, within=trial.route.connect_timeout)
        if contact.step:
            trouble.record_finding(diagnose_connection(contact, f"route {name}"), 0)
            return
    if token is not None:
        target = trouble.target or trial.target
        tried = await check_route(trial, token, target)
        trouble.record_finding(
            diagnose_route(tried, name, target), tried.reply.status if tried.reply is not None else 0
        )
