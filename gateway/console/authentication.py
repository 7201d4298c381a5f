"""Who may use the console: the logins that the configuration has, and the present role of each person."""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.config.console_model import ConsoleSettings, Role
from gateway.config.model import Config
from gateway.console.console_request import ConsoleRequest
from gateway.console.identity_provider import IdentityProvider
from gateway.console.login_sessions import ConsoleSession, Identity, SessionTable
from gateway.console.page import Viewer
from gateway.console.roles import role_of_groups
from gateway.console.user_directory import UserDirectory
from gateway.content.untrusted_text import browser_origin
from gateway.oauth.clock import Clock
from gateway.wiring.secret_reader import build_secret_reader, secret_servers

CALLBACK_PATH = "/console/login/callback"
MACHINE = Identity("local", "machine")
"""Everyone who reaches a console without login, from the machine that it runs on."""


@dataclass(frozen=True, slots=True)
class AuthorizedRequest:
    """A request of someone who may use the console, with the role that this person has now."""

    request: ConsoleRequest
    session: ConsoleSession
    role: Role

    @property
    def viewer(self) -> Viewer:
        """Return the person, for a page."""
        return Viewer(self.session.identity.name, self.role, self.session.csrf_token)


class Authentication:
    """The logins of one configuration. `users` and `provider` are None if it does not have them; `source` is what they
    are made of.
    """

    def __init__(
        self,
        config: Config,
        sessions: SessionTable,
        *,
        environ: Mapping[str, str],
        clock: Clock,
        former: "Authentication | None",
    ) -> None:
        """Keep what `former`, the one before a reload, knows of the same users and of the same provider."""
        self.settings = settings = config.console or ConsoleSettings()
        self._sessions = sessions
        self.source = (settings.users, settings.sign_in, settings.url, secret_servers(config))
        self.users: UserDirectory | None = None
        self.provider: IdentityProvider | None = None
        if former is not None and former.source == self.source:
            self.users, self.provider = former.users, former.provider
            return
        if settings.users is not None:
            self.users = UserDirectory(settings.users)
        if settings.sign_in is not None:
            redirect_uri = f"{browser_origin(settings.url or '')}{CALLBACK_PATH}"
            self.provider = IdentityProvider(
                settings.sign_in,
                redirect_uri=redirect_uri,
                environ=environ,
                secrets=build_secret_reader(environ, secret_servers(config)),
                clock=clock,
            )

    @property
    def has_login(self) -> bool:
        """Return whether people log in. Without a login, the console serves its own machine only."""
        return self.users is not None or self.provider is not None

    async def authorize(self, request: ConsoleRequest, *, now: float) -> AuthorizedRequest | None:
        """Return a request with its session and the present role of its person; None without either."""
        session_id = request.cookie("session")
        if session_id is None:
            return None
        times = self.settings.session
        session = self._sessions.find(
            session_id, now=now, idle=times.idle, longest=times.longest, is_use=request.is_by_person
        )
        if session is None or (session.identity == MACHINE and not request.is_on_this_machine):
            return None
        role = await self.role_of(session.identity)
        if role is None:
            self._sessions.close(session_id)
            return None
        return AuthorizedRequest(request, session, role)

    async def role_of(self, identity: Identity) -> Role | None:
        """Return the role that a person has now; None for one who may not use the console any more.

        On its own machine a console without login gives all rights: who can connect to the admin port there can also
        read the configuration's secrets or stop the gateway in other ways, or is kept out by the mode of a unix socket.
        """
        if identity.kind == "machine":
            return None if self.has_login else "admin"
        if identity.kind == "local":
            user = await self.users.find(identity.name) if self.users is not None else None
            return user.role if user is not None and user.password_hash == identity.proof else None
        if self.provider is None or self.provider.proof != identity.proof:
            return None
        return role_of_groups(identity.groups, self.settings.roles)
