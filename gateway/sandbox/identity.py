"""The identity domain: token endpoint, discovery document and signing keys."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from gateway.sandbox.arrivals import Arrival, TooLarge
from gateway.sandbox.budget import Budget
from gateway.sandbox.client_auth import Presented, Refused, authenticated, presented
from gateway.sandbox.clients import Client
from gateway.sandbox.journal import Journal, TokenRequest
from gateway.sandbox.keys import SigningKey
from gateway.sandbox.replies import Fields, Hangup, Reply, json_reply
from gateway.sandbox.scopes import AUDIENCE, TRIGGER, Granted, InvalidScope, judge_scope
from gateway.sandbox.switches import Switches
from gateway.sandbox.tokens import ISSUER, make_claims, write_lifetime

TOKEN_PATH = "/oauth2/v1/token"

_KNOWN_GRANTS = frozenset(
    {
        "client_credentials",
        "password",
        "authorization_code",
        "refresh_token",
        "tls_client_auth",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
    }
)
_SECRET_PARAMETERS = frozenset(
    {"client_secret", "client_assertion", "assertion", "password", "refresh_token", "code", "code_verifier"}
)
_NO_STORE: Fields = [("Cache-Control", "no-store"), ("Pragma", "no-cache")]
_UNAVAILABLE = b'{"error":"server_error","error_description":"The service is not available"}'
_JSON: Fields = [("Content-Type", "application/json")]

# Replies that a gateway must survive: switch → status, header fields, body.
_FAULTS: dict[str, tuple[int, Fields, bytes]] = {
    "empty": (200, _JSON, b""),
    "html": (200, [("Content-Type", "text/html")], b"<!DOCTYPE html><title>Sign in</title><p>Please sign in."),
    "truncated": (200, _JSON, b'{"access_token":"eyJ4NXQjUzI1NiI6'),
    "no-token": (200, _JSON, b'{"token_type":"Bearer","expires_in":3600}'),
    "400": (400, _JSON, b'{"error":"invalid_request","error_description":"The request is not valid"}'),
    "429": (429, _JSON, b'{"error":"too_many_requests","error_description":"Too many requests"}'),
    "500": (500, _JSON, _UNAVAILABLE),
    "503": (503, [("Content-Type", "text/html")], b"<html><h1>Service Unavailable</h1></html>"),
}


class IdentityDomain:
    """Knows the clients, issues and remembers tokens."""

    def __init__(
        self, clients: dict[str, Client], switches: Switches, *, key: SigningKey, now: Callable[[], float]
    ) -> None:
        self.clients = clients
        self.token_requests: Journal[TokenRequest] = Journal()
        self.origin = ""
        self._switches = switches
        self._key = key
        self._now = now
        self._budget = Budget()
        self._live: set[str] = set()
        self._paths: dict[str, Callable[[Arrival], Awaitable[Reply]]] = {
            TOKEN_PATH: self._token,
            "/.well-known/openid-configuration": self._discovery,
            "/admin/v1/SigningCert/jwk": self._jwks,
        }

    def is_mine(self, path: str) -> bool:
        """Whether the path belongs to the identity domain."""
        return path in self._paths

    async def answer(self, arrival: Arrival) -> Reply:
        """Answers one request; raises Hangup when the connection is to be closed in place of an answer."""
        reply = await self._paths[arrival.path](arrival)
        reply.headers.append(("X-ORACLE-DMS-ECID", f"{secrets.token_hex(16)},0:1"))
        return reply

    def verify(self, token: str) -> Mapping[str, Any] | None:
        """The claims of a token that this domain issued and has not revoked, else None. Expiry is not judged."""
        claims = self._key.verify(token)
        return claims if claims is not None and claims.get("jti") in self._live else None

    def mint(
        self, client_id: str, *, audience: str | list[str] = AUDIENCE, scope: str = TRIGGER, lifetime: int | None = None
    ) -> str:
        """Issues a token without anybody asking; `lifetime` in seconds, by default the switch."""
        seconds = self._switches.token_lifetime if lifetime is None else lifetime
        claims = make_claims(client_id, audience, scope=scope, issued=self._now(), lifetime=seconds)
        self._live.add(claims["jti"])
        return self._key.sign(claims)

    def revoke_all(self) -> None:
        """Refuses every token issued so far from now on."""
        self._live.clear()

    async def _token(self, arrival: Arrival) -> Reply:
        if arrival.method != "POST":
            return json_reply(405, {"error": "invalid_request", "error_description": "POST only"}, [("Allow", "POST")])
        entry = TokenRequest(at=self._now())
        try:
            form = await _form(arrival)
            shown = presented(arrival.headers.get("Authorization"), form)
        except Refused as refused:
            self.token_requests.add(entry)
            return _refusal(refused, entry)
        entry.client_id, entry.client_auth = shown.client_id, shown.how
        entry.form = {name: value for name, value in form.items() if name not in _SECRET_PARAMETERS}
        self.token_requests.add(entry)
        await self._wait()
        reply = self._faulty(entry.at) or self._issue(shown, form, entry)
        entry.status = reply.status
        return reply

    async def _wait(self) -> None:
        gate = self._switches.token_gate
        if gate is not None:
            await gate.wait()
        if self._switches.token_delay:
            await asyncio.sleep(self._switches.token_delay)

    def _faulty(self, arrived: float) -> Reply | None:
        switches = self._switches
        kind: str = switches.token_fault
        if kind == "outage":
            raise Hangup
        if not self._budget.admits(
            arrived, per_second=switches.token_budget_per_second, per_minute=switches.token_budget_per_minute
        ):
            kind = "429"
        if not kind:
            return None
        status, headers, body = _FAULTS[kind]
        retry_after = [("Retry-After", switches.token_retry_after)] if switches.token_retry_after else []
        return Reply(status, [*headers, *(retry_after if status in {429, 503} else [])], body)

    def _issue(self, shown: Presented, form: Mapping[str, str], entry: TokenRequest) -> Reply:
        try:
            client = authenticated(shown, self.clients)
            _check_grant(form.get("grant_type"), client)
            granted = judge_scope(form.get("scope", ""), client.scopes)
        except InvalidScope as refused:
            return _refusal(Refused("invalid_scope", str(refused)), entry)
        except Refused as refused:
            return _refusal(refused, entry)
        answers = self._answers(shown.client_id, granted)
        return json_reply(200, {"tokenResponses": answers} if granted.is_multiple else answers[0], _NO_STORE)

    def _answers(self, client_id: str, granted: Granted) -> list[dict[str, Any]]:
        lifetime = min(self._switches.token_lifetime, granted.expiry or self._switches.token_lifetime)
        # One token per resource in a multi-resource reply; a bare permission gives one token for all audiences.
        groups: list[tuple[tuple[str, ...], tuple[str, ...]]]
        if granted.is_multiple:
            groups = [((audience,), permissions) for audience, permissions in granted.resources.items()]
        else:
            groups = [(tuple(granted.resources), next(iter(granted.resources.values())))]
        return [self._one(client_id, audiences, " ".join(permissions), lifetime) for audiences, permissions in groups]

    def _one(self, client_id: str, audiences: tuple[str, ...], scope: str, lifetime: int) -> dict[str, Any]:
        is_list = self._switches.audience_as_list or len(audiences) > 1
        token = self.mint(
            client_id, audience=list(audiences) if is_list else audiences[0], scope=scope, lifetime=lifetime
        )
        return {
            "access_token": token,
            "token_type": "Bearer",
            **write_lifetime(lifetime, self._switches.expires_in),
        }

    async def _discovery(self, _arrival: Arrival) -> Reply:
        return json_reply(
            200,
            {
                "issuer": ISSUER,
                "token_endpoint": self.origin + TOKEN_PATH,
                "jwks_uri": self.origin + "/admin/v1/SigningCert/jwk",
                "grant_types_supported": sorted(_KNOWN_GRANTS),
                "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            },
        )

    async def _jwks(self, _arrival: Arrival) -> Reply:
        if not self._switches.jwks_open:
            return json_reply(401, {"status": "401", "detail": "You are not authorized to access the resource."})
        return json_reply(200, self._key.jwks())


async def _form(arrival: Arrival) -> dict[str, str]:
    media_type = arrival.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media_type != "application/x-www-form-urlencoded":
        raise Refused("invalid_request", "The body must be form-urlencoded")
    try:
        pairs = parse_qsl((await arrival.read(1 << 16)).decode())
    except (TooLarge, UnicodeDecodeError) as cause:
        raise Refused("invalid_request", "The body is not readable") from cause
    form = dict(pairs)
    if len(form) != len(pairs):  # RFC 6749 section 3.2
        raise Refused("invalid_request", "A parameter was sent more than once")
    return form


def _check_grant(grant: str | None, client: Client) -> None:
    if grant is None:
        raise Refused("invalid_request", "The parameter grant_type is missing")
    if grant not in _KNOWN_GRANTS:
        raise Refused("unsupported_grant_type", "The grant type is not supported")
    if grant != "client_credentials" or grant not in client.grants:
        raise Refused("unauthorized_client", "The client is not authorized to use this grant type")


def _refusal(refused: Refused, entry: TokenRequest) -> Reply:
    entry.status = refused.status
    challenge = [("WWW-Authenticate", 'Basic realm="idcs"')] if refused.status == 401 else []
    content = {"error": refused.error, "error_description": refused.description}
    return json_reply(refused.status, content, [*_NO_STORE, *challenge])
