"""An independent authorization server: Authlib's, behind the standard library's HTTP server in a thread.

It knows every grant and client authentication that Authlib has: client credentials, authorization code with PKCE,
refresh tokens, passwords and user assertions; secrets, signed assertions and public clients. One user, `jdoe`.
"""

# Authlib has no types: its classes are Any here.
# mypy: disable-error-code="import-untyped,misc"

import json
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from authlib.oauth2.rfc6749 import (
    AuthorizationCodeMixin,
    AuthorizationServer,
    ClientMixin,
    OAuth2Request,
    TokenMixin,
    list_to_scope,
    scope_to_list,
)
from authlib.oauth2.rfc6749.grants import (
    AuthorizationCodeGrant,
    ClientCredentialsGrant,
    RefreshTokenGrant,
    ResourceOwnerPasswordCredentialsGrant,
)
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc6750 import BearerTokenGenerator
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion, JWTBearerGrant
from authlib.oauth2.rfc7636 import CodeChallenge
from joserfc.jwk import KeySet

AuthlibResponse = tuple[int, object, list[tuple[str, str]]]
Endpoint = Callable[[dict[str, str], Mapping[str, str]], AuthlibResponse]

AUDIENCE = "https://identity.oraclecloud.com/"
USER, PASSWORD = "jdoe", "correct horse"
METHODS = ("client_secret_basic", "client_secret_post", "client_assertion_jwt", "none")


class Client(ClientMixin):
    """An application with one way to authenticate; `keys` verify its assertions."""

    def __init__(
        self,
        client_id: str,
        client_secret: str,
        *,
        method: str,
        scope: str = "orders",
        keys: KeySet | None = None,
        grants: tuple[str, ...] = ("client_credentials",),
        redirect_uri: str = "http://127.0.0.1:8400/",
    ) -> None:
        self.client_id = client_id
        self.client_secret = client_secret
        self.method = method
        self.scope = scope
        self.keys = keys
        self.grants = grants
        self.redirect_uri = redirect_uri

    def get_client_id(self) -> str:
        return self.client_id

    def get_default_redirect_uri(self) -> str:
        return self.redirect_uri

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri == self.redirect_uri

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def get_allowed_scope(self, scope: str | None) -> str:
        allowed = scope_to_list(self.scope)
        return str(list_to_scope([item for item in scope_to_list(scope or "") if item in allowed]))

    def check_client_secret(self, client_secret: str) -> bool:
        return secrets.compare_digest(self.client_secret.encode(), client_secret.encode())

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == self.method

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in self.grants


@dataclass
class Code(AuthorizationCodeMixin):
    """An authorization code."""

    client_id: str
    redirect_uri: str
    scope: str
    code_challenge: str
    code_challenge_method: str

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope


@dataclass
class Token(TokenMixin):
    """The grant behind a refresh token."""

    client_id: str
    scope: str

    def check_client(self, client: Client) -> bool:
        return self.client_id == client.client_id

    def get_scope(self) -> str:
        return self.scope


class Request(OAuth2Request):
    """A request in the form that Authlib expects."""

    def __init__(self, uri: str, form: dict[str, str], headers: Mapping[str, str], *, method: str = "POST") -> None:
        super().__init__(method, uri, headers=headers)
        self.payload = BasicOAuth2Payload(form)

    @property
    def form(self) -> dict[str, str]:
        return dict(self.payload.data)

    @property
    def args(self) -> dict[str, str]:
        return dict(self.payload.data)


