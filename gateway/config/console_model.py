"""The shape of `console:`, the web console on the admin port: login, roles, sessions, audit."""

from typing import Annotated, Literal

from pydantic import Field

from gateway.config.strict_model import ProxySettings, SecretRef, StrictModel, TlsSettings
from gateway.config.values import Duration, FilePath, HttpUrl, Network, SiteUrl, Text

Role = Literal["viewer", "operator", "admin"]
ROLES: tuple[Role, ...] = ("viewer", "operator", "admin")
"""The roles, each with all rights of those before it."""

GroupNames = Annotated[list[Text], Field(min_length=1)]


class SignInSettings(StrictModel):
    """Login by OpenID Connect at an identity domain or another provider."""

    issuer: HttpUrl
    """Issuer: the URL before `/.well-known/openid-configuration`, https unless it is on this machine. For an identity
    domain its own URL, like https://idcs-0123.identity.oraclecloud.com/."""
    client_id: Text
    """Client id of the application. Its redirect URI is `{url}/console/login/callback`."""
    client_secret: SecretRef | None = None
    """Client secret, by reference; omitted: a public client, which PKCE alone protects."""
    scope: Text = "openid profile"
    """Scope of the login; it must contain `openid`. Identity domains send groups for the scope `groups`."""
    groups_claim: Text = "groups"
    """Claim with the groups of the person, a list of names or of objects with a name. It is read from the ID token,
    else from the UserInfo endpoint."""
    name_claim: Text = "sub"
    """Claim of the ID token that names the person in the console and in the audit."""
    tls: TlsSettings | None = None
    """Verification of the provider's certificate."""
    proxy: ProxySettings | None = None
    """Egress proxy to the provider; omitted: that of HTTPS_PROXY, with the exceptions of NO_PROXY."""


class RoleSettings(StrictModel):
    """Groups of each role. A person gets the highest role of all groups that match; `"*"` matches everyone who can sign
    in. A person without a role cannot use the console.
    """

    admin: GroupNames | None = None
    """Groups that may also sign credentials in and out, invite, and reload the configuration."""
    operator: GroupNames | None = None
    """Groups that may also check, renew tokens and close circuit breakers."""
    viewer: GroupNames | None = None
    """Groups that may read."""


class SessionSettings(StrictModel):
    """Lifetime of a login."""

    idle: Duration = 1800.0
    """Time after which a session ends if its person uses no link and no form."""
    longest: Duration = 36000.0
    """Time after which every session ends."""


class ConsoleSettings(StrictModel):
    """Web console on the admin port. Without `sign_in` and `users` it serves only this machine, with all rights."""

    url: SiteUrl | None = None
    """Scheme and host that people type, like https://gateway-admin.example.com. Its host is accepted in Host at the
    admin port. Omitted: http:// and the Host of the request."""
    sign_in: SignInSettings | None = None
    """Login by OpenID Connect."""
    users: FilePath | None = None
    """File of local users, one NAME:ROLE:HASH in each line; relative to the configuration file. It can be used
    instead of `sign_in` or beside it."""
    roles: RoleSettings = Field(default_factory=RoleSettings)
    """Groups of each role, for `sign_in`. Local users have the role in their file."""
    session: SessionSettings = Field(default_factory=SessionSettings)
    """Lifetime of a login."""
    audit: FilePath | None = None
    """File that gets one JSON line for each login and action, relative to the configuration file. The log has them in
    any case, as event `audit`."""
    proxies: list[Network] = Field(default_factory=list)
    """Reverse proxies (CIDR) in front of the admin port whose `X-Forwarded-For` names the address of a person, for the
    audit and the limit of failed logins."""
