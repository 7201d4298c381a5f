"""Sends one HTTP request of the gateway itself with aiohttp: to token endpoints, hooks and collectors."""

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp

from gateway.network.dial import EgressProxy
from gateway.network.dialing_connector import DialingConnector


class ResponseTooLarge(Exception):
    """The body of a response is larger than its reader accepts."""


@asynccontextmanager
async def send_http_request(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes | None,
    tls: ssl.SSLContext | None,
    proxy: EgressProxy | None,
    timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - it also bounds the reading of the response
) -> AsyncIterator[aiohttp.ClientResponse]:
    """Send a request on a connection of its own, and yield the response for as long as the block lasts.

    `tls` is the context for an https URL, None for http. No redirect is followed: the header fields may be secret. No
    cookie is kept, and the proxy variables of the environment are not read. Raise CannotConnect, TimeoutError,
    aiohttp.ClientError, OSError or ValueError.
    """
    fields, proxy_url = dict(headers), None
    if proxy is not None and tls is None:
        proxy_url = f"http://{proxy.authority}"  # makes aiohttp send the absolute URL
        fields |= {"Proxy-Authorization": proxy.authorization} if proxy.authorization else {}
    connector, cookies = DialingConnector(tls, proxy), aiohttp.DummyCookieJar()
    async with (
        aiohttp.ClientSession(connector=connector, cookie_jar=cookies, trust_env=False) as session,
        session.request(
            method, url, data=body, headers=fields, allow_redirects=False, timeout=timeout, proxy=proxy_url
        ) as response,
    ):
        yield response


async def read_body(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """Return the whole body of a response, which arrives in any number of pieces. Raise ResponseTooLarge for more than
    `limit` bytes; for a body that ends too soon aiohttp.ClientError, or TimeoutError.
    """
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > limit:
            raise ResponseTooLarge
    return bytes(body)
