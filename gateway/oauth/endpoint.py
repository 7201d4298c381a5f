"""The HTTP call to a token endpoint. Nothing of it is reused, followed or remembered; strangers' errors end here."""

import asyncio
import ssl
import time
from collections.abc import Callable

import aiohttp

from gateway.errors import TokenUnavailable
from gateway.oauth.grants import TokenReply, TokenRequest, read_reply, read_revocation, safe_text

MAX_REPLY = 256 * 1024

# First match wins. Texts are ours: those of most aiohttp errors may quote the reply, and so a token.
_TROUBLE: tuple[tuple[type[Exception], str, str], ...] = (
    (aiohttp.ClientConnectorCertificateError, "tls-trust", "the certificate is not trusted"),
    (aiohttp.ClientSSLError, "tls", "the TLS handshake failed"),
    (aiohttp.ClientProxyConnectionError, "proxy", "the egress proxy cannot be reached"),
    (aiohttp.ClientHttpProxyError, "proxy", "the egress proxy refuses the tunnel"),
    (aiohttp.ClientConnectorDNSError, "dns", "the host name does not resolve"),
    (aiohttp.ConnectionTimeoutError, "timeout", "no connection in time"),
    (TimeoutError, "timeout", "no complete answer in time"),
    (aiohttp.InvalidURL, "url", "`token_url` is not a usable URL"),
    (aiohttp.NonHttpUrlClientError, "url", "`token_url` is not an http or https URL"),
    (aiohttp.ClientConnectorError, "connect", "no connection"),
    (aiohttp.ClientPayloadError, "broken", "the answer ended too soon"),
    (aiohttp.ServerDisconnectedError, "broken", "the connection closed without an answer"),
    (aiohttp.ClientResponseError, "broken", "the answer is not HTTP"),
    (OSError, "network", "the connection failed"),
    (aiohttp.ClientError, "broken", "the exchange failed"),
    (ValueError, "request", "the request cannot be sent"),
)
_KINDS = tuple(kind for kind, _, _ in _TROUBLE)


def open_session() -> aiohttp.ClientSession:
    """The session for all token endpoints, to be made inside the loop and closed by its maker.

    No connection is used twice: a POST on one that the identity domain is closing fails, and may not be repeated. No
    cookie is kept, no variable of the environment is read.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(force_close=True, limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    )


class TokenEndpoint:
    """Sends token requests: awaited with a TokenRequest, gives a TokenReply or raises TokenRefused/TokenUnavailable.

    `timeout` (seconds) bounds the whole exchange, `connect_timeout` its connection. `tls`, called in a thread for each
    exchange since it may read files, gives the context that checks the certificate and shows ours (RFC 8705); None:
    the system's authorities. `proxy` is the URL of an egress proxy; `proxy_auth`, called likewise, gives its
    Proxy-Authorization field, or nothing.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        timeout: float = 10.0,
        connect_timeout: float = 5.0,
        tls: Callable[[], ssl.SSLContext] | None = None,
        proxy: str | None = None,
        proxy_auth: Callable[[], str] | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._session = session
        self._timeout = aiohttp.ClientTimeout(total=timeout, connect=connect_timeout)
        self._tls = tls
        self._proxy = proxy
        self._proxy_auth = proxy_auth if proxy else None
        self._wall = wall

    async def __call__(self, request: TokenRequest) -> TokenReply:
        """One exchange: no redirect is followed, so the secret reaches no other host; at most 256 KiB are read."""
        status, headers, body = await self._posted(request)
        return read_reply(status, headers, body, now=self._wall(), hidden=request.hidden, wanted=request.wanted)

    async def revoke(self, request: TokenRequest) -> None:
        """The same for a `grants.revocation`; returns when the token is revoked."""
        status, headers, body = await self._posted(request)
        read_revocation(status, headers, body, hidden=request.hidden)

    async def _posted(self, request: TokenRequest) -> tuple[int, dict[str, str], bytes]:
        tls, proxy_head = await self._context(), await self._proxy_head()
        try:
            return await self._exchange(request, tls, proxy_head)
        except _KINDS as cause:
            raise TokenUnavailable(reason=_reason(cause)) from cause

    async def _context(self) -> ssl.SSLContext | None:
        if self._tls is None:
            return None
        try:
            return await asyncio.to_thread(self._tls)
        except (OSError, ValueError) as cause:  # ssl.SSLError is an OSError
            raise TokenUnavailable(reason=f"certificate: {safe_text(str(cause), limit=400)}") from cause

    async def _proxy_head(self) -> dict[str, str]:
        if self._proxy_auth is None:
            return {}
        try:
            authorization = await asyncio.to_thread(self._proxy_auth)
        except (OSError, ValueError) as cause:
            raise TokenUnavailable(reason=f"secret: {safe_text(str(cause), limit=400)}") from cause
        return {"Proxy-Authorization": authorization} if authorization else {}

    async def _exchange(
        self, request: TokenRequest, tls: ssl.SSLContext | None, proxy_head: dict[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        tunnelled = request.url.lower().startswith("https:")
        async with self._session.post(
            request.url,
            data=request.body,
            headers=request.headers if tunnelled else request.headers | proxy_head,
            allow_redirects=False,
            timeout=self._timeout,
            ssl=tls or True,
            proxy=self._proxy,
            proxy_headers=proxy_head if tunnelled else None,
        ) as reply:
            return reply.status, dict(reply.headers), await _bounded(reply)


async def _bounded(reply: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in reply.content.iter_any():
        body += chunk
        if len(body) > MAX_REPLY:
            raise TokenUnavailable(reason="unreadable: the answer is longer than 256 KiB")
    return bytes(body)


def _reason(cause: Exception) -> str:
    code, text = next((code, text) for kind, code, text in _TROUBLE if isinstance(cause, kind))
    detail = ""
    if isinstance(cause, aiohttp.ClientConnectorCertificateError):
        detail = getattr(cause.certificate_error, "verify_message", "")
    elif isinstance(cause, aiohttp.ClientConnectorError):
        detail = cause.os_error.strerror or ""
    elif isinstance(cause, aiohttp.ClientOSError):
        detail = cause.strerror or ""
    elif isinstance(cause, aiohttp.ClientHttpProxyError):
        detail = str(cause.status)
    return f"{code}: {text} ({safe_text(detail)})" if detail else f"{code}: {text}"
