"""What token sources and the resolver of names report, passed on to the metrics and the log."""

import logging
import time
from collections.abc import Iterator
from typing import Any

from gateway.network.resolver import StaleServing
from gateway.observe.log import log_event
from gateway.observe.metrics import Metrics

log = logging.getLogger("gateway.token")
names_log = logging.getLogger("gateway.names")


class TokenEventReporter:
    """Watches one credential's source."""

    def __init__(self, credential: str, metrics: Metrics) -> None:
        self._credential = credential
        self._meter = metrics.token(credential)

    def fetched(self, result: str, seconds: float) -> None:
        """A token request ended."""
        self._meter.fetched(result, seconds)

    def renewed(self, expires_in_s: float) -> None:
        """A new token is there."""
        self._meter.expiry = time.time() + expires_in_s
        log_event(
            log,
            logging.INFO,
            "token-renewed",
            f"a token for {self._credential}",
            credential=self._credential,
            expires_in_s=round(expires_in_s, 1),
        )

    def refresh_token_not_stored(self, why: str) -> None:
        """A new refresh token cannot be kept for now."""
        log_event(
            log,
            logging.ERROR,
            "refresh-token-unkept",
            f"the new refresh token of {self._credential} cannot be kept, and is tried again each second: {why}",
            credential=self._credential,
        )

    def coalesced(self) -> None:
        """A caller waits for another's fetch."""
        self._meter.coalesced += 1

    def replayed(self) -> None:
        """A caller got another token for its refused one."""
        self._meter.replays += 1

    def failed(self, code: str, reason: str, remedy: str, *, permanent: bool) -> None:
        """A token request failed; an error where someone must act."""
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
    """Logs that the last good addresses of a name serve, or that it can be looked up again."""
    name, addresses = change.name, change.addresses
    if change.error:
        message = f"cannot look up {name}: {change.error}; its last good addresses serve. Check the name servers"
        log_event(names_log, logging.WARNING, "name-stale", message, name=name, addresses=addresses)
    else:
        answer = (
            "can be looked up again" if addresses else "does not exist any more, its last good addresses are dropped"
        )
        log_event(names_log, logging.INFO, "name-resolved", f"{name} {answer}", name=name, addresses=addresses)


def gauges(credential: str, status: dict[str, Any]) -> Iterator[tuple[str, tuple[str, ...], float]]:
    """What a source's `status` says in numbers, for `Metrics.watch_tokens`."""
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
