"""Read secrets of HashiCorp Vault, and log in to it. `vault_protocol` decides what is sent and what it means."""

import asyncio
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.config.issue import SecretProblem, StoreFailure
from gateway.config.secret_cache import SecretCache, SecretVersion
from gateway.config.strict_model import SecretRef, VaultRef
from gateway.config.vault_model import VaultAuthSettings, VaultSettings
from gateway.config.vault_protocol import (
    RETRIES,
    ClientToken,
    LoginRefused,
    VaultRequest,
    VaultResponse,
    login_request,
    login_secret,
    lookup_request,
    read_secret,
    read_token,
    renewal_request,
    secret_request,
)

if TYPE_CHECKING:
    from gateway.network.dial import EgressProxy

MAX_RESPONSE = 2 * 1024 * 1024
"""Most bytes of a response: Vault stores at most 1 MiB in one secret."""
RENEWAL_SHARE = 0.5
"""A token is replaced, or renewed, when this share of its lifetime has passed."""
LOGIN_INTERVAL = 60.0
"""Seconds until a refused login is repeated with the same secret: Vault locks out who repeats it too often."""


@dataclass(slots=True)
class _Session:
    """A token, the secret that it was obtained with, and the time for its renewal; None: it has no end. `refusal` is
    set if Vault did not confirm the token of the operator: it may be invalid, or must not ask for its own lifetime.
    """

    token: ClientToken = field(repr=False)
    proof: str = field(repr=False)
    renew_at: float | None
    refusal: StoreFailure | None = None


@dataclass(slots=True)
class _RefusedLogin:
    """A refused login, which is not repeated with the same secret before `until`."""

    failure: StoreFailure
    proof: str = field(repr=False)
    until: float


class HashiCorpVault(SecretCache[VaultRef]):
    """Secrets of the KV engine by reference.

    `read_reference` reads the secret of the login, `tls` returns the context for an https URL and `proxy` the egress
    proxy, if there is one. They are called in the thread of a read, since they may read files.
    """

    transient_remedy = RETRIES

    def __init__(
        self,
        settings: VaultSettings,
        *,
        read_reference: Callable[[SecretRef], str],
        tls: Callable[[], ssl.SSLContext],
        proxy: "Callable[[], EgressProxy | None]" = lambda: None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(settings.refresh, now)
        self._settings = settings
        self._read_reference = read_reference
        self._tls = tls
        self._proxy = proxy
        self._session: _Session | None = None
        self._refused: _RefusedLogin | None = None

    def describe(self, key: VaultRef) -> str:
        """Return the name of the secret in a message."""
        return f"the field `{key.field}` of the secret `{key.mount or self._settings.mount}/{key.path}` of Vault"

    def group(self, key: VaultRef) -> str:
        """Return the name of the server, of which there is one."""
        del key
        return self._settings.url or ""

    def retrieve(self, key: VaultRef) -> SecretVersion:
        """Read the value of the field and the version of the secret. Raise StoreFailure."""
        return asyncio.run(self._retrieve_bounded(key))

    async def _retrieve_bounded(self, key: VaultRef) -> SecretVersion:
        try:
            async with asyncio.timeout(self._settings.timeout):
                return await self._retrieve(key)
        except TimeoutError:
            what = f"is not available now (no answer within {self._settings.timeout:g} s)"
            raise StoreFailure(what, RETRIES, is_transient=True) from None

    async def _retrieve(self, key: VaultRef) -> SecretVersion:
        auth = self._settings.auth
        if self._settings.url is None or auth is None:
            raise StoreFailure("cannot be read", "set `vault.url` and `vault.auth`", is_shared=True)
        try:
            proof = self._read_reference(login_secret(auth))
        except SecretProblem as problem:
            what = f"cannot be read: {problem.what}"
            raise StoreFailure(what, problem.remedy, is_shared=True) from None
        session, is_new = self._session, False
        if session is None or session.proof != proof or self._is_due(session):
            session, is_new = await self._open_session(auth, proof), True
        request = secret_request(self._settings, key, session.token.value)
        response = await self._send(request)
        if response.status == 403 and not is_new and not await self._is_valid(session):
            session = await self._open_session(auth, proof)
            request = secret_request(self._settings, key, session.token.value)
            response = await self._send(request)
        if response.status == 403 and session.refusal is not None:
            raise session.refusal.copy()
        value, version, written_at = read_secret(request, response, key, self._settings)
        return SecretVersion(value.encode(), version, written_at)

    def _is_due(self, session: _Session) -> bool:
        return session.renew_at is not None and self._now() >= session.renew_at

    async def _is_valid(self, session: _Session) -> bool:
        """Return whether Vault accepts the token: a 403 may also be due to a missing policy."""
        return (await self._send(lookup_request(self._settings, session.token.value))).status == 200

    async def _open_session(self, auth: VaultAuthSettings, proof: str) -> _Session:
        """Log in, or find the lifetime of the operator's token. Raise StoreFailure."""
        self._session, refused = None, self._refused
        if refused is not None and refused.proof == proof and self._now() < refused.until:
            raise refused.failure.copy()
        try:
            token, refusal = await self._log_in(auth, proof), None
        except LoginRefused as failure:
            if auth.token is None:
                self._refused = _RefusedLogin(failure.copy(), proof, self._now() + LOGIN_INTERVAL)
                raise
            token, refusal = ClientToken(proof, 0.0, is_renewable=False), failure.copy()
        renew_at = self._now() + token.lifetime * RENEWAL_SHARE if token.lifetime else None
        self._session = _Session(token, proof, renew_at, refusal)
        return self._session

    async def _log_in(self, auth: VaultAuthSettings, proof: str) -> ClientToken:
        request = login_request(self._settings, auth, proof)
        token = read_token(request, await self._send(request), method=auth.method, proof=proof)
        if auth.token is not None and token.is_renewable:
            request = renewal_request(self._settings, proof)
            with suppress(LoginRefused):  # it has reached its longest lifetime, and is valid until then
                return read_token(request, await self._send(request), method=auth.method, proof=proof)
        return token

    async def _send(self, request: VaultRequest) -> VaultResponse:
        """Send a request on a connection of its own; follow no redirect, because the header fields are secret. Raise
        StoreFailure.
        """
        import aiohttp  # noqa: PLC0415 - only where a secret is in Vault

        from gateway.network.http_failure import HTTP_FAILURES, describe_failure  # noqa: PLC0415
        from gateway.network.http_request import read_body, send_http_request  # noqa: PLC0415

        try:
            async with send_http_request(
                request.method,
                request.url,
                headers=request.headers,
                body=request.body,
                tls=self._tls() if request.url.lower().startswith("https:") else None,
                proxy=self._proxy(),
                timeout=aiohttp.ClientTimeout(),  # the whole read has a limit
            ) as response:
                body = await read_body(response, MAX_RESPONSE)
                return VaultResponse(response.status, body, response.headers.get("Location", ""))
        except SecretProblem as problem:  # the password of the egress proxy
            raise StoreFailure(f"cannot be read: {problem.what}", problem.remedy, is_shared=True) from None
        except HTTP_FAILURES as cause:
            reason = describe_failure(cause, key="vault.url", limit=MAX_RESPONSE).partition(": ")[2]
            what = f"cannot be read: {reason}"
            raise StoreFailure(what, "check `vault.url` and the network path to Vault", is_transient=True) from None
