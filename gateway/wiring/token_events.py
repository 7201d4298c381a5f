"""Reports the events of token sources and of the name resolver to the metrics and the log."""

import logging
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gateway.network.resolver import StaleServing
from gateway.oauth.fetch_events import FetchTrigger
from gateway.oauth.token_source import TokenSource
from gateway.observe.log import log_event
from gateway.observe.metrics import Metrics
from gateway.wiring.fetch_log import FetchLog
from gateway.wiring.telemetry import Telemetry

if TYPE_CHECKING:
    from gateway.telemetry.request_trace import FetchTrace

log = logging.getLogger("gateway.token")
names_log = logging.getLogger("gateway.names")


class TokenEventReporter:
    """Reports the events of one credential's source, also to `fetch_log`."""

    def __init__(
        self, credential: str, token_url: str, metrics: Metrics, telemetry: Telemetry, fetch_log: FetchLog
    ) -> None:
        self._credential = credential
        self._token_url = token_url
        self._meter = metrics.token(credential)
        self._telemetry = telemetry
        self._fetch_log = fetch_log
        self._trace: FetchTrace | None = None

    def start_trace(self) -> str | None:
        """Begin the trace of a fetch, with `telemetry`."""
        tracer = self._telemetry.tracer
        if tracer is None:
            self._trace = None
            return None
        self._trace = tracer.start_fetch(self._credential, self._token_url, time.monotonic())
        return self._trace.link

    def end_trace(self, error: str | None) -> None:
        """Export the trace of a fetch."""
        trace, self._trace = self._trace, None
        if trace is not None and (tracer := self._telemetry.tracer) is not None:
            trace.error = error
            tracer.finish_fetch(trace, time.monotonic())

    def on_fetch_started(self, trigger: FetchTrigger) -> None:
        """Begin an entry of the log of fetches."""
        self._fetch_log.begin(self._credential, trigger)

    def on_fetched(self, result: str, seconds: float, status: int | None) -> None:
        """Count a token request."""
        self._meter.record_fetch(result, seconds)
        if self._trace is not None:
            now = time.monotonic()
            self._trace.add_request(now - seconds, now, result, status)

    def on_renewed(self, expires_in_s: float) -> None:
        """Log a new token."""
        self._fetch_log.end(self._credential)
        self._meter.expiry = time.time() + expires_in_s
        log_event(
            log,
            logging.INFO,
            "token-renewed",
            f"a token for {self._credential}",
            credential=self._credential,
            expires_in_s=round(expires_in_s, 1),
        )

    def on_refresh_token_not_stored(self, why: str) -> None:
        """Log that the store did not accept a new refresh token."""
        log_event(
            log,
            logging.ERROR,
            "refresh-token-unkept",
            f"the store did not accept the new refresh token of {self._credential}; retrying every second: {why}",
            credential=self._credential,
        )

    def on_coalesced(self) -> None:
        """Count a caller that waits for another's fetch."""
        self._meter.coalesced += 1

    def on_retried(self) -> None:
        """Count a call whose refused token was replaced."""
        self._meter.replays += 1

    def on_failed(self, code: str, reason: str, remedy: str, *, permanent: bool) -> None:
        """Log a failed token request; as an error if someone must act."""
        self._fetch_log.end(self._credential, code, reason, refused=permanent)
        log_event(
            log,
            logging.ERROR if permanent else logging.WARNING,
            "token-failed",
            f"no token for {self._credential}: {reason}",
            credential=self._credential,
            code=code,
            remedy=remedy,
        )


def log_stale_serving(change: StaleServing) -> None:
    """Log that the last good addresses of a name are used, or that the name can be resolved again."""
    name, addresses = change.name, change.addresses
    if change.error:
        message = f"cannot resolve {name}: {change.error}; its last good addresses are used. Check the name servers"
        log_event(names_log, logging.WARNING, "name-stale", message, name=name, addresses=addresses)
    else:
        message = "can be resolved again" if addresses else "no longer exists; its last good addresses are dropped"
        log_event(names_log, logging.INFO, "name-resolved", f"{name} {message}", name=name, addresses=addresses)


def credential_gauges(credential: str, source: TokenSource) -> Iterator[tuple[str, tuple[str, ...], float]]:
    """Yield the numbers of a source, for `Metrics.watch_tokens`."""
    status: dict[str, Any] = source.status()
    if source.secret_changed_at is not None:
        yield "secret_changed_timestamp_seconds", (credential,), source.secret_changed_at
    yield "token_state", (credential, status["state"]), 1
    is_failing = status["last_error"] is not None and status["state"] in {"dead", "none"}
    yield "token_failing", (credential,), int(is_failing)
    yield "token_waiters", (credential,), status["waiters"]
    if status["obtained"] is not None:
        yield "token_obtained_timestamp_seconds", (credential,), status["obtained"]
    if (error := status["last_error"]) is not None:
        yield "token_last_error_timestamp_seconds", (credential, error["code"]), error["at"]
    if status["budget_left"] is not None:
        yield "token_budget_left", (credential,), status["budget_left"]
