"""The sandbox: one listener on loopback that serves the identity domain and the OIC instance."""

import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from email.utils import formatdate
from types import TracebackType
from typing import Self

from aiohttp import HttpVersion11, web

from gateway.sandbox.access_tokens import shared_key
from gateway.sandbox.clients import DEFAULT_ID, DEFAULT_USER, RegisteredClient, User, default_clients, default_users
from gateway.sandbox.http_messages import Hangup, IncomingRequest, SandboxResponse, not_found
from gateway.sandbox.identity_domain_server import AUTHORIZE_PATH, REVOKE_PATH, TOKEN_PATH, IdentityDomain
from gateway.sandbox.instance import PROJECT_PATH, REST_PATH, SOAP_PATH, Instance
from gateway.sandbox.journal import Call, Journal, SecretCall, TokenCall
from gateway.sandbox.refusing_proxy import SandboxEgressProxy
from gateway.sandbox.run_limits import RunLimits
from gateway.sandbox.scope_check import API, AUDIENCE, OTHER_AUDIENCE, TRIGGER
from gateway.sandbox.switches import Switches

_HAS_TYPE = web.ResponseKey("has_type", bool)
_SHUTDOWN_SECONDS = 0.2  # a request that waits for a gate must not delay the end of a test


class Sandbox:
    """An identity domain and an OIC instance on one port: `async with Sandbox() as sandbox`.

    `clients` and `users` are added to the default ones, or replace those of the same name, and may be changed at any
    time; `now` returns Unix seconds; with `ssl_context`, or the switch `certificate`, it uses TLS and accepts client
    certificates that the context requests. `scope` and `api_scope` are the two scopes of the instance, `other_scope` is
    that of another instance, whose token this one refuses; `token_requests` and `calls` record what arrived.
    """

    def __init__(
        self,
        *,
        switches: Switches | None = None,
        clients: Mapping[str, RegisteredClient] | None = None,
        users: Mapping[str, User] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        now: Callable[[], float] = time.time,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.switches = switches or Switches()
        self.clients: dict[str, RegisteredClient] = {**default_clients(), **(clients or {})}
        self.users: dict[str, User] = {**default_users(), **(users or {})}
        self.scope = AUDIENCE + TRIGGER
        self.api_scope = AUDIENCE + API
        self.other_scope = OTHER_AUDIENCE + TRIGGER
        self._address = (host, port)
        self._clock = now
        self._ssl_context = ssl_context
        clock, key = self._now, shared_key()
        self._identity = IdentityDomain(self.clients, self.switches, users=self.users, key=key, now=clock)
        self._instance = Instance(self.clients, self.switches, verify=self._identity.verify, now=clock)
        self._runner: web.AppRunner | None = None
        self._egress: SandboxEgressProxy | None = None
        self.ca = ""
        """The authority of its certificate in PEM, if the switch `certificate` publishes it; else empty."""

    @property
    def origin(self) -> str:
        """Return scheme, host and port, like `http://127.0.0.1:8181`."""
        return self._instance.origin

    @property
    def design_origin(self) -> str:
        """Return the origin of the design host, which serves the developer API."""
        return self._instance.design_origin()

    @property
    def token_url(self) -> str:
        """Return the URL of the token endpoint."""
        return self.origin + TOKEN_PATH

    @property
    def authorize_url(self) -> str:
        """Return the URL of the authorization endpoint."""
        return self.origin + AUTHORIZE_PATH

    @property
    def revoke_url(self) -> str:
        """Return the URL of the revocation endpoint."""
        return self.origin + REVOKE_PATH

    @property
    def egress_url(self) -> str:
        """Return the URL of the egress proxy of the switch `egress_proxy`; empty without one."""
        return self._egress.url if self._egress is not None else ""

    @property
    def client_id(self) -> str:
        """Return the id of the default client."""
        return DEFAULT_ID

    @property
    def client_secret(self) -> str:
        """Return the current secret of the default client."""
        return self.clients[DEFAULT_ID].secret

    @property
    def token_requests(self) -> Journal[TokenCall]:
        """Return what the token endpoint received."""
        return self._identity.token_requests

    @property
    def secret_requests(self) -> Journal[SecretCall]:
        """Return the requests for new client secrets."""
        return self._identity.administration.secret_requests

    @property
    def run_limits(self) -> RunLimits:
        """Return the counters of runs at once."""
        return self._instance.limits

    @property
    def calls(self) -> Journal[Call]:
        """Return what the OIC instance received."""
        return self._instance.calls

    def upstream(self, code: str, *, project: str = "") -> str:
        """Return the base URL of a REST trigger, with a slash at its end."""
        path = PROJECT_PATH if project else REST_PATH
        return self.origin + path.format(code=code, project=project) + "/"

    def soap_upstream(self, code: str = "HELLO") -> str:
        """Return the URL of a SOAP trigger, with a slash at its end."""
        return self.origin + SOAP_PATH.format(code=code) + "/"

    def mint(
        self,
        client_id: str = DEFAULT_ID,
        *,
        audience: str | list[str] = AUDIENCE,
        scope: str = TRIGGER,
        lifetime: int | None = None,
    ) -> str:
        """Return a signed token without a token request; `lifetime` in seconds, by default the switch."""
        return self._identity.mint(client_id, audience=audience, scope=scope, lifetime=lifetime)

    def mint_refresh(self, client_id: str = DEFAULT_ID, *, user: str = DEFAULT_USER, scope: str = "") -> str:
        """Return a refresh token without a sign-in; `scope` is by default that of the triggers."""
        return self._identity.signins.create_refresh_token(client_id, user, scope or f"{self.scope} offline_access")

    def revoke_signins(self) -> None:
        """Refuse every code and refresh token issued so far; access tokens stay valid."""
        self._identity.signins.revoke_all()

    def rotate_secret(self, secret: str, *, client_id: str = DEFAULT_ID) -> None:
        """Give a client a new secret; the old one is refused from now on, its tokens stay valid."""
        self.clients[client_id] = replace(self.clients[client_id], secret=secret)

    def revoke_all(self) -> None:
        """Make the OIC instance refuse every token issued so far with 401."""
        self._identity.revoke_all()

    async def start(self) -> None:
        """Listen. Raise OSError if the address is not available."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        app.on_response_prepare.append(_remove_default_fields)
        runner = web.AppRunner(
            app,
            access_log=None,
            auto_decompress=False,  # the flows see the bytes that were sent
            max_line_size=1 << 16,
            max_field_size=1 << 16,
            shutdown_timeout=_SHUTDOWN_SECONDS,
        )
        await runner.setup()
        self._runner = runner
        host, port = self._address
        self._prepare_tls()
        try:
            await web.TCPSite(runner, host, port, ssl_context=self._ssl_context).start()
            await self._start_egress(host)
        except OSError:
            await self.stop()
            raise
        name = f"[{host}]" if ":" in host else host
        scheme = "http" if self._ssl_context is None else "https"
        self._instance.origin = self._identity.origin = f"{scheme}://{name}:{runner.addresses[0][1]}"
        self._instance.token_url = self.token_url

    async def stop(self) -> None:
        """Close the listeners and all connections."""
        if self._egress is not None:
            self._egress.stop()
        if self._runner is not None:
            await self._runner.cleanup()

    def _prepare_tls(self) -> None:
        if self.switches.certificate:
            from gateway.sandbox.certificates import server_context  # noqa: PLC0415 - few want one, and x509 is large

            self._ssl_context, self.ca = server_context(self.switches.certificate)

    async def _start_egress(self, host: str) -> None:
        if self.switches.egress_proxy:
            self._egress = await SandboxEgressProxy(self.switches.egress_proxy).start(host)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _now(self) -> float:
        return self._clock() + self.switches.clock_offset

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        date = ("Date", formatdate(self._now(), usegmt=True))
        try:
            response = await self._answer(request)
            response.headers.insert(0, date)
            return await _send(request, response)
        except Hangup as hangup:
            return _hang_up(request, is_reset=hangup.is_reset)

    async def _answer(self, request: web.Request) -> SandboxResponse:
        target = request.raw_path
        body = request.content.iter_any()
        if not target.startswith("/ic/"):
            incoming = _incoming(request, aiter(body), _certificate(request))
            return await self._identity.answer(incoming) if self._identity.handles(incoming.path) else not_found()
        call = Call(self._now(), request.method, target, request.raw_headers)
        self._instance.calls.add(call)
        incoming = _incoming(request, call.watch(aiter(body)))
        response = await self._instance.answer(incoming, call)
        call.status = response.status
        return response


def _incoming(request: web.Request, body: AsyncIterator[bytes], certificate: bytes = b"") -> IncomingRequest:
    return IncomingRequest(request.method, request.raw_path, request.headers, request.raw_headers, body, certificate)


def _certificate(request: web.Request) -> bytes:
    tls = request.transport and request.transport.get_extra_info("ssl_object")
    return (tls.getpeercert(binary_form=True) or b"") if tls else b""


async def _remove_default_fields(_request: web.Request, response: web.StreamResponse) -> None:
    # aiohttp adds both by itself; the head of a real OIC response has them only if the flow wrote them.
    response.headers.pop("Server", None)
    if not response.get(_HAS_TYPE):
        response.headers.pop("Content-Type", None)


async def _send(request: web.Request, response: SandboxResponse) -> web.StreamResponse:
    if isinstance(response.body, bytes):
        complete = web.Response(status=response.status, headers=response.headers, body=response.body)
        complete[_HAS_TYPE] = _has_type(response)
        return complete
    if response.ends_by_close:
        return await _send_until_close(request, response)
    is_chunked = response.length is None and request.version >= HttpVersion11
    framing = [("Transfer-Encoding", "chunked")] if is_chunked else []
    date, *headers = response.headers
    stream = web.StreamResponse(status=response.status, headers=[date, *framing, *headers])
    stream[_HAS_TYPE] = _has_type(response)
    stream.content_length = response.length
    if is_chunked:
        stream.enable_chunked_encoding()
    await stream.prepare(request)
    if request.method != "HEAD":  # aiohttp would write the body of a stream even then
        await _write_stream(response.body, stream)
    await stream.write_eof()
    return stream


async def _write_stream(body: AsyncIterator[bytes], response: web.StreamResponse) -> None:
    async for piece in body:
        if piece:
            await response.write(piece)


def _has_type(response: SandboxResponse) -> bool:
    return any(name == "Content-Type" for name, _ in response.headers)


async def _send_until_close(request: web.Request, response: SandboxResponse) -> web.StreamResponse:
    transport = request.transport
    if transport is not None and not isinstance(response.body, bytes):
        fields = "".join(f"{name}: {value}\r\n" for name, value in response.headers)
        transport.write(f"HTTP/1.1 {response.status} OK\r\n{fields}\r\n".encode())
        async for piece in response.body:
            transport.write(piece)
    return _hang_up(request, is_reset=False)


def _hang_up(request: web.Request, *, is_reset: bool) -> web.StreamResponse:
    """Close the connection. aiohttp requires a response, but never writes it to a closed connection."""
    transport = request.transport
    if transport is not None:
        raw = transport.get_extra_info("socket")
        if is_reset and raw is not None:
            with suppress(OSError):
                # Lingering for no time makes the close a reset.
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        transport.close()
    return web.Response()
