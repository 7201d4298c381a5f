"""What the console needs from the running gateway, beyond what the admin port needs. Pure."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from gateway.admin.backend import AdminBackend
from gateway.diagnosis.finding import Finding
from gateway.observe.time_series import Series, SeriesQuery, SeriesStep, SeriesSubject

__all__ = (
    "ActionResult",
    "ConfigurationBlock",
    "ConfigurationView",
    "ConsoleBackend",
    "FetchOutcome",
    "InviteResult",
    "OpenInvite",
    "ReloadOutcome",
    "Series",
    "SeriesQuery",
    "SeriesStep",
    "SeriesSubject",
    "SignInResponse",
    "SignInResult",
    "TokenClaims",
    "TokenFetch",
)

FetchOutcome = Literal["ok", "refused", "unavailable"]


@dataclass(frozen=True, slots=True)
class TokenClaims:
    """Claims of the present access token, a JWT: a chosen few by name, texts at most 256 characters long.

    `issued_at` and `expires_at` are in epoch seconds, None without the claim. Neither the token nor its signature.
    """

    issued_at: float | None
    expires_at: float | None
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TokenFetch:
    """One token request: when it ended (epoch seconds), its duration in seconds, and its outcome.

    `trigger` is one of `FetchTrigger` of `gateway.oauth.fetch_events`: caller, renewal, rejected, prefetch, forced or
    idle. `code` and `reason` are those of the failure, empty after success. `process` is the id of the process that
    sent it.
    """

    at: float
    seconds: float
    outcome: FetchOutcome
    trigger: str
    code: str = ""
    reason: str = ""
    process: int = 0


@dataclass(frozen=True, slots=True)
class ActionResult:
    """What an action did, in words for the person and the audit log; `details` are further lines. After a failure
    `remedy` is what to do.
    """

    ok: bool
    message: str
    remedy: str = ""
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SignInResponse:
    """The code of a sign-in for a credential, and what its authorization request was made of. `key` identifies what the
    credential was then.
    """

    key: str
    code: str = field(repr=False)
    redirect_uri: str
    verifier: str = field(repr=False)
    nonce: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class SignInResult:
    """The result of a sign-in, and the `account` that the tokens are for; empty if no token names one."""

    finding: Finding
    account: str = ""


@dataclass(frozen=True, slots=True)
class InviteResult:
    """What became of a request for an invite, and its link, which is worth a sign-in."""

    result: ActionResult
    url: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class OpenInvite:
    """An invite that can be used: the name of its credential, and who invited."""

    credential: str
    invited_by: str


@dataclass(frozen=True, slots=True)
class ConfigurationBlock:
    """A block of the configuration: a top-level key (`console`), or an entry of one (`credentials.acme`,
    `routes.orders`), with the line that it begins at; `file` is empty and `line` 0 where it is not in a file. `text` is
    its YAML without comments and defaults; secrets are references, and values that may be secret are `…`.
    """

    name: str
    file: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class ReloadOutcome:
    """A reload: when (epoch seconds), whether it succeeded, its message, and the names of the blocks that it added,
    removed and changed. `problems` are the errors of a configuration that was refused, one for each line.
    """

    at: float
    ok: bool
    message: str
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ConfigurationView:
    """The configuration in use, in the order of its files; `last_reload` is None before the first one."""

    files: tuple[str, ...]
    blocks: tuple[ConfigurationBlock, ...]
    loaded_at: float
    last_reload: ReloadOutcome | None = None


class ConsoleBackend(AdminBackend, Protocol):
    """Answers the requests of the console. No answer contains a secret or a token; an ordinary failure raises nothing.

    A name that no credential, route or service has leads to an empty answer, or to an ActionResult that is not ok.
    """

    async def credential_claims(self, name: str) -> TokenClaims | None:
        """Return claims of the present token of a credential; None without a token, or if it is opaque."""

    async def token_fetches(self, name: str) -> Sequence[TokenFetch]:
        """Return the last token requests of a credential, newest first, at most 50."""

    async def series(self, query: SeriesQuery) -> Series:
        """Return one series of the last minutes or hours."""

    def watch_calls(self) -> AsyncGenerator[Sequence[bytes], None]:
        """Yield the records of calls as they end: batches of JSON lines, each with its line feed.

        Close the generator at the end (`contextlib.aclosing`). A reader that is too slow loses lines; instead it gets
        the line `{"event":"lost","lines":N}`.
        """

    async def check_credential(self, name: str) -> Sequence[Finding]:
        """Return the findings of `check --live` for one credential. It gets a token."""

    async def check_route(self, name: str) -> Sequence[Finding]:
        """Return the findings of `check --live` for one route: its credential, its upstream, a harmless request."""

    async def renew_token(self, name: str) -> ActionResult:
        """Get a new token for a credential; all processes use it."""

    async def sign_out(self, name: str) -> ActionResult:
        """Revoke and delete the sign-in of a credential, as `oic-gateway logout` does; no process uses its token any
        more.
        """

    async def complete_sign_in(self, name: str, response: SignInResponse) -> SignInResult:
        """Exchange the code of a sign-in for a credential, and store the tokens; all processes use them."""

    async def create_invite(self, name: str, invited_by: str) -> InviteResult:
        """Make a one-time link for a person who signs in for a credential."""

    async def find_invite(self, token_hash: str) -> OpenInvite | ActionResult:
        """Return the open invite with this hash of its token; else why there is none."""

    async def redeem_invite(self, token_hash: str) -> OpenInvite | ActionResult:
        """End an open invite and return it: to one call only."""

    async def close_breaker(self, service: str) -> ActionResult:
        """Close the circuit of a service, so that calls are sent to it again."""

    async def reload(self) -> ActionResult:
        """Reload the configuration, as SIGHUP does."""

    async def configuration(self) -> ConfigurationView:
        """Return the configuration in use, and the result of the last reload."""
