"""What one process that serves callers answers for the console: its tokens, and checks with them."""

import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from gateway.admin.console_backend import ActionResult, TokenClaims, TokenFetch
from gateway.diagnosis.finding import Finding
from gateway.errors import TokenRefused, TokenUnavailable
from gateway.oauth.failures import failure_remedy
from gateway.oauth.grants import read_epoch_time, read_jwt_claims
from gateway.oauth.lifetime import Token

if TYPE_CHECKING:
    from gateway.notifications.conditions import ProcessReport
    from gateway.server.gateway import Gateway

SignInOperation = Literal["complete_sign_in", "create_invite", "find_invite", "redeem_invite"]
Operation = (
    SignInOperation
    | Literal[
        "claims", "fetches", "renew", "adopt", "sign_out", "forget", "check_credential", "check_route", "conditions"
    ]
)

SHOWN_CLAIMS = (
    *("iss", "sub", "sub_type", "aud", "azp", "client_id", "client_name", "scope", "tenant", "user_displayname"),
    *("user_tenantname", "tok_type", "sid", "roles", "groups"),
)
MAX_CLAIM = 256
"""Maximum characters of a claim."""


class RenewedToken(NamedTuple):
    """The result of a renewal, and the token for the other processes. The token never leaves the gateway."""

    result: ActionResult
    token: Token | None


class ProcessConsole:
    """Answers operations by their names; all but `claims` and `fetches` may take seconds."""

    def __init__(self, gateway: "Gateway") -> None:
        self._gateway = gateway
        self._operations: Mapping[Operation, Callable[..., Awaitable[Any]]] = {
            "claims": self._claims,
            "fetches": self._fetches,
            "renew": self._renew,
            "adopt": self._adopt,
            "sign_out": self._sign_out,
            "forget": self._forget,
            **{operation: partial(self._run_sign_in, operation) for operation in get_args(SignInOperation)},
            "check_credential": self._check_credential,
            "check_route": self._check_route,
            "conditions": self._conditions,
        }

    async def run(self, operation: Operation, *arguments: Any) -> Any:
        """Run an operation on the present configuration."""
        return await self._operations[operation](*arguments)

    async def _claims(self, name: str) -> TokenClaims | None:
        source = self._gateway.runtime.sources.get(name)
        token = None if source is None else source.token
        claims = {} if token is None else read_jwt_claims(token.value)
        return _token_claims(claims) if claims else None

    async def _fetches(self, name: str) -> list[TokenFetch]:
        return self._gateway.components.credential_builder.fetch_log.fetches(name)

    async def _renew(self, name: str) -> RenewedToken:
        source = self._gateway.runtime.sources.get(name)
        if source is None:
            return RenewedToken(_unused_credential(name), None)
        try:
            await source.force_refresh()
        except (TokenRefused, TokenUnavailable) as error:
            message = f"cannot get a token for {name}: {error.reason}"
            return RenewedToken(ActionResult(ok=False, message=message, remedy=failure_remedy(error, name)), None)
        lifetime = source.status()["expires_in_s"]
        message = f"{name} has a new token, which is used for {lifetime:.0f} s" if lifetime else f"{name} has a token"
        return RenewedToken(ActionResult(ok=True, message=message), source.token)

    async def _adopt(self, name: str, token: Token) -> None:
        if (source := self._gateway.runtime.sources.get(name)) is not None:
            await source.adopt_token(token)

    async def _sign_out(self, name: str) -> ActionResult:
        from gateway.signin.logout import sign_out  # noqa: PLC0415 - only where a person signs out

        gateway = self._gateway
        credential = gateway.runtime.config.credentials.get(name)
        if credential is None:
            return _unused_credential(name)
        if credential.grant != "authorization_code":
            message = f"{name} has no sign-in: its grant is {credential.grant}"
            remedy = "To end its access, remove or change its secret at the identity domain."
            return ActionResult(ok=False, message=message, remedy=remedy)
        finding = await sign_out(gateway.components.credential_builder, gateway.runtime.config, name)
        await self._forget(name)
        return ActionResult(ok=finding.ok, message=f"{name}: {finding.seen}", remedy=finding.remedy)

    async def _forget(self, name: str) -> None:
        if (source := self._gateway.runtime.sources.get(name)) is not None:
            await source.forget_token()

    async def _run_sign_in(self, operation: SignInOperation, *arguments: Any) -> Any:
        from gateway.server.process_sign_in import OPERATIONS  # noqa: PLC0415 - only where a person signs in

        return await OPERATIONS[operation](self._gateway, *arguments)

    async def _check_credential(self, name: str) -> list[Finding]:
        from gateway.checks.single import check_one_credential  # noqa: PLC0415 - brings cryptography

        gateway = self._gateway
        if name not in gateway.runtime.config.credentials:
            return []
        return await check_one_credential(gateway.components, gateway.runtime, name)

    async def _check_route(self, name: str) -> list[Finding]:
        from gateway.checks.single import check_one_route  # noqa: PLC0415 - brings cryptography

        gateway = self._gateway
        if all(route.name != name for route in gateway.runtime.routes):
            return []
        return await check_one_route(gateway.components, gateway.runtime, name)

    async def _conditions(self) -> "ProcessReport":
        from gateway.notifications.conditions import process_report  # noqa: PLC0415 - only with hooks

        gateway = self._gateway
        return process_report(
            await gateway.credential_statuses(),
            services=gateway.components.services.status(),
            callers=gateway.components.limits.status(),
            listeners=gateway.listener_statuses(),
            now=time.time(),
        )


def _unused_credential(name: str) -> ActionResult:
    message = f"no route uses a credential {name}"
    return ActionResult(ok=False, message=message, remedy="Check the name, or use the credential in a route.")


def _token_claims(claims: Mapping[str, object]) -> TokenClaims:
    shown = {name: _claim_text(claims[name]) for name in SHOWN_CLAIMS if name in claims}
    return TokenClaims(read_epoch_time(claims.get("iat")), read_epoch_time(claims.get("exp")), shown)


def _claim_text(value: object) -> str:
    """Return a claim as short printable text; several values with blanks between them."""
    values = value if isinstance(value, list) else [value]
    text = " ".join(str(each) for each in values if isinstance(each, str | int | float))
    return "".join(char if char.isprintable() else "?" for char in text[:MAX_CLAIM])
