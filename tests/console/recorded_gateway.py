"""A backend of the console that answers with documents which a real gateway sent to the sandbox's calls."""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gateway.admin.console_backend import (
    ActionResult,
    ConfigurationBlock,
    ConfigurationView,
    InviteResult,
    OpenInvite,
    ReloadOutcome,
    Series,
    SeriesQuery,
    SignInResponse,
    SignInResult,
    TokenClaims,
    TokenFetch,
)
from gateway.diagnosis.finding import Finding
from gateway.history.interface import SearchResult
from gateway.history.query import HistoryQuery, filter_lines, newest_lines
from gateway.history.usage_query import PackAllowance, UsageGroup, UsageQuery, UsageReport

FOLDER = Path(__file__).parent / "recorded"
NOW = 1796034827.0
"""The time at which the documents were recorded."""

ORDERS_APP = """\
orders-app:
  grant: client_credentials
  client_id: sandbox-app
  client_secret:
    env: OIC_SANDBOX_SECRET
"""


def recorded_status() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((FOLDER / "status.json").read_text(encoding="utf-8"))
    return document


def recorded_calls() -> tuple[bytes, ...]:
    return tuple((FOLDER / "calls.jsonl").read_bytes().splitlines(keepends=True))


def recorded_series(step: int = 1, intervals: int = 120) -> Series:
    """Two minutes of a route: ten calls a second, one error of the upstream in every fifth second."""
    times = tuple(NOW - (intervals - index) * step for index in range(intervals))
    return Series(
        step=1 if step == 1 else 10,
        times=times,
        seconds=(float(step),) * intervals,
        calls=(10 * step,) * intervals,
        errors={"upstream": tuple(int(index % 5 == 0) for index in range(intervals))},
        p50_ms=(12.0,) * intervals,
        p95_ms=(40.5,) * intervals,
        p99_ms=(88.0,) * intervals,
        in_flight=(2,) * intervals,
    )


def recorded_usage(query: UsageQuery, name: str) -> UsageReport:
    groups = {
        "route": (
            UsageGroup(name, 1200, 1250, "2026-11-30T09", 800),
            UsageGroup("hello", 40, 40, "2026-11-30T10", 40),
        ),
        "caller": (UsageGroup("erp", 1100, 1150, "2026-11-30T09", 700), UsageGroup("", 140, 140, "2026-11-30T10", 90)),
        "service": (UsageGroup("acme", 1240, 1290, "2026-11-30T09", 840),),
        "hour": (UsageGroup("2026-11-30T09", 900, 940, "", 0), UsageGroup("2026-11-30T10", 340, 350, "", 0)),
    }
    services = (UsageGroup("acme", 1240, 1290, "2026-11-30T09", 9400),)
    return UsageReport(query, groups[query.by], services, {"acme": PackAllowance(2, "included", 10_000)}, "file")


def recorded_configuration() -> ConfigurationView:
    main, team = "/etc/oic-gateway/gateway.yaml", "/etc/oic-gateway/teams/erp.yaml"
    blocks = (
        ConfigurationBlock("listen", main, 1, "listen: 127.0.0.1:8080\n"),
        ConfigurationBlock("credentials.orders-app", main, 4, ORDERS_APP),
        ConfigurationBlock("credentials.finance-clerk", main, 12, "finance-clerk:\n  grant: authorization_code\n"),
        ConfigurationBlock("callers.erp", team, 2, "erp:\n  basic:\n    username: erp\n"),
        ConfigurationBlock("defaults", team, 7, "defaults:\n  credential: orders-app\n"),
        ConfigurationBlock("routes.orders", team, 9, "orders:\n  path: /orders/\n  callers:\n  - erp\n  - lab\n"),
    )
    outcome = ReloadOutcome(NOW - 3600, ok=True, message="configuration reloaded", changed=("routes.orders",))
    return ConfigurationView((main, team), blocks, NOW - 7200, outcome)


@dataclass(slots=True)
class RecordedGateway:
    """Answers as the gateway did; a test replaces single answers."""

    status_document: dict[str, Any] = field(default_factory=recorded_status)
    calls: tuple[bytes, ...] = field(default_factory=recorded_calls)
    claims: TokenClaims | None = None
    fetches: Sequence[TokenFetch] = ()
    one_series: Series = field(default_factory=recorded_series)
    configuration_view: ConfigurationView = field(default_factory=recorded_configuration)
    metrics_text: bytes = field(default_factory=(FOLDER / "metrics.txt").read_bytes)
    usage_name: str = "orders"
    batches: Sequence[Sequence[bytes]] = ()
    feed: asyncio.Queue[Sequence[bytes]] | None = None
    result: ActionResult = field(default_factory=lambda: ActionResult(ok=True, message="done"))
    findings: Sequence[Finding] = ()

    async def readiness(self) -> tuple[bool, dict[str, Any]]:
        return True, {"state": "ready"}

    async def liveness(self) -> tuple[bool, dict[str, Any]]:
        return True, {"state": "alive"}

    async def metrics(self) -> list[bytes]:
        return [self.metrics_text]

    async def status(self) -> dict[str, Any]:
        return self.status_document

    async def instances(self, query: HistoryQuery) -> SearchResult:
        lines = newest_lines(filter_lines(query, self.calls), query.limit)
        return SearchResult(tuple(lines), len(self.calls), "memory")

    async def usage(self, query: UsageQuery) -> UsageReport:
        return recorded_usage(query, self.usage_name)

    async def credential_claims(self, name: str) -> TokenClaims | None:
        return self.claims

    async def token_fetches(self, name: str) -> Sequence[TokenFetch]:
        return self.fetches

    async def series(self, query: SeriesQuery) -> Series:
        return replace(self.one_series, step=query.step)

    async def watch_calls(self) -> AsyncGenerator[Sequence[bytes], None]:
        for batch in self.batches:
            yield batch
        while self.feed is not None:
            yield await self.feed.get()

    async def check_credential(self, name: str) -> Sequence[Finding]:
        return self.findings

    async def check_route(self, name: str) -> Sequence[Finding]:
        return self.findings

    async def renew_token(self, name: str) -> ActionResult:
        return self.result

    async def sign_out(self, name: str) -> ActionResult:
        return self.result

    async def complete_sign_in(self, name: str, response: SignInResponse) -> SignInResult:
        return SignInResult(Finding(ok=True, subject=f"credential {name}", seen="signed in as jdoe"), "jdoe")

    async def create_invite(self, name: str, invited_by: str) -> InviteResult:
        return InviteResult(self.result, f"https://gateway-admin.example.com/console/invite/{'aB3_-' * 8}xyz")

    async def find_invite(self, token_hash: str) -> OpenInvite | ActionResult:
        return OpenInvite("finance-clerk", "ann")

    async def redeem_invite(self, token_hash: str) -> OpenInvite | ActionResult:
        return OpenInvite("finance-clerk", "ann")

    async def close_breaker(self, service: str) -> ActionResult:
        return self.result

    async def reload(self) -> ActionResult:
        return self.result

    async def configuration(self) -> ConfigurationView:
        return self.configuration_view
