"""Grants: the user and scope for which a token request may get a token; and the rate limit of token requests."""

import hmac
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.sandbox.client_check import Assertions, ClientCredentials
from gateway.sandbox.clients import RegisteredClient, User
from gateway.sandbox.oauth_errors import OAuthRefusal, invalid_client, invalid_grant, unauthorized_client
from gateway.sandbox.sign_in_sessions import Sessions
from gateway.sandbox.switches import Switches


class TokenRateLimit:
    """A sliding window of the requests of the last minute."""

    def __init__(self) -> None:
        self._arrivals: deque[float] = deque()

    def admits(self, now: float, *, per_second: int | None, per_minute: int | None) -> bool:
        """Count a request at `now` (seconds). Return False, and do not count it, if it exceeds a limit."""
        while self._arrivals and self._arrivals[0] <= now - 60:
            self._arrivals.popleft()
        in_second = sum(1 for request in self._arrivals if request > now - 1)
        if per_second is not None and in_second >= per_second:
            return False
        if per_minute is not None and len(self._arrivals) >= per_minute:
            return False
        self._arrivals.append(now)
        return True


Form = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Authorization:
    """A token for `user` (empty: the client itself) and `scope`; with `family` also a refresh token."""

    scope: str
    user: str = ""
    family: str | None = None


class Grants:
    """Authorizes requests of authenticated clients; one method for each grant."""

    def __init__(
        self, users: Mapping[str, User], switches: Switches, *, assertions: Assertions, signins: Sessions
    ) -> None:
        self._users = users
        self._switches = switches
        self._assertions = assertions
        self._signins = signins
        self._grants: dict[str, Callable[[Form, ClientCredentials, RegisteredClient], Authorization]] = {
            "client_credentials": self._client_credentials,
            "tls_client_auth": self._tls_client_auth,
            "password": self._password,
            "urn:ietf:params:oauth:grant-type:jwt-bearer": self._assertion,
            "authorization_code": self._code,
            "refresh_token": self._refresh_token,
        }

    def names(self) -> list[str]:
        """Return all grants by their `grant_type`."""
        return sorted(self._grants)

    def authorize(self, form: Form, credentials: ClientCredentials, client: RegisteredClient) -> Authorization:
        """Return the user and scope of the token. Raise OAuthRefusal."""
        grant = form.get("grant_type")
        if grant is None:
            raise OAuthRefusal("invalid_request", "The parameter grant_type is missing")
        if grant not in self._grants:
            raise OAuthRefusal("unsupported_grant_type", "The grant type is not supported")
        self.require_enabled(grant, client)
        return self._grants[grant](form, credentials, client)

    def require_enabled(self, grant: str, client: RegisteredClient) -> None:
        """Raise OAuthRefusal (`unauthorized_client`) unless the grant is enabled in the application."""
        if grant not in client.grants or grant not in self._switches.allowed_grants:
            raise unauthorized_client("The client is not authorized to use this grant type")

    def _client_credentials(
        self, form: Form, _credentials: ClientCredentials, client: RegisteredClient
    ) -> Authorization:
        if client.is_public:
            raise unauthorized_client("A public client has no credentials")
        return Authorization(form.get("scope", ""))

    def _tls_client_auth(self, form: Form, credentials: ClientCredentials, client: RegisteredClient) -> Authorization:
        if not client.has_certificate(credentials.certificate):
            raise invalid_client()
        return Authorization(form.get("scope", ""))

    def _password(self, form: Form, _credentials: ClientCredentials, _client: RegisteredClient) -> Authorization:
        name = _require_parameter(form, "username")
        user, password = self._users.get(name), _require_parameter(form, "password")
        if user is None or not hmac.compare_digest(user.password.encode(), password.encode()):
            raise invalid_grant("You entered an incorrect user name or password")
        return _for_user(name, form.get("scope", ""))

    def _assertion(self, form: Form, credentials: ClientCredentials, client: RegisteredClient) -> Authorization:
        name = self._assertions.read_user(_require_parameter(form, "assertion"), credentials.client_id, client)
        if name not in self._users:
            raise invalid_grant("The user assertion names no known user")
        return _for_user(name, form.get("scope", ""))

    def _code(self, form: Form, credentials: ClientCredentials, _client: RegisteredClient) -> Authorization:
        signin = self._signins.exchange_code(
            _require_parameter(form, "code"),
            credentials.client_id,
            redirect_uri=form.get("redirect_uri", ""),
            verifier=form.get("code_verifier", ""),
        )
        return _for_user(signin.user, signin.scope, family=signin.family)

    def _refresh_token(self, form: Form, credentials: ClientCredentials, _client: RegisteredClient) -> Authorization:
        signin = self._signins.use_refresh_token(_require_parameter(form, "refresh_token"), credentials.client_id)
        scope = form.get("scope", signin.scope)
        if not set(scope.split()) <= set(signin.scope.split()):  # RFC 6749 section 6
            raise OAuthRefusal("invalid_scope", "The scope is wider than the granted one")
        return Authorization(scope, signin.user, signin.family if self._switches.rotate_refresh_tokens else None)


def _for_user(name: str, scope: str, *, family: str = "") -> Authorization:
    return Authorization(scope, name, family if "offline_access" in scope.split() else None)


def _require_parameter(form: Form, name: str) -> str:
    if not form.get(name):
        raise OAuthRefusal("invalid_request", f"The parameter {name} is missing")
    return form[name]
