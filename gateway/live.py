"""The checks that really ask: a token from each identity domain, a connection to each upstream."""

import asyncio
import os
from dataclasses import dataclass, field
from typing import Any

import jwt

from gateway import __version__
from gateway.config.model import Config
from gateway.config.secrets import Secrets
from gateway.config.state import State
from gateway.config.vault import Vault
from gateway.errors import Overloaded, TokenRefused, TokenUnavailable, UpstreamUnreachable
from gateway.keeping import reach
from gateway.oauth.clock import SystemClock
from gateway.oauth.failures import remedy_for
from gateway.oauth.source import TokenSource
from gateway.observe.metrics import Metrics
from gateway.oic.diagnosis import Finding, of_audience, of_connection
from gateway.proxy.upstream import Upstream
from gateway.wiring import Parts


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """A token that was got for a person who asked for it, or the finding that tells why there is none."""

    finding: Finding
    token: str = field(default="", repr=False)
    claims: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def ok(self) -> bool:
        """There is a token."""
        return self.finding.ok


async def check(config: Config) -> list[Finding]:
    """Gets a token for every credential and connects to every upstream, all at once; findings in the file's order."""
    parts = Parts(Metrics(__version__), environ=os.environ)
    try:
        assembly = parts.assemble(config)
        seconds = max(route.connect_timeout for route in assembly.routes)
        tokens = [_ask(parts, config, name, anew=True) for name in config.credentials]
        ways = [_reach(upstream, seconds) for upstream in assembly.upstreams]
        stores = [] if config.state is None else [_store(config.state, Secrets(os.environ, vault=Vault(config.oci)))]
        answers = await asyncio.gather(*tokens)
        return [answer.finding for answer in answers] + list(await asyncio.gather(*ways, *stores))
    finally:
        await parts.close()


async def token(config: Config, name: str, *, force: bool = False) -> TokenAnswer:
    """Gets one token for the credential of that name: the one that is kept in `state`, or by `force` another one, which
    takes its place.
    """
    parts = Parts(Metrics(__version__), environ=os.environ)
    try:
        parts.keep(config)
        return await _ask(parts, config, name, anew=force)
    finally:
        await parts.close()


async def _ask(parts: Parts, config: Config, name: str, *, anew: bool) -> TokenAnswer:
    credential = config.credentials[name]
    source: TokenSource = parts.source(name, credential)
    subject = f"credential {name}"
    try:
        value = await (source.anew() if anew else source.get())
    except (TokenRefused, TokenUnavailable) as error:
        return TokenAnswer(Finding(ok=False, subject=subject, seen=error.reason, remedy=remedy_for(error)))
    finally:
        await source.close()
    claims = _claims(value)
    life = source.status()["expires_in_s"]
    audiences = [claims["aud"]] if isinstance(claims.get("aud"), str) else list(claims.get("aud") or [])
    finding = of_audience(name, credential.scope or "", audiences) or Finding(
        ok=True, subject=subject, seen=f"a token that lives {life:.0f} s"
    )
    return TokenAnswer(finding, value, {"expires_in_s": life, **claims})


async def _reach(upstream: Upstream, seconds: float) -> Finding:
    try:
        connection = await upstream.acquire(seconds)
    except (UpstreamUnreachable, Overloaded) as error:
        return of_connection(upstream.origin.name, error.reason)
    connection.abort()
    upstream.release(connection)
    upstream.close()
    return Finding(ok=True, subject=f"upstream {upstream.origin.name}", seen="reached")


async def _store(state: State, secrets: Secrets) -> Finding:
    health = await reach(state, clock=SystemClock(), secrets=secrets)
    if health.ok:
        return Finding(ok=True, subject=f"state ({health.kind})", seen="can be read and written")
    remedy = "Without it the gateway goes on by itself; docs/operations.md tells what it needs under Keeping tokens."
    return Finding(ok=False, subject=f"state ({health.kind})", seen=health.why, remedy=remedy)


def _claims(value: str) -> dict[str, Any]:
    """The claims of a JWT, unverified since they are only shown; {} for an opaque token."""
    try:
        claims: dict[str, Any] = jwt.decode(value, options={"verify_signature": False})
    except jwt.PyJWTError:
        return {}
    return claims
