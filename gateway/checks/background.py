"""What ails the credentials and routes of a gateway that serves, for whoever asks for `/status`.

At once there is a judgement of what was seen in passing. Where something fails, the same questions as those of `check
--live` are then asked in the background: only when someone looks, at most once in `PAUSE` seconds for each credential
and route, `AT_ONCE` at a time, never for what is well, never for a token. From then on their finding is told.
"""

import asyncio
import time
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

from gateway.config.model import Config
from gateway.config.resolved import resolve
from gateway.diagnosis.credential_findings import diagnose_credential
from gateway.diagnosis.facts import ConnectionProbe, CredentialConfig, CredentialProbe
from gateway.diagnosis.finding import Finding
from gateway.errors import GatewayError
from gateway.oauth.grants import claims_of
from gateway.oauth.token_source import TokenSource
from gateway.wiring.components import Components, Runtime

PAUSE = 60.0
"""Seconds until the same may be asked again."""
SOON = 0.5
"""Seconds that an answer waits for what is being asked: enough for most, and far less than who asks would wait."""
LONGEST = 30.0
"""Seconds that one inquiry takes at most."""
AT_ONCE = 8

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _CachedFinding:
    """What came of asking about a failure with this reason."""

    reason: str
    finding: Finding


class BackgroundChecks:
    """Asks for the gateway whose `parts` these are. Made and used in its loop; `forget` at a change and at the end."""

    def __init__(self, parts: Components) -> None:
        self._parts = parts
        self._due: dict[Key, float] = {}
        self._under_way: dict[Key, asyncio.Task[None]] = {}
        self._found: dict[str, _CachedFinding] = {}

    async def refresh(self, assembly: Runtime) -> None:
        """Begins to ask about all that fails and is due, and waits a moment for what is under way."""
        now = time.monotonic()
        if failing := [key for key in _failing(assembly) if now >= self._due.get(key, 0.0)]:
            recheck = await asyncio.to_thread(_load_recheck)
            for key in failing[: AT_ONCE - len(self._under_way)]:
                self._due[key] = now + PAUSE
                task = self._under_way[key] = asyncio.create_task(_bounded(self._asked(recheck, assembly, key)))
                task.add_done_callback(partial(self._ended, key))
        if self._under_way:
            await asyncio.wait(self._under_way.values(), timeout=SOON)

    def credential_finding(self, config: Config, name: str, source: TokenSource) -> Finding | None:
        """What is known to be wrong with a credential now; None where nothing is."""
        status = source.status()
        reason = reason_of(status)
        if (found := self._found.get(name)) is not None and reason == found.reason:
            return found.finding
        return next(
            (finding for finding in diagnose_credential(_seen(config, name, source, reason)) if not finding.ok), None
        )

    async def cancel(self) -> None:
        """Ends what is under way, and asks all anew at the next look."""
        ending = list(self._under_way.values())
        self._due.clear()
        self._found.clear()
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    def _ended(self, key: Key, _: asyncio.Task[None]) -> None:
        self._under_way.pop(key, None)

    async def _asked(self, recheck: ModuleType, assembly: Runtime, key: Key) -> None:
        kind, name = key
        if kind == "route":
            await self._asked_route(recheck, assembly, name)
            return
        status = assembly.sources[name].status()
        reason = reason_of(status)
        finding = await recheck.about_credential(
            self._parts, assembly.config, name, reason=reason, skew=status["clock_skew_s"]
        )
        if finding is not None:
            self._found[name] = _CachedFinding(reason, finding)

    async def _asked_route(self, recheck: ModuleType, assembly: Runtime, name: str) -> None:
        config = assembly.config
        number, route = next((number, route) for number, route in enumerate(assembly.routes) if route.name == name)
        [settled] = resolve(config.model_copy(update={"routes": [config.routes[number]]}))  # one of ten thousand
        scope = config.credentials[route.credential].scope or ""
        trial = recheck.RouteTrial(settled, route.target, route.design_target, scope)
        await recheck.about_route(trial, route.health, route.source.current())


def reason_of(status: Mapping[str, Any]) -> str:
    """Why a credential failed last, code and colon first; empty where it has not."""
    return status["last_error"]["reason"] if status["last_error"] is not None else ""


def _failing(assembly: Runtime) -> Iterable[Key]:
    yield from (("credential", name) for name, source in assembly.sources.items() if reason_of(source.status()))
    yield from (("route", route.name) for route in assembly.routes if route.health.is_known)


def _seen(config: Config, name: str, source: TokenSource, reason: str) -> CredentialProbe:
    """What is known without asking anybody, and without a look at the secret."""
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
        shape, ConnectionProbe(credential.token_url), reason=reason, life=_life(claims), claims=claims, skew=skew
    )


def _life(claims: Mapping[str, Any]) -> float:
    """Seconds from the token's begin to its end; endless where it does not say."""
    begins, ends = claims.get("iat"), claims.get("exp")
    return float(ends - begins) if isinstance(begins, int | float) and isinstance(ends, int | float) else float("inf")


async def _bounded(work: Coroutine[Any, Any, None]) -> None:
    """What cannot be found out stays open; a defect is told by the loop."""
    try:
        async with asyncio.timeout(LONGEST):
            await work
    except (OSError, ValueError, GatewayError):  # TimeoutError and ssl.SSLError are OSErrors
        return


def _load_recheck() -> ModuleType:
    """Only a gateway in trouble needs it: it brings cryptography."""
    from gateway.checks import recheck  # noqa: PLC0415 - see above

    return recheck
