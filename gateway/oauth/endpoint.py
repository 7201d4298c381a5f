"""The HTTP call to a token endpoint: no connection reuse, no redirects, no cookies. Translates errors of aiohttp."""

import ssl
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import aiohttp

from gateway.content.redaction import safe_text
from gateway.errors import TokenRefused, TokenUnavailable
from gateway.network.dial import EgressProxy
from gateway.network.http_failure import HTTP_FAILURES, describe_failure
from gateway.network.http_request import read_body, send_http_request
from gateway.oauth.grants import TokenRequest, TokenResponse, read_revocation, read_token_response
from gateway.system.files import in_thread

MAX_RESPONSE = 256 * 1024

T = TypeVar("T")


class TokenEndpoint:
    """Sends token requests.

    `timeout` (seconds) bounds the whole exchange, `connect_timeout` the connection. `tls` returns the context that
    verifies the server's certificate and presents the client's (RFC 8705); `proxy` returns the egress proxy with its
    present password. Both are called in a thread for each exchange, since they may read files.
    """

    def __init__(
        self,
        *,
        timeout: float = 10.0,
        connect_timeout: float = 5.0,
        tls: Callable[[], ssl.SSLContext] = ssl.create_default_context,
        proxy: Callable[[], EgressProxy] | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._timeout = aiohttp.ClientTimeout(total=timeout, connect=connect_timeout)
        self._tls = tls
        self._proxy = proxy
        self._wall = wall

    async def __call__(self, request: TokenRequest) -> TokenResponse:
        """Send one request and return its token; follow no redirect, so that the secret reaches no other host. Raises
        TokenRefused or TokenUnavailable.
        """
        status, headers, body = await self._send("POST", request)
        try:
            return read_token_response(
                status,
                headers,
                body,
                now=self._wall(),
                secret_texts=request.secret_texts,
                wanted_resource=request.wanted_resource,
            )
        except (TokenRefused, TokenUnavailable) as error:
            error.response_status = status
            raise

    async def revoke(self, request: TokenRequest) -> None:
        """Send a revocation (`authorization.revocation_request`). Raise as a token request does."""
        status, headers, body = await self._send("POST", request)
        read_revocation(status, headers, body, secret_texts=request.secret_texts)

    async def get(self, url: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Return status and body of a document that the server of the token endpoint offers, such as its metadata.
        Raise TokenUnavailable.
        """
        status, _, body = await self._send("GET", TokenRequest(url, headers=dict(headers), body=b""))
        return status, body

    async def post(self, request: TokenRequest) -> tuple[int, bytes]:
        """Send one request as `__call__` does, and return status and body of the response. Raise TokenUnavailable."""
        status, _, body = await self._send("POST", request)
        return status, body

    async def _send(self, method: str, request: TokenRequest) -> tuple[int, dict[str, str], bytes]:
        is_tls = request.url.lower().startswith("https:")
        tls = await self._read("certificate", self._tls) if is_tls else None
        proxy = await self._read("secret", self._proxy) if self._proxy is not None else None
        try:
            return await self._exchange(method, request, tls, proxy)
        except HTTP_FAILURES as cause:
            raise _unavailable(cause) from cause

    async def _read(self, code: str, read: Callable[[], T]) -> T:
        """Return the result of `read`, which reads files, in a thread. Raise TokenUnavailable with `code`."""
        try:
            return await in_thread(read, owner=self)
        except (OSError, ValueError) as cause:  # ssl.SSLError is an OSError
            raise TokenUnavailable(reason=f"{code}: {safe_text(str(cause), limit=400)}") from cause

    async def _exchange(
        self, method: str, request: TokenRequest, tls: ssl.SSLContext | None, proxy: EgressProxy | None
    ) -> tuple[int, dict[str, str], bytes]:
        async with send_http_request(
            method,
            request.url,
            headers=request.headers,
            body=request.body or None,
            tls=tls,
            proxy=proxy,
            timeout=self._timeout,
        ) as response:
            try:
                return response.status, dict(response.headers), await read_body(response, MAX_RESPONSE)
            except HTTP_FAILURES as cause:
                raise _unavailable(cause, response.status) from cause


def _unavailable(cause: Exception, status: int | None = None) -> TokenUnavailable:
    error = TokenUnavailable(reason=describe_failure(cause, key="token_url", limit=MAX_RESPONSE))
    error.response_status = status
    return error