class _Credentials(ClientCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = METHODS[:3]


class _Password(ResourceOwnerPasswordCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = METHODS

    def authenticate_user(self, username: str, password: str) -> str | None:
        return username if (username, password) == (USER, PASSWORD) else None


class _Refresh(RefreshTokenGrant):
    """Refresh tokens with rotation: each use returns a new one and revokes the old one."""

    TOKEN_ENDPOINT_AUTH_METHODS = METHODS
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, refresh_token: str) -> Token | None:
        found: Token | None = self.server.refresh_tokens.get(refresh_token)
        return found

    def authenticate_user(self, _token: Token) -> str:
        return USER

    def revoke_old_credential(self, token: Token) -> None:
        kept = self.server.refresh_tokens.items()
        self.server.refresh_tokens = {value: held for value, held in kept if held is not token}


class _Assertion(JWTBearerGrant):
    def resolve_issuer_client(self, issuer: str) -> Client | None:
        found: Client | None = self.server.query_client(issuer)
        return found

    def resolve_client_public_key(self, client: Client) -> KeySet | None:
        return client.keys

    def get_audiences(self) -> list[str]:
        return [AUDIENCE]

    def authenticate_user(self, subject: str) -> str | None:
        return subject if subject == USER else None

    def has_granted_permission(self, _client: Client, _user: str) -> bool:
        return True


class _Code(AuthorizationCodeGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = METHODS

    def save_authorization_code(self, code: str, request: OAuth2Request) -> None:
        form = request.payload.data
        self.server.codes[code] = Code(
            form["client_id"],
            form["redirect_uri"],
            form.get("scope", ""),
            form["code_challenge"],
            form["code_challenge_method"],
        )

    def query_authorization_code(self, code: str, client: Client) -> Code | None:
        found: Code | None = self.server.codes.get(code)
        return found if found is not None and found.client_id == client.client_id else None

    def delete_authorization_code(self, code: Code) -> None:
        self.server.codes = {value: held for value, held in self.server.codes.items() if held is not code}

    def authenticate_user(self, _code: Code) -> str:
        return USER


class _Revocation(RevocationEndpoint):
    CLIENT_AUTH_METHODS = METHODS

    def query_token(self, token: str, _hint: str | None) -> Token | None:
        found: Token | None = self.server.refresh_tokens.get(token)
        return found

    def revoke_token(self, token: Token, _request: OAuth2Request) -> None:
        tokens = self.server.refresh_tokens.items()
        self.server.refresh_tokens = {value: held for value, held in tokens if held is not token}


class _ClientAssertion(JWTBearerClientAssertion):
    def __init__(self) -> None:
        super().__init__()
        self.used: set[str] = set()

    def get_audiences(self) -> list[str]:
        return [AUDIENCE]

    def validate_jti(self, _claims: Mapping[str, Any], jti: str) -> bool:
        is_new = jti not in self.used
        self.used.add(jti)
        return is_new

    def resolve_client_public_key(self, client: Client) -> KeySet | None:
        return client.keys


class Server(AuthorizationServer):
    """Authlib's server over a table of clients; `issued` are its access tokens, `forms` the token requests."""

    def __init__(self, *clients: Client) -> None:
        super().__init__(scopes_supported=["orders", "stock"])
        self.clients = {client.client_id: client for client in clients}
        self.issued: list[str] = []
        self.forms: list[dict[str, str]] = []
        self.codes: dict[str, Code] = {}
        self.refresh_tokens: dict[str, Token] = {}
        for grant in (_Credentials, _Password, _Refresh, _Assertion):
            self.register_grant(grant)
        self.register_grant(_Code, [CodeChallenge(required=True)])
        self.register_endpoint(_Revocation)
        self.register_client_auth_method("client_assertion_jwt", _ClientAssertion())
        self.register_token_generator("default", BearerTokenGenerator(_generate_token, _generate_token))

    def query_client(self, client_id: str) -> Client | None:
        return self.clients.get(client_id)

    def save_token(self, token: dict[str, str], request: OAuth2Request) -> None:
        self.issued.append(token["access_token"])
        if "refresh_token" in token:
            client_id = request.client.client_id
            self.refresh_tokens[token["refresh_token"]] = Token(client_id, token.get("scope", ""))

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Do nothing: there are no listeners."""

    def create_oauth2_request(self, request: OAuth2Request) -> OAuth2Request:
        return request

    def handle_response(self, status: int, body: object, headers: list[tuple[str, str]]) -> AuthlibResponse:
        return status, body, headers

    def token(self, form: dict[str, str], headers: Mapping[str, str]) -> AuthlibResponse:
        """Return the response of the token endpoint. Authlib requires https; this socket is on loopback."""
        self.forms.append(form)
        response: AuthlibResponse = self.create_token_response(Request("https://localhost/token", form, headers))
        return response

    def revoke(self, form: dict[str, str], headers: Mapping[str, str]) -> AuthlibResponse:
        """Return the response of the revocation endpoint."""
        request = Request("https://localhost/revoke", form, headers)
        response: AuthlibResponse = self.create_endpoint_response(_Revocation.ENDPOINT_NAME, request)
        return response

    def authorize(self, query: dict[str, str], headers: Mapping[str, str]) -> AuthlibResponse:
        """Return the response of the authorization endpoint; the user consents at once."""
        request = Request("https://localhost/authorize", query, headers, method="GET")
        grant = self.get_consent_grant(request, USER)
        response: AuthlibResponse = self.create_authorization_response(request, grant_user=USER, grant=grant)
        return response


def _generate_token(*_args: object, **_more: object) -> str:
    return secrets.token_urlsafe(24)


@contextmanager
def serving(*clients: Client) -> Iterator[tuple[str, Server]]:
    """Run the server in a thread; yield the URL of its token endpoint, and the server."""
    server = Server(*clients)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
            self._answer(server.revoke if self.path == "/revoke" else server.token, form)

        def do_GET(self) -> None:
            self._answer(server.authorize, dict(parse_qsl(urlsplit(self.path).query)))

        def _answer(
            self, ask: Callable[[dict[str, str], Mapping[str, str]], AuthlibResponse], form: dict[str, str]
        ) -> None:
            status, document, headers = ask(form, dict(self.headers))
            content = json.dumps(document).encode()
            self.send_response(status)
            for name, value in (*headers, ("Content-Length", str(len(content)))):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_args: object) -> None:
            """Write no log."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.server_port}/token", server
        finally:
            listener.shutdown()
            thread.join()
