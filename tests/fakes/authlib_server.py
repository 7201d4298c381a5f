"""An authorization server that we did not write: Authlib's, behind the standard library's HTTP server in a thread."""

# Authlib has no types: its classes are Any here.
# mypy: disable-error-code="import-untyped,misc"

import json
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl

from authlib.oauth2.rfc6749 import AuthorizationServer, ClientMixin, OAuth2Request, list_to_scope, scope_to_list
from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc6750 import BearerTokenGenerator

Said = tuple[int, object, list[tuple[str, str]]]


class Client(ClientMixin):
    """A confidential application with one way to authenticate."""

    def __init__(self, client_id: str, client_secret: str, *, method: str, scope: str = "orders") -> None:
        self.client_id = client_id
        self.client_secret = client_secret
        self.method = method
        self.scope = scope

    def get_client_id(self) -> str:
        return self.client_id

    def get_allowed_scope(self, scope: str | None) -> str:
        allowed = scope_to_list(self.scope)
        return str(list_to_scope([item for item in scope_to_list(scope or "") if item in allowed]))

    def check_client_secret(self, client_secret: str) -> bool:
        return secrets.compare_digest(self.client_secret.encode(), client_secret.encode())

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == self.method

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "client_credentials"


class Request(OAuth2Request):
    """A request as Authlib wants to see it."""

    def __init__(self, uri: str, form: dict[str, str], headers: Mapping[str, str]) -> None:
        super().__init__("POST", uri, headers=headers)
        self.payload = BasicOAuth2Payload(form)

    @property
    def form(self) -> dict[str, str]:
        return dict(self.payload.data)


class Grant(ClientCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic", "client_secret_post")


class Server(AuthorizationServer):
    """Authlib's server over a table of clients; `issued` are the tokens it gave."""

    def __init__(self, *clients: Client) -> None:
        super().__init__(scopes_supported=["orders", "stock"])
        self.clients = {client.client_id: client for client in clients}
        self.issued: list[str] = []
        self.register_grant(Grant)
        self.register_token_generator(
            "default", BearerTokenGenerator(lambda *_args, **_more: secrets.token_urlsafe(24))
        )

    def query_client(self, client_id: str) -> Client | None:
        return self.clients.get(client_id)

    def save_token(self, token: dict[str, str], request: OAuth2Request) -> None:
        self.issued.append(token["access_token"])

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Nobody listens."""

    def create_oauth2_request(self, request: OAuth2Request) -> OAuth2Request:
        return request

    def handle_response(self, status: int, body: object, headers: list[tuple[str, str]]) -> Said:
        return status, body, headers


@contextmanager
def serving(*clients: Client) -> Iterator[tuple[str, Server]]:
    """Runs the server in a thread; gives the token endpoint's URL and the server."""
    server = Server(*clients)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
            # Authlib asks for https; the socket here is loopback.
            status, document, headers = server.create_token_response(
                Request(f"https://localhost{self.path}", form, dict(self.headers))
            )
            content = json.dumps(document).encode()
            self.send_response(status)
            for name, value in (*headers, ("Content-Length", str(len(content)))):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_args: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.server_port}/token", server
        finally:
            listener.shutdown()
            thread.join()
