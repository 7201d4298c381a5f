"""Sends exports to one URL of a collector, by OTLP over HTTP (protobuf), and sends them again where that may help."""

import asyncio
import gzip
import logging
import random
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import NamedTuple

import aiohttp

from gateway import __version__
from gateway.network.dial import CannotConnect, EgressProxy
from gateway.network.http_request import ResponseTooLarge, read_body, send_http_request
from gateway.observe.log import log_event
from gateway.system.files import in_thread
from gateway.telemetry.export_counters import ExportCounters
from gateway.telemetry.export_policy import MAX_RETRY_TIME, ExportResult, result_of_status, retry_pause

log = logging.getLogger("gateway.telemetry")

MAX_RESPONSE = 64 * 1024
CONTENT_TYPE = "application/x-protobuf"
_FAILURES = (CannotConnect, aiohttp.ClientError, OSError, ValueError)


class ExportCredentials(NamedTuple):
    """What files and secrets give to one attempt."""

    headers: Mapping[str, str]
    tls: ssl.SSLContext | None
    proxy: EgressProxy | None


class OtlpClient:
    """Exports one signal to `url`.

    `load` reads the present secrets and certificates, in a thread, before each attempt; it may raise OSError or
    ValueError. `read_response` reads the body of a success: the number of rejected items, and a text. No connection is
    kept: exports are rare. Failures are logged once until an export succeeds again.
    """

    def __init__(
        self,
        signal: str,
        url: str,
        *,
        load: Callable[[], ExportCredentials],
        read_response: Callable[[bytes], tuple[int, str]],
        timeout: float,
        is_compressed: bool,
        counters: ExportCounters,
        random_fraction: Callable[[], float] = random.random,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._is_compressed = is_compressed
        self.is_closing = asyncio.Event()
        self._signal = signal
        self._url = url
        self._load = load
        self._read_response = read_response
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._counters = counters
        counters.add_signal(signal)
        self._random_fraction = random_fraction
        self._now = now
        self._sleep = sleep
        self._is_down = False
        self._not_before = 0.0

    def pack(self, request: bytes) -> bytes:
        """Return the body of an export; takes long, therefore in a thread."""
        return gzip.compress(request, compresslevel=3, mtime=0) if self._is_compressed else request

    async def export(self, body: bytes) -> ExportResult:
        """Send an export until the collector takes it, or refuses it, or for `MAX_RETRY_TIME`; during a stop only
        once. Never raise.
        """
        failures, began = 0, self._now()
        while True:
            if (wait := self._not_before - self._now()) > 0:
                await self._pause(wait)
            result = await self._send(body)
            if result.outcome != "retry":
                break
            failures += 1
            self._report_failure(result)
            now, pause = self._now(), retry_pause(failures, result, self._random_fraction())
            self._not_before = now + pause  # for the next export, too
            if self.is_closing.is_set() or now - began + pause > MAX_RETRY_TIME:
                break
        self._report(result)
        return result

    async def _pause(self, seconds: float) -> None:
        """Wait this time, or until a stop begins."""
        waits = {asyncio.ensure_future(self._sleep(seconds)), asyncio.create_task(self.is_closing.wait())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _send(self, body: bytes) -> ExportResult:
        try:
            credentials = await in_thread(self._load, owner=self)
            status, retry_after, answer = await self._post(body, credentials)
        except TimeoutError:
            return ExportResult("retry", reason="no response in time")
        except _FAILURES as error:
            return ExportResult("retry", reason=_failure_text(error))
        if _is_success(status):
            try:
                rejected, text = self._read_response(answer)
            except ValueError:  # it took the export, whatever it wrote about it
                return ExportResult("ok")
            return ExportResult("partial" if rejected else "ok", rejected, text)
        return result_of_status(status, retry_after, now=time.time())

    async def _post(self, body: bytes, credentials: ExportCredentials) -> tuple[int, str | None, bytes]:
        """Exchange one request and response. The body is that of a success, empty if it is too large or cut off: the
        collector has taken the export by then.
        """
        headers, tls, proxy = credentials
        sent = {"User-Agent": f"oic-gateway/{__version__}", "Content-Type": CONTENT_TYPE, **headers}
        if self._is_compressed:
            sent["Content-Encoding"] = "gzip"
        async with send_http_request(
            "POST", self._url, headers=sent, body=body, tls=tls, proxy=proxy, timeout=self._timeout
        ) as response:
            answer = b""
            if _is_success(response.status):
                with suppress(aiohttp.ClientError, OSError, TimeoutError, ResponseTooLarge):
                    answer = await read_body(response, MAX_RESPONSE)
            return response.status, response.headers.get("Retry-After"), answer

    def _report(self, result: ExportResult) -> None:
        """Count the end of an export, and log what changed."""
        self._counters.exports[self._signal, "failed" if result.outcome == "retry" else result.outcome] += 1
        if result.outcome == "refused":
            self._report_failure(result)
        elif result.outcome != "retry":
            if self._is_down:
                log_event(log, logging.INFO, "telemetry-up", f"{self._signal} are exported again", signal=self._signal)
            self._is_down = False
        if result.outcome == "partial":
            message = f"the collector rejected a part of the {self._signal}: {result.reason}"
            log_event(
                log, logging.WARNING, "telemetry-rejected", message, signal=self._signal, rejected=result.rejected
            )

    def _report_failure(self, result: ExportResult) -> None:
        """Log the first failure after a success."""
        if not self._is_down:
            message = f"cannot export {self._signal}: {result.reason}. Check `telemetry` and the collector"
            log_event(log, logging.WARNING, "telemetry-down", message, signal=self._signal, url=self._url)
        self._is_down = True


def _is_success(status: int) -> bool:
    """Return whether a status means that the collector took the export. OTLP demands 200; some backends send 202 or
    204, and the SDKs of OpenTelemetry accept them too.
    """
    return 200 <= status < 300


def _failure_text(error: Exception) -> str:
    """Return a text without what a server wrote: aiohttp's own texts may quote a response."""
    if isinstance(error, CannotConnect):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "the exchange failed" if isinstance(error, aiohttp.ClientError) else str(error)
