"""Sends a document to one hook. No redirect is followed, and no error names the URL: it is a secret."""

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress

import aiohttp
import msgspec

from gateway import __version__
from gateway.config.issue import SecretProblem
from gateway.config.notify_model import NotifySettings
from gateway.config.secrets import SecretReader
from gateway.content.untrusted_text import DEFAULT_PORTS, read_url
from gateway.network.dial import CannotConnect, EgressProxy, Step
from gateway.network.egress_proxy import ProxyEnvironment, UnusableProxy
from gateway.network.http_request import ResponseTooLarge, read_body, send_http_request
from gateway.system.files import in_thread
from gateway.wiring.outbound import EgressSelector, TlsContexts

ATTEMPTS = 3
PAUSES = (1.0, 5.0)
"""Seconds before the second and the third attempt."""
MAX_RESPONSE = 4096
_STEPS: dict[Step, str] = {
    "name": "the host name does not resolve",
    "connect": "no connection",
    "tunnel": "the egress proxy refuses the tunnel",
    "TLS": "the TLS handshake failed",
}


class HookFailed(Exception):
    """The hook did not take a notification; the text is the cause. `is_final`: another attempt does not help."""

    def __init__(self, reason: str, *, is_final: bool = False) -> None:
        super().__init__(reason)
        self.is_final = is_final


class HookClient:
    """The client of one hook."""

    def __init__(self, settings: NotifySettings, secrets: SecretReader, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._secrets = secrets
        self._environ = environ
        self._contexts = TlsContexts()

    async def send(self, document: Mapping[str, object]) -> None:
        """Send a document, again if that may help. Raise HookFailed."""
        body = msgspec.json.encode(document)
        for pause in (*PAUSES, None):
            try:
                await self._attempt(body)
            except HookFailed as failure:
                if failure.is_final or pause is None:
                    raise
                await asyncio.sleep(pause)
            else:
                return

    async def _attempt(self, body: bytes) -> None:
        try:
            url, tls, proxy = await in_thread(self._load, owner=self)
            status = await self._post(body, url, tls, proxy)
        except SecretProblem as problem:
            raise HookFailed(str(problem)) from problem
        except TimeoutError as cause:
            raise HookFailed("no response in time") from cause
        except CannotConnect as cause:
            is_untrusted = isinstance(cause.__cause__, ssl.SSLCertVerificationError)
            reason = "the certificate is not trusted" if is_untrusted else _STEPS[cause.step]
            raise HookFailed(f"cannot connect: {reason}") from cause
        except (aiohttp.ClientError, OSError, ValueError, UnusableProxy) as cause:  # their texts may contain the URL
            raise HookFailed(f"the exchange failed ({type(cause).__name__})") from cause
        if not 200 <= status < 300:
            is_final = status < 500 and status not in {408, 429}
            redirected = "; redirects are not followed" if 300 <= status < 400 else ""
            raise HookFailed(f"the hook answers {status}{redirected}", is_final=is_final)

    def _load(self) -> tuple[str, ssl.SSLContext | None, EgressProxy | None]:
        """Read the URL and the files of an attempt; blocks."""
        settings = self._settings
        url = self._secrets.read(settings.url).get_secret_value().strip()
        parts = read_url(url)
        if parts is None or not parts.host or parts.scheme not in DEFAULT_PORTS:
            raise SecretProblem(f"the secret `{settings.url.target}` is not an http or https URL", "write the URL")
        egress = EgressSelector(ProxyEnvironment.from_environ(self._environ), self._secrets)
        load_proxy = egress.proxy_loader(url, settings.proxy, settings.tls, self._contexts)
        tls = self._contexts.context(settings.tls) if parts.scheme == "https" else None
        return url, tls, None if load_proxy is None else load_proxy()

    async def _post(self, body: bytes, url: str, tls: ssl.SSLContext | None, proxy: EgressProxy | None) -> int:
        fields = {"Content-Type": "application/json", "User-Agent": f"oic-gateway/{__version__}"}
        async with send_http_request(
            "POST",
            url,
            headers=fields,
            body=body,
            tls=tls,
            proxy=proxy,
            timeout=aiohttp.ClientTimeout(total=self._settings.timeout),
        ) as response:
            with suppress(aiohttp.ClientError, OSError, TimeoutError, ResponseTooLarge):
                await read_body(response, MAX_RESPONSE)  # some servers cancel their work if the client leaves earlier
            return response.status  # it decides, also if the body cannot be read
