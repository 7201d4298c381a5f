"""The backend of the console: answers from the processes that serve callers, and what the admin port's own process
keeps: series, live calls, reloads.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import Any

from gateway.admin.backend import AdminBackend
from gateway.admin.console_backend import (
    ActionResult,
    ConfigurationBlock,
    ConfigurationView,
    ConsoleBackend,
    InviteResult,
    OpenInvite,
    Series,
    SeriesQuery,
    SignInResponse,
    SignInResult,
    TokenClaims,
    TokenFetch,
)
from gateway.config.load import Loaded
from gateway.config.model import Config
from gateway.config.resolved import services_by_origin
from gateway.content.untrusted_text import read_origin
from gateway.diagnosis.finding import Finding, failed_finding
from gateway.history.interface import SearchResult
from gateway.history.query import HistoryQuery
from gateway.history.usage_query import UsageQuery, UsageReport
from gateway.observe.call_feed import CallFeed
from gateway.observe.log import log_event
from gateway.observe.time_series import TimeSeries
from gateway.observe.time_slices import run_in_slices
from gateway.server.configuration_view import configuration_blocks, reload_outcome
from gateway.server.process_console import Operation
from gateway.server.reload_report import ReloadReport
from gateway.server.reloader import Reloader
from gateway.server.serving_processes import NoAnswer, ServingProcesses
from gateway.system.files import in_thread
from gateway.wiring.fetch_log import KEPT_FETCHES

log = logging.getLogger("gateway.server.console")

SAMPLE_INTERVAL = 1.0
"""Seconds between two samples of the counters."""
SAMPLE_BACKOFF = 20.0
"""The next sample waits this many times as long as the last one took, as with thousands of routes."""
ACTION_TIMEOUT = 60.0
CHECK_TIMEOUT = 90.0
NO_ANSWER = "no process that serves callers answers"
_NO_ANSWER_REMEDY = "Try again in a moment; if it lasts, look at the workers on the overview and at the log."


class ConsoleData(ConsoleBackend):
    """The backend of one gateway, from its construction inside the loop to `close`."""

    def __init__(self, admin: AdminBackend, processes: ServingProcesses, reloader: Reloader, config: Config) -> None:
        self._admin = admin
        self._processes = processes
        self._reloader = reloader
        self._blocks: tuple[Loaded, tuple[ConfigurationBlock, ...]] | None = None
        self._series = TimeSeries()
        self._feed = CallFeed(lambda is_watched: processes.watch_records(self._feed, is_watched=is_watched))
        self.apply_config(config)
        self._sampler = asyncio.create_task(self._sample_repeatedly())

    def apply_config(self, config: Config) -> None:
        """Use another configuration."""
        self._series.configure(service_names(config))

    async def close(self) -> None:
        """Stop sampling."""
        self._sampler.cancel()
        await asyncio.wait({self._sampler})

    # The admin port ---------------------------------------------------------------------------------------------------

    async def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Return whether requests can be served, and the document."""
        return await self._admin.readiness()

    async def liveness(self) -> tuple[bool, dict[str, Any]]:
        """Return whether callers can connect, and the document."""
        return await self._admin.liveness()

    async def metrics(self) -> list[bytes]:
        """Return the current Prometheus text in chunks."""
        return await self._admin.metrics()

    async def status(self) -> dict[str, Any]:
        """Return the document of `/status`."""
        return await self._admin.status()

    async def instances(self, query: HistoryQuery) -> SearchResult:
        """Return the newest calls that match the query."""
        return await self._admin.instances(query)

    async def usage(self, query: UsageQuery) -> UsageReport:
        """Return the calls and messages that the query groups."""
        return await self._admin.usage(query)

    # Reading ----------------------------------------------------------------------------------------------------------

    async def credential_claims(self, name: str) -> TokenClaims | None:
        """Return the claims of the token that expires last: without a store each process has its own."""
        answers: list[TokenClaims | None] = await self._processes.ask_all("claims", name)
        return max(
            (claims for claims in answers if claims is not None), key=lambda one: one.expires_at or 0.0, default=None
        )

    async def token_fetches(self, name: str) -> Sequence[TokenFetch]:
        """Return the last token requests of all processes."""
        answers: list[list[TokenFetch]] = await self._processes.ask_all("fetches", name)
        fetches = [fetch for answer in answers for fetch in answer]
        return sorted(fetches, key=lambda fetch: fetch.at, reverse=True)[:KEPT_FETCHES]

    async def series(self, query: SeriesQuery) -> Series:
        """Return one series."""
        return self._series.read(query, time.time())

    def watch_calls(self) -> AsyncGenerator[Sequence[bytes], None]:
        """Yield the records of calls as they end."""
        return self._feed.watch()

    async def configuration(self) -> ConfigurationView:
        """Return the configuration in use."""
        loaded, last = self._reloader.loaded, self._reloader.last
        if self._blocks is None or self._blocks[0] is not loaded:
            self._blocks = loaded, await in_thread(partial(configuration_blocks, loaded), owner=self)
        return ConfigurationView(
            files=tuple(file.path for file in loaded.files),
            blocks=self._blocks[1],
            loaded_at=self._reloader.loaded_at,
            last_reload=None if last is None else reload_outcome(last),
        )

    # Acting -----------------------------------------------------------------------------------------------------------

    async def check_credential(self, name: str) -> Sequence[Finding]:
        """Check one credential in one process."""
        return await self._check("check_credential", name, f"credential {name}")

    async def check_route(self, name: str) -> Sequence[Finding]:
        """Check one route in one process."""
        return await self._check("check_route", name, f"route {name}")

    async def renew_token(self, name: str) -> ActionResult:
        """Renew a token in one process, and let all others use it."""
        try:
            result, token = await self._processes.ask_one("renew", name, within=ACTION_TIMEOUT)
        except NoAnswer:
            return ActionResult(ok=False, message=NO_ANSWER, remedy=_NO_ANSWER_REMEDY)
        if token is not None:
            await self._processes.ask_all("adopt", name, token)
        assert isinstance(result, ActionResult)
        return result

    async def sign_out(self, name: str) -> ActionResult:
        """Sign a credential out in one process, and let all others forget its token."""
        try:
            result = await self._processes.ask_one("sign_out", name, within=ACTION_TIMEOUT)
        except NoAnswer:
            return ActionResult(ok=False, message=NO_ANSWER, remedy=_NO_ANSWER_REMEDY)
        await self._processes.ask_all("forget", name)
        assert isinstance(result, ActionResult)
        return result

    async def complete_sign_in(self, name: str, response: SignInResponse) -> SignInResult:
        """Complete a sign-in in one process, and let all use its token in place of that of another account."""
        try:
            result, token = await self._processes.ask_one("complete_sign_in", name, response, within=ACTION_TIMEOUT)
        except NoAnswer:
            return SignInResult(
                failed_finding("out-of-time", f"credential {name}", NO_ANSWER, remedy=_NO_ANSWER_REMEDY)
            )
        if token is not None:
            await self._processes.ask_all("forget", name)
            await self._processes.ask_all("adopt", name, token)
        assert isinstance(result, SignInResult)
        return result

    async def create_invite(self, name: str, invited_by: str) -> InviteResult:
        """Make an invite in the store of the processes."""
        try:
            result = await self._processes.ask_one("create_invite", name, invited_by, within=ACTION_TIMEOUT)
        except NoAnswer:
            return InviteResult(ActionResult(ok=False, message=NO_ANSWER, remedy=_NO_ANSWER_REMEDY))
        assert isinstance(result, InviteResult)
        return result

    async def find_invite(self, token_hash: str) -> OpenInvite | ActionResult:
        """Find an invite in the store of the processes."""
        return await self._ask_invite("find_invite", token_hash)

    async def redeem_invite(self, token_hash: str) -> OpenInvite | ActionResult:
        """Redeem an invite in the store of the processes."""
        return await self._ask_invite("redeem_invite", token_hash)

    async def close_breaker(self, service: str) -> ActionResult:
        """Close the circuit of a service."""
        was_open = await self._processes.close_circuit(service)
        if was_open is None:
            return ActionResult(ok=False, message=f"there is no service {service}", remedy="Check the name.")
        message = "is closed; calls are sent again" if was_open else "was not open"
        return ActionResult(ok=True, message=f"the circuit of {service} {message}")

    async def reload(self) -> ActionResult:
        """Reload the configuration."""
        return _reload_result(await self._reloader.reload("console"))

    async def _ask_invite(self, operation: Operation, token_hash: str) -> OpenInvite | ActionResult:
        try:
            answer = await self._processes.ask_one(operation, token_hash, within=ACTION_TIMEOUT)
        except NoAnswer:
            return ActionResult(ok=False, message=NO_ANSWER, remedy=_NO_ANSWER_REMEDY)
        assert isinstance(answer, OpenInvite | ActionResult)
        return answer

    async def _check(self, operation: Operation, name: str, subject: str) -> list[Finding]:
        try:
            findings: list[Finding] = await self._processes.ask_one(operation, name, within=CHECK_TIMEOUT)
        except NoAnswer:
            return [failed_finding("out-of-time", subject, NO_ANSWER, remedy=_NO_ANSWER_REMEDY)]
        return findings

    async def _sample_repeatedly(self) -> None:
        clock = asyncio.get_running_loop().time
        due = clock()
        while True:
            started_at = clock()
            try:
                if (snapshot := await self._processes.sample()) is not None:
                    await run_in_slices(self._series.add_in_pieces(time.time(), snapshot))
            except Exception as error:  # noqa: BLE001 - a defect must not end the series; it is logged
                log_event(log, logging.ERROR, "console-failed", "cannot sample the counters", exc=error)
            ended_at = clock()
            due = max(due + SAMPLE_INTERVAL, ended_at + SAMPLE_BACKOFF * (ended_at - started_at))
            await asyncio.sleep(due - ended_at)


def service_names(config: Config) -> dict[str, str]:
    """Return, by route, the name of its service."""
    services = services_by_origin(config)
    named = ((route.name, services.get(read_origin(route.upstream) or "")) for route in config.routes)
    return {route: service[0] for route, service in named if service is not None}


def _reload_result(report: ReloadReport) -> ActionResult:
    details = [*report.difference.lines(), *map(str, report.problems)]
    if report.restart_needed:
        details.append(f"a restart is needed for {', '.join(report.restart_needed)}")
    details += [f"sign in again: {name}" for name in report.difference.sign_in]
    remedy = "" if report.is_ok else "Correct the file, and reload again."
    return ActionResult(ok=report.is_ok, message=report.message, remedy=remedy, details=tuple(details))
