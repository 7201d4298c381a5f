"""Check a route: one harmless request with a token; if it fails, further requests that show the cause.

No flow runs: `oic.urls` chooses the harmless request for each kind of URL. A redirect is followed only if the gateway
itself would follow it with the token (`proxy.redirects`).
"""

from dataclasses import dataclass

from msgspec.structs import replace

from gateway.checks.http_probe import send_probe
from gateway.config.resolved import ResolvedRoute
from gateway.diagnosis.facts import ProbeResponse, RouteProbe
from gateway.errors import GatewayError
from gateway.oic.urls import FIRST_VERSION, OicTarget, first_version_target, probe_target
from gateway.proxy.redirects import resolve_redirect
from gateway.proxy.route_table import UpstreamServer

TIMEOUT = 10.0
"""Seconds for one harmless request: OIC describes integrations quickly."""


@dataclass(frozen=True, slots=True)
class RouteCheck:
    """A route to check: its targets and the fields and parameters that it sets."""

    route: ResolvedRoute
    upstream: UpstreamServer
    design_upstream: UpstreamServer | None
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
        return probe_target(self.upstream.url.path, self.query)

    @property
    def key(self) -> tuple[object, ...]:
        """Routes with the same key need only one check."""
        design = self.design_upstream.url if self.design_upstream else None
        route = self.route
        return (
            route.credential,
            self.upstream.pool.origin,
            self.upstream.url.path,
            design,
            route.set_headers,
            route.set_query,
        )


async def check_route(route_check: RouteCheck, token: str, target: OicTarget | None = None) -> RouteProbe:
    """Send the request for the route's target, or for `target`; send more requests if the cause is unclear."""
    target, route = target or route_check.target, route_check.route
    probe = RouteProbe(route.upstream, target.method, target.target, query=route_check.query, scope=route_check.scope)
    response, error = await _send_probe(route_check, route_check.upstream, target.method, target.target, bearer=token)
    if response is not None and response.status == 307 and target.kind == "developer":
        response, redirected_to = await _follow_redirect(route_check, response, token, request_target=target.target)
        probe = replace(probe, redirected_to=redirected_to)
    probe = replace(probe, response=response, error=error)
    if response is None or response.status == 403:
        bare_response, _ = await _send_probe(route_check, route_check.upstream, target.method, target.target)
        return replace(probe, status_without_token=bare_response.status if bare_response is not None else 0)
    if response.status == 404 and (other := first_version_target(target)):
        found, _ = await _send_probe(route_check, route_check.upstream, "GET", other, bearer=token)
        return replace(probe, other_version=FIRST_VERSION if found is not None and found.status == 200 else "")
    return probe


async def _follow_redirect(
    route_check: RouteCheck, response: ProbeResponse, token: str, *, request_target: str
) -> tuple[ProbeResponse, str]:
    """Follow a 307 with the token if the gateway would follow it, but only to the requested path: any other path might
    run a flow.
    """
    upstreams = [upstream for upstream in (route_check.upstream, route_check.design_upstream) if upstream is not None]
    bases = [upstream.url._replace(path="/") for upstream in upstreams]
    location = resolve_redirect(response.fields.get("location", ""), at=bases[0], bases=bases)
    if location is None or location[1].partition("?")[0] != request_target.partition("?")[0]:
        return response, ""
    base, target = location
    upstream = upstreams[bases.index(base)]
    followed_response, _ = await _send_probe(route_check, upstream, "GET", target, bearer=token)
    return (response, "") if followed_response is None else (followed_response, f"{base.scheme}://{base.authority}")


async def _send_probe(
    route_check: RouteCheck, upstream: UpstreamServer, method: str, target: str, *, bearer: str = ""
) -> tuple[ProbeResponse | None, str]:
    within = min(TIMEOUT, route_check.route.response_timeout)
    try:
        response = await send_probe(
            upstream.pool.origin,
            method,
            target,
            host=upstream.url.authority,
            fields=route_check.fields,
            bearer=bearer,
            within=within,
        )
    except GatewayError as error:
        return None, f"{error.code}: {error.reason}"
    return response, ""
