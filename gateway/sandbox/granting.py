"""Grants: for whom a token request may have a token, and for which scope. One method per grant."""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.sandbox.assertion_check import Assertions
from gateway.sandbox.client_check import ClientCredentials
from gateway.sandbox.clients import RegisteredClient, User
from gateway.sandbox.oauth_errors import Refused, invalid_client, invalid_grant, unauthorized_client
from gateway.sandbox.sign_in_sessions import Sessions
from gateway.sandbox.switches import Switches

Form = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Allowed:
    """What may be given: a token for `user` (empty: the client itself) and `scope`; with `family` a refresh token."""

    scope: str
    user: str = ""
    family: str | None = None


class Grants:
    """Judges requests of clients that have proved who they are."""

    def __init__(
        self, users: Mapping[str, User], switches: Switches, *, assertions: Assertions, signins: Sessions
    ) -> None:
        self._users = users
        self._switches = switches
        self._assertions = assertions
        self._signins = signins
        self._grants: dict[str, Callable[[Form, ClientCredentials, RegisteredClient], Allowed]] = {
            "client_credentials": self._client_credentials,
            "tls_client_auth": self._tls_client_auth,
            "password": self._password,
            "urn:ietf:params:oauth:grant-type:jwt-bearer": self._assertion,
            "authorization_code": self._code,
            "refresh_token": self._refresh_token,
        }

    def names(self) -> list[str]:
        """All grants, as `grant_type` names them."""
        return sorted(self._grants)

    def judge(self, form: Form, shown: ClientCredentials, client: RegisteredClient) -> Allowed:
        """What the request may have; raises Refused."""
        grant = form.get("grant_type")
        if grant is None:
            raise Refused("invalid_request", "The parameter grant_type is missing")
        if grant not in self._grants:
            raise Refused("unsupported_grant_type", "The grant type is not supported")
        self.need_ticked(grant, client)
        return self._grants[grant](form, shown, client)

    def need_ticked(self, grant: str, client: RegisteredClient) -> None:
        """Raises Refused (`unauthorized_client`) unless the grant is ticked in the application."""
        if grant not in client.grants or grant not in self._switches.allowed_grants:
            raise unauthorized_client("The client is not authorized to use this grant type")

    def _client_credentials(self, form: Form, _shown: ClientCredentials, client: RegisteredClient) -> Allowed:
        if client.is_public:
            raise unauthorized_client("A public client has no credentials")
        return Allowed(form.get("scope", ""))

    def _tls_client_auth(self, form: Form, shown: ClientCredentials, client: RegisteredClient) -> Allowed:
        if not client.has_certificate(shown.certificate):
            raise invalid_client()
        return Allowed(form.get("scope", ""))

    def _password(self, form: Form, _shown: ClientCredentials, _client: RegisteredClient) -> Allowed:
        name = _needed(form, "username")
        user, password = self._users.get(name), _needed(form, "password")
        if user is None or not hmac.compare_digest(user.password.encode(), password.encode()):
            raise invalid_grant("You entered an incorrect user name or password")
        return _for_user(name, form.get("scope", ""))

    def _assertion(self, form: Form, shown: ClientCredentials, client: RegisteredClient) -> Allowed:
        name = self._assertions.user(_needed(form, "assertion"), shown.client_id, client)
        if name not in self._users:
            raise invalid_grant("The user assertion names no known user")
        return _for_user(name, form.get("scope", ""))

    def _code(self, form: Form, shown: ClientCredentials, _client: RegisteredClient) -> Allowed:
        signin = self._signins.exchanged(
            _needed(form, "code"),
            shown.client_id,
            redirect_uri=form.get("redirect_uri", ""),
            verifier=form.get("code_verifier", ""),
        )
        return _for_user(signin.user, signin.scope, family=signin.family)

    def _refresh_token(self, form: Form, shown: ClientCredentials, _client: RegisteredClient) -> Allowed:
        signin = self._signins.refreshed(_needed(form, "refresh_token"), shown.client_id)
        scope = form.get("scope", signin.scope)
        if not set(scope.split()) <= set(signin.scope.split()):  # RFC 6749 section 6
            raise Refused("invalid_scope", "The scope is wider than the one granted")
        return Allowed(scope, signin.user, signin.family if self._switches.rotate_refresh_tokens else None)


def _for_user(name: str, scope: str, *, family: str = "") -> Allowed:
    return Allowed(scope, name, family if "offline_access" in scope.split() else None)


def _needed(form: Form, name: str) -> str:
    if not form.get(name):
        raise Refused("invalid_request", f"The parameter {name} is missing")
    return form[name]
