"""The listeners of one process: watches their certificates, and reports connections that end before a request.

A certificate is read again when one of its files changes, and at each reload. New handshakes use the new one; open
connections keep theirs. If the files cannot be used, this is reported, and the former certificate stays in use.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

from gateway.config.listen_model import ListenSettings, ListenTls
from gateway.config.resolved import configured_host
from gateway.config.secrets import SecretReader
from gateway.content.untrusted_text import read_ip_address
from gateway.http.caller_listener import CallerListener
from gateway.http.open_connection import PrefaceFailure
from gateway.observe.episodes import EventDeduplicator
from gateway.observe.log import log_event
from gateway.observe.timestamp import timestamp
from gateway.system.files import in_thread
from gateway.wiring.listener_certificates import ListenerCertificate, load_listener_certificate

log = logging.getLogger("gateway.connections")

CHECK_INTERVAL = 2.0
"""Seconds between two checks of the files of certificates."""
EXPIRES_SOON = 14 * 86400.0
"""Seconds before its expiry at which a certificate is reported."""


@dataclass(slots=True)
class _OpenListener:
    listener: CallerListener
    settings: ListenSettings
    certificate: ListenerCertificate | None = None
    fingerprint: Hashable = None
    problem: str | None = None
    is_reported: bool = False
    """The log has a line about the expiry of this certificate."""
    failures: Counter[PrefaceFailure] = field(default_factory=Counter)


class CallerListeners:
    """The listeners of this process, from `open` to `stop`. `secrets` returns the present reader of secrets."""

    def __init__(self, secrets: Callable[[], SecretReader]) -> None:
        self._secrets = secrets
        self._open: dict[CallerListener, _OpenListener] = {}
        self._watcher: asyncio.Task[None] | None = None
        self._episodes = EventDeduplicator(asyncio.get_running_loop().time)

    async def open(self, settings: Sequence[ListenSettings], addresses: Sequence[str]) -> list[CallerListener]:
        """Return the listeners of these bound addresses. Raise OSError if a certificate cannot be used."""
        for entry, address in zip(settings, addresses, strict=True):
            host = configured_host(entry.address)
            listener = CallerListener(address, host, is_tls=entry.tls is not None, is_balancer=_balancer_check(entry))
            opened = _OpenListener(listener, entry)
            if entry.tls is not None:
                try:
                    await self._read(opened, entry.tls)
                except OSError as error:
                    raise OSError(f"cannot serve TLS on {address}: {error}") from error
            self._open[opened.listener] = opened
        if any(listener.is_tls for listener in self._open):
            self._watcher = asyncio.create_task(self._watch())
        return [*self._open]

    def apply(self, settings: Sequence[ListenSettings]) -> None:
        """Use other settings for the same listeners, in the same order; their files are read again soon."""
        for opened, entry in zip(self._open.values(), settings, strict=True):
            opened.settings, opened.fingerprint = entry, None
            opened.listener.is_balancer = _balancer_check(entry)
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Stop watching."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait({self._watcher})

    def report_failure(self, reason: PrefaceFailure, listener: CallerListener, peer: str | None, detail: str) -> None:
        """Count a connection that ended before its first request; log the first one of an episode."""
        if listener in self._open:
            self._open[listener].failures[reason] += 1
        # A request in plain HTTP has a record of its own.
        if reason is PrefaceFailure.PLAIN_HTTP or not self._episodes.starts_episode(
            f"{reason.value} {listener.address}"
        ):
            return
        fields = {"listener": listener.address, "client": peer}
        if reason is PrefaceFailure.PROXY_HEADER:
            message = f"a connection of a balancer is refused: {detail}. Enable the PROXY protocol on the balancer"
            log_event(log, logging.WARNING, "proxy-header-refused", message, exc=None, **fields)
        else:
            log_event(log, logging.WARNING, "handshake-failed", f"a TLS handshake failed: {detail}", exc=None, **fields)

    def status(self) -> list[dict[str, Any]]:
        """Return the listeners as `/status` shows them."""
        return [_status(opened) for opened in self._open.values()]

    def metrics(self) -> Iterator[tuple[str, tuple[str, ...], int]]:
        """Yield the numbers for `/metrics`: name, labels, value."""
        for listener, opened in self._open.items():
            if opened.certificate is not None:
                yield "certificate_expiry_timestamp_seconds", (listener.address,), int(opened.certificate.expires_at)
            for reason in PrefaceFailure if listener.has_preface else ():
                yield "connections_failed_total", (listener.address, reason.value), opened.failures[reason]

    # Certificates ---------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        while True:
            for opened in self._open.values():
                if opened.settings.tls is not None:
                    await self._refresh(opened, opened.settings.tls)
                    _report_expiry(opened)
            await asyncio.sleep(CHECK_INTERVAL)

    async def _refresh(self, opened: _OpenListener, tls: ListenTls) -> None:
        """Read the files of a listener again if they have changed."""
        address, before = opened.listener.address, opened.fingerprint
        try:
            if await in_thread(partial(self._secrets().fingerprint, tls), owner=self) == before:
                return
            await self._read(opened, tls)
        except OSError as error:
            if opened.problem != str(error):
                opened.problem = str(error)
                message = f"the certificate of a listener cannot be replaced; the former one stays in use: {error}"
                log_event(log, logging.ERROR, "certificate-refused", message, listener=address)
        else:
            assert opened.certificate is not None
            expires = timestamp(opened.certificate.expires_at)
            message = "the certificate of a listener was read again; new connections use it"
            log_event(log, logging.INFO, "certificate-loaded", message, listener=address, expires=expires)

    async def _read(self, opened: _OpenListener, tls: ListenTls) -> None:
        """Read the files of a listener. Raise OSError, and keep the certificate, if they cannot be used."""
        secrets = self._secrets()
        # The fingerprint comes first, so that a change between the two reads is not missed.
        opened.fingerprint = await in_thread(partial(secrets.fingerprint, tls), owner=self)
        opened.certificate = await in_thread(partial(load_listener_certificate, tls, secrets), owner=self)
        opened.listener.context = opened.certificate.context
        opened.problem, opened.is_reported = None, False


def _balancer_check(settings: ListenSettings) -> Callable[[str], bool] | None:
    """Return a function that returns whether an address is in `proxy_protocol`; None without that setting."""
    networks = settings.proxy_protocol
    if networks is None:
        return None

    @lru_cache(maxsize=1024)
    def is_balancer(address: str) -> bool:
        peer = read_ip_address(address)
        return peer is not None and any(peer in network for network in networks if network.version == peer.version)

    return is_balancer


def _report_expiry(opened: _OpenListener) -> None:
    """Log once that a certificate has expired or expires soon."""
    certificate = opened.certificate
    if certificate is None or opened.is_reported or certificate.expires_at - time.time() > EXPIRES_SOON:
        return
    opened.is_reported = True
    message = "the certificate of a listener expires soon, or has expired; replace its files"
    expires, address = timestamp(certificate.expires_at), opened.listener.address
    log_event(log, logging.WARNING, "certificate-expires", message, listener=address, expires=expires)


def _status(opened: _OpenListener) -> dict[str, Any]:
    certificate = opened.certificate
    listener = opened.listener
    document: dict[str, Any] = {"address": listener.address, "tls": listener.is_tls}
    document["proxy_protocol"] = listener.is_balancer is not None
    if certificate is not None:
        document["certificate"] = {
            "expires_at": int(certificate.expires_at),
            "loaded_at": int(certificate.loaded_at),
            "problem": opened.problem,
        }
    return document
