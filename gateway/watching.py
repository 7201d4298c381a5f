"""What a token source tells, passed on to the metrics and the log."""

import logging
import time

from gateway.observe.log import say
from gateway.observe.metrics import Metrics

log = logging.getLogger("gateway.token")


class Watcher:
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
        say(
            log,
            logging.INFO,
            "token-renewed",
            f"a token for {self._credential}",
            credential=self._credential,
            expires_in_s=round(expires_in_s, 1),
        )

    def failed(self, code: str, reason: str, remedy: str) -> None:
        """A token request failed."""
        say(
            log,
            logging.WARNING,
            "token-failed",
            f"no token for {self._credential}: {reason}",
            credential=self._credential,
            code=code,
            remedy=remedy,
        )
