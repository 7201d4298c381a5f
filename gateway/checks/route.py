"""Check a route: one harmless request with a token; if it fails, further requests that show the cause.

No flow runs: `oic.urls` has the harmless request for each kind of URL. A redirect is followed only if the gateway
itself would follow it with the token (`proxy.redirects`).
"""

from dataclasses import dataclass, replace

from gateway.checks.http_probe import exchange
from gateway.config.resolved import ResolvedRoute
from gateway.diagnosis.facts import ProbeResponse, RouteProbe
from gateway.errors import GatewayError
from gateway.oic.urls import FIRST_VERSION, OicTarget, first_version_target, probe_target
from gateway.proxy.redirects import resolve_redirect
from gateway.proxy.route_table import UpstreamServer

TIMEOUT = 10.0
"""Seconds for one harmless request: descriptions of integrations arrive quickly."""


@dataclass(frozen=True, slots=True)
class RouteCheck:
    """A route to check: its targets and the fields and parameters that it sets."""

    route: ResolvedRoute
    place: UpstreamServer
    design: UpstreamServer | None
    scope: str

    @property
    def fields(self) -> list[tuple[str, str]]:
        """The fields that the route sets, without templates: they need a caller."""
        return [(name, value) for name, value in self.route.set_headers if "${" not in value]

    @property
    def query(self) -> dict[str, str]:
        """The parameters that the route sets."""
        return {name: value for name, value in self.route.set_query if "${" not in value}

    @property
    def target(self) -> OicTarget:
        """The harmless request."""
        return probe_target(self.place.base.path, self.query)

    @property
    def key(self) -> tuple[object, ...]:
        """Routes with the same key need only one check."""
        design = self.design.base if self.design else None
        route = self.route
        return (
            route.credential,
            self.place.pool.origin,
            self.place.base.path,
            design,
            route.set_headers,
            route.set_query,
        )


async def check_route(trial: RouteCheck, token: str, target: OicTarget | None = None) -> RouteProbe:
    """Send the request for the target of the trial, or for `target`; send more requests if the cause is unclear."""
    target, route = target or trial.target, trial.route
    tried = RouteProbe(route.upstream, target.method, target.target, query=trial.query, scope=trial.scope)
    reply, error = await _send(trial, trial.place, target.method, target.target, bearer=token)
    if reply is not None and reply.status == 307 and target.kind == "developer":
        reply, followed = await _follow(trial, reply, token, asked=target.target)
        tried = replace(tried, followed=followed)
    tried = replace(tried, reply=reply, error=error)
    if reply is None or reply.status == 403:
        bare, _ = await _send(trial, trial.place, target.method, target.target)
        return replace(tried, bare=bare.status if bare is not None else 0)
    if reply.status == 404 and (other := first_version_target(target)):
        found, _ = await _send(trial, trial.place, "GET", other, bearer=token)
        return replace(tried, elsewhere=FIRST_VERSION if found is not None and found.status == 200 else "")
    return tried


async def _follow(trial: RouteCheck, reply: ProbeResponse, token: str, *, asked: str) -> tuple[ProbeResponse, str]:
    """Follow a 307 with the token if the gateway would follow it. Another path than the requested one is not followed:
    it might run a flow.
    """
    places = [place for place in (trial.place, trial.design) if place is not None]
    bases = [replace(place.base, path="/") for place in places]
    found = resolve_redirect(reply.fields.get("location", ""), at=bases[0], bases=bases)
    if found is None or found[1].partition("?")[0] != asked.partition("?")[0]:
        return reply, ""
    base, target = found
    place = places[bases.index(base)]
    there, _ = await _send(trial, place, "GET", target, bearer=token)
    return (reply, "") if there is None else (there, f"{base.scheme}://{base.authority}")


async def _send(
    trial: RouteCheck, place: UpstreamServer, method: str, target: str, *, bearer: str = ""
) -> tuple[ProbeResponse | None, str]:
    within = min(TIMEOUT, trial.route.response_timeout)
    try:
        reply = await exchange(
            place.pool.origin,
            method,
            target,
            host=place.base.authority,
            fields=trial.fields,
            bearer=bearer,
            within=within,
        )
    except GatewayError as error:
        return None, f"{error.code}: {error.reason}"
    return reply, ""
