"""Connections of aiohttp's client that `dial` makes."""

import asyncio
import socket
import ssl

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.tracing import Trace

from gateway.network.dial import CannotConnect, EgressProxy, Origin, connect


class DialingConnector(aiohttp.BaseConnector):
    """Connects with `network.dial`, as routes do: aiohttp would resolve names itself, and cannot use TLS to a proxy on
    every event loop.

    No connection is reused: a POST on a connection that the server is closing fails, and must not be repeated.
    """

    def __init__(self, tls: ssl.SSLContext | None, proxy: EgressProxy | None) -> None:
        super().__init__(force_close=True, limit=0)
        self._tls = tls
        self._proxy = proxy

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own signature
    ) -> ResponseHandler:
        del traces, timeout  # the caller bounds the time
        host, port, proxy = req.url.raw_host or "", req.url.port or 0, self._proxy
        if proxy is None or self._tls is not None:
            return await connect(Origin(host, port, self._tls, proxy), self._handler)
        try:  # plain http needs no tunnel: the proxy gets the request, with the absolute URL
            return await connect(Origin(proxy.host, proxy.port, proxy.tls, None), self._handler)
        except CannotConnect as error:
            raise CannotConnect(error.step, error.cause, is_proxy=True) from error.__cause__

    def _handler(self, _: socket.socket) -> ResponseHandler:
        return ResponseHandler(asyncio.get_running_loop())
