"""The identity domain: token, authorization and revocation endpoints, discovery, signing keys, applications."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

from gateway.sandbox.access_tokens import ISSUER, SigningKey, make_claims, write_lifetime
from gateway.sandbox.app_administration import AppAdministration
from gateway.sandbox.client_check import Assertions, ClientCredentials, authenticate, read_credentials
from gateway.sandbox.clients import RegisteredClient, User
from gateway.sandbox.granting import Authorization, Grants, TokenRateLimit
from gateway.sandbox.http_messages import Fields, Hangup, IncomingRequest, SandboxResponse, TooLarge, json_response
from gateway.sandbox.journal import Journal, TokenCall
from gateway.sandbox.oauth_errors import OAuthRefusal, invalid_client
from gateway.sandbox.scope_check import AUDIENCE, TRIGGER, Granted, InvalidScope, check_scope
from gateway.sandbox.sign_in_sessions import Sessions
from gateway.sandbox.switches import Switches

TOKEN_PATH = "/oauth2/v1/token"
AUTHORIZE_PATH = "/oauth2/v1/authorize"
REVOKE_PATH = "/oauth2/v1/revoke"

_REPEATABLE = frozenset({"resource"})  # RFC 8707 section 2
_CLIENT_AUTH = ["client_secret_basic", "client_secret_post", "private_key_jwt", "tls_client_auth", "none"]
_SECRET_PARAMETERS = frozenset(
    {"client_secret", "client_assertion", "assertion", "password", "refresh_token", "code", "code_verifier", "token"}
)
_NO_STORE: Fields = [("Cache-Control", "no-store"), ("Pragma", "no-cache")]
_UNAVAILABLE = b'{"error":"server_error","error_description":"The service is not available"}'
_JSON: Fields = [("Content-Type", "application/json")]

# Responses that a gateway must handle, by the value of the switch: status, header fields, body.
_FAULTS: dict[str, tuple[int, Fields, bytes]] = {
    "empty": (200, _JSON, b""),
    "html": (200, [("Content-Type", "text/html")], b"<!DOCTYPE html><title>Sign in</title><p>Please sign in."),
    "truncated": (200, _JSON, b'{"access_token":"eyJ4NXQjUzI1NiI6'),
    "no-token": (200, _JSON, b'{"token_type":"Bearer","expires_in":3600}'),
    "token-type": (200, _JSON, b'{"access_token":"proof-of-possession","token_type":"DPoP","expires_in":3600}'),
    "redirect": (302, [("Location", "/ui/v1/signin")], b""),
    "400": (400, _JSON, b'{"error":"invalid_request","error_description":"The request is not valid"}'),
    "429": (429, _JSON, b'{"error":"too_many_requests","error_description":"Too many requests"}'),
    "500": (500, _JSON, _UNAVAILABLE),
    "503": (503, [("Content-Type", "text/html")], b"<html><h1>Service Unavailable</h1></html>"),
    **{
        code: (400, _JSON, f'{{"error":"{code}","error_description":"The request is refused"}}'.encode())
        for code in ("unsupported_grant_type", "invalid_target", "access_denied")
    },
}


class IdentityDomain:
    """Knows the clients, issues tokens and stores their ids."""

    def __init__(
        self,
        clients: dict[str, RegisteredClient],
        switches: Switches,
        *,
        users: Mapping[str, User],
        key: SigningKey,
        now: Callable[[], float],
    ) -> None:
        self.clients = clients
        self.signins = Sessions(switches, now=now)
        self.token_requests: Journal[TokenCall] = Journal()
        self.origin = ""
        self._switches = switches
        self._key = key
        self._now = now
        self._users = users
        self._assertions = Assertions(switches, now=now)
        self._grants = Grants(users, switches, assertions=self._assertions, signins=self.signins)
        self._budget = TokenRateLimit()
        self._valid_token_ids: set[str] = set()
        self.administration = AppAdministration(clients, switches, verify=self.verify, now=now)
        self._paths: dict[str, Callable[[IncomingRequest], Awaitable[SandboxResponse]]] = {
            TOKEN_PATH: self._token,
            AUTHORIZE_PATH: self._authorize,
            REVOKE_PATH: self._revoke,
            "/.well-known/openid-configuration": self._discovery,
            "/admin/v1/SigningCert/jwk": self._jwks,
            **self.administration.paths,
        }

    def handles(self, path: str) -> bool:
        """Return whether the path belongs to the identity domain."""
        return path in self._paths

    async def answer(self, request: IncomingRequest) -> SandboxResponse:
        """Answer one request. Raise Hangup if the connection must be closed without a response."""
        response = await self._paths[request.path](request)
        response.headers.append(("X-ORACLE-DMS-ECID", f"{secrets.token_hex(16)},0:1"))
        return response

    def verify(self, token: str) -> Mapping[str, Any] | None:
        """Return the claims of an issued token that was not revoked, else None. Expiry is not checked."""
        claims = self._key.verify(token)
        return claims if claims is not None and claims.get("jti") in self._valid_token_ids else None

    def mint(
        self,
        client_id: str,
        *,
        audience: str | list[str] = AUDIENCE,
        scope: str = TRIGGER,
        lifetime: int | None = None,
        user: str = "",
    ) -> str:
        """Issue a token without a request; `lifetime` in seconds, by default the switch."""
        seconds = self._switches.token_lifetime if lifetime is None else lifetime
        claims = make_claims(client_id, audience, scope=scope, issued=self._now(), lifetime=seconds, user=user)
        self._valid_token_ids.add(claims["jti"])
        return self._key.sign(claims)

    def revoke_all(self) -> None:
        """Refuse every token issued so far."""
        self._valid_token_ids.clear()

    async def _token(self, request: IncomingRequest) -> SandboxResponse:
        if request.method != "POST":
            return _post_only()
        entry = TokenCall(at=self._now())
        try:
            form, credentials = await _read_client_request(request)
        except OAuthRefusal as refused:
            self.token_requests.add(entry)
            return _refusal(refused, entry)
        entry.client_id, entry.client_auth = credentials.client_id, credentials.method
        entry.form = {name: value for name, value in form.items() if name not in _SECRET_PARAMETERS}
        self.token_requests.add(entry)
        await self._wait()
        response = self._fault_response(entry.at) or self._issue(credentials, form, entry)
        entry.status = response.status
        return response

    async def _wait(self) -> None:
        gate = self._switches.token_gate
        if gate is not None:
            await gate.wait()
        if self._switches.token_delay:
            await asyncio.sleep(self._switches.token_delay)

    def _fault_response(self, arrived: float) -> SandboxResponse | None:
        switches = self._switches
        kind: str = switches.token_fault
        if kind in {"outage", "reset"}:
            raise Hangup(is_reset=kind == "reset")
        if not self._budget.admits(
            arrived, per_second=switches.token_budget_per_second, per_minute=switches.token_budget_per_minute
        ):
            kind = "429"
        if not kind:
            return None
        status, headers, body = _FAULTS[kind]
        retry_after = [("Retry-After", switches.token_retry_after)] if switches.token_retry_after else []
        return SandboxResponse(status, [*headers, *(retry_after if status in {429, 503} else [])], body)

    def _issue(self, credentials: ClientCredentials, form: Mapping[str, str], entry: TokenCall) -> SandboxResponse:
        try:
            client = self._authenticated(credentials)
            allowed = self._grants.authorize(form, credentials, client)
            granted = check_scope(allowed.scope, client.scopes)
        except InvalidScope as refused:
            return _refusal(OAuthRefusal("invalid_scope", str(refused)), entry)
        except OAuthRefusal as refused:
            return _refusal(refused, entry)
        responses = self._token_responses(credentials.client_id, granted, allowed.user)
        refresh = self._refresh(credentials.client_id, allowed)
        content = {"tokenResponses": responses} if granted.is_multiple else responses[0]
        return json_response(200, content | refresh, _NO_STORE)

    def _authenticated(self, credentials: ClientCredentials) -> RegisteredClient:
        if self._switches.application == "inactive":
            raise invalid_client()
        return authenticate(credentials, self.clients, verified=self._assertions.check_client)

    def _refresh(self, client_id: str, allowed: Authorization) -> dict[str, Any]:
        if allowed.family is None:
            return {}
        token = self.signins.create_refresh_token(client_id, allowed.user, allowed.scope, family=allowed.family)
        return {"refresh_token": token}

    def _token_responses(self, client_id: str, granted: Granted, user: str) -> list[dict[str, Any]]:
        lifetime = min(self._switches.token_lifetime, granted.expiry or self._switches.token_lifetime)
        # One token per resource in a multi-resource response; a bare permission gives one token for all audiences.
        groups: list[tuple[tuple[str, ...], tuple[str, ...]]]
        if granted.is_multiple:
            groups = [((audience,), permissions) for audience, permissions in granted.resources.items()]
        else:
            groups = [(tuple(granted.resources), next(iter(granted.resources.values())))]
        return [
            self._token_response(client_id, audiences, scope=" ".join(permissions), lifetime=lifetime, user=user)
            for audiences, permissions in groups
        ]

    def _token_response(
        self, client_id: str, audiences: tuple[str, ...], *, scope: str, lifetime: int, user: str
    ) -> dict[str, Any]:
        is_list = self._switches.audience_as_list or len(audiences) > 1
        audience = self._switches.token_audience or (list(audiences) if is_list else audiences[0])
        client_id = self._switches.token_client or client_id
        token = self.mint(client_id, audience=audience, scope=scope, lifetime=lifetime, user=user)
        return {
            "access_token": token,
            "token_type": "Bearer",
            **write_lifetime(lifetime, self._switches.expires_in),
        }

    async def _authorize(self, request: IncomingRequest) -> SandboxResponse:
        """Answer an authorization request (RFC 6749 section 4.1.1). The switch names the user; no page is shown."""
        parameters = request.query
        client = self.clients.get(parameters.get("client_id", ""))
        redirect_uri = parameters.get("redirect_uri", "")
        is_active = client is not None and client.active and self._switches.application == "active"
        if client is None or not is_active or not client.allows_redirect(redirect_uri):
            # Section 4.1.2.1: never redirect to a URL that is not registered.
            return json_response(
                400, {"error": "invalid_request", "error_description": "Unknown client or redirect URI"}
            )
        try:
            outcome = {"code": self._authorization_code(parameters, client)}
        except InvalidScope as refused:
            outcome = {"error": "invalid_scope", "error_description": str(refused)}
        except OAuthRefusal as refused:
            outcome = {"error": refused.error, "error_description": refused.description}
        state = {"state": parameters["state"]} if "state" in parameters else {}
        separator = "&" if "?" in redirect_uri else "?"
        return SandboxResponse(
            302, [("Location", f"{redirect_uri}{separator}{urlencode(outcome | state)}"), *_NO_STORE]
        )

    def _authorization_code(self, parameters: Mapping[str, str], client: RegisteredClient) -> str:
        if parameters.get("response_type") != "code":
            raise OAuthRefusal("unsupported_response_type", "The response type is not supported")
        self._grants.require_enabled("authorization_code", client)
        challenge = parameters.get("code_challenge", "")
        if (challenge and parameters.get("code_challenge_method") != "S256") or (client.is_public and not challenge):
            raise OAuthRefusal("invalid_request", "A code challenge of S256 is needed")
        scope, user = parameters.get("scope", ""), self._switches.signed_in
        check_scope(scope, client.scopes)
        if user not in self._users:
            raise OAuthRefusal("access_denied", "The user did not sign in")
        uri = parameters["redirect_uri"]
        return self.signins.create_code(parameters["client_id"], user, scope, redirect_uri=uri, challenge=challenge)

    async def _revoke(self, request: IncomingRequest) -> SandboxResponse:
        """Answer 200 to an authenticated client, whatever the token was (RFC 7009)."""
        if request.method != "POST":
            return _post_only()
        entry = TokenCall(at=self._now())
        try:
            form, credentials = await _read_client_request(request)
            self._authenticated(credentials)
        except OAuthRefusal as refused:
            return _refusal(refused, entry)
        self.signins.revoke(form.get("token", ""), credentials.client_id)
        return SandboxResponse(200, [*_NO_STORE])

    async def _discovery(self, _request: IncomingRequest) -> SandboxResponse:
        return json_response(
            200,
            {
                "issuer": ISSUER,
                "authorization_endpoint": self.origin + AUTHORIZE_PATH,
                "token_endpoint": self.origin + TOKEN_PATH,
                "revocation_endpoint": self.origin + REVOKE_PATH,
                "jwks_uri": self.origin + "/admin/v1/SigningCert/jwk",
                "grant_types_supported": self._grants.names(),
                "token_endpoint_auth_methods_supported": _CLIENT_AUTH,
                "code_challenge_methods_supported": ["S256"],
            },
        )

    async def _jwks(self, _request: IncomingRequest) -> SandboxResponse:
        if not self._switches.jwks_open:
            return json_response(401, {"status": "401", "detail": "You are not authorized to access the resource."})
        return json_response(200, self._key.jwks())


async def _read_client_request(request: IncomingRequest) -> tuple[dict[str, str], ClientCredentials]:
    form = await _form(request)
    return form, read_credentials(request.headers.get("Authorization"), form, request.certificate)


async def _form(request: IncomingRequest) -> dict[str, str]:
    media_type = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media_type != "application/x-www-form-urlencoded":
        raise OAuthRefusal("invalid_request", "The body must be form-urlencoded")
    try:
        pairs = parse_qsl((await request.read(1 << 16)).decode())
    except (TooLarge, UnicodeDecodeError) as cause:
        raise OAuthRefusal("invalid_request", "The body is not readable") from cause
    names = [name for name, _ in pairs if name not in _REPEATABLE]
    if len(set(names)) != len(names):  # RFC 6749 section 3.2
        raise OAuthRefusal("invalid_request", "A parameter was sent more than once")
    return dict(pairs)


def _post_only() -> SandboxResponse:
    return json_response(405, {"error": "invalid_request", "error_description": "POST only"}, [("Allow", "POST")])


def _refusal(refused: OAuthRefusal, entry: TokenCall) -> SandboxResponse:
    entry.status = refused.status
    challenge = [("WWW-Authenticate", 'Basic realm="idcs"')] if refused.status == 401 else []
    content = {"error": refused.error, "error_description": refused.description}
    return json_response(refused.status, content, [*_NO_STORE, *challenge])
