"""What one process that serves callers does for sign-ins in the console: it has the store and the token endpoints."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.admin.console_backend import ActionResult, InviteResult, OpenInvite, SignInResponse, SignInResult
from gateway.diagnosis.finding import Finding
from gateway.oauth.lifetime import Token
from gateway.oauth.refresh_rotation import run_to_completion
from gateway.signin import invites
from gateway.signin.authorization_response import NotSignedIn
from gateway.signin.sign_in_completion import (
    SIGN_IN_ERRORS,
    complete_sign_in,
    sign_in_failure,
    sign_in_problem,
    signed_in_text,
)
from gateway.wiring.credentials import credential_key

if TYPE_CHECKING:
    from gateway.server.gateway import Gateway

_CHANGED = "the credential has changed in the configuration since this sign-in began"


class NewSignIn(NamedTuple):
    """The result of a sign-in, and the token for all processes. The token never leaves the gateway."""

    result: SignInResult
    token: Token | None


async def _complete(gateway: "Gateway", name: str, response: SignInResponse) -> NewSignIn:
    """Exchange the code for a credential that is still the one of the authorization request."""
    config = gateway.runtime.config
    problem = sign_in_problem(config, name)
    if not problem and credential_key(name, config.credentials[name]) != response.key:
        problem = _CHANGED
    if problem:
        remedy = "Nothing was changed. Open the page of the credential, and sign in again if it is still there."
        return NewSignIn(
            SignInResult(Finding(ok=False, subject=f"credential {name}", seen=problem, remedy=remedy)), None
        )
    completion = complete_sign_in(
        gateway.components.credential_builder,
        name,
        config.credentials[name],
        code=response.code,
        redirect_uri=response.redirect_uri,
        verifier=response.verifier,
        nonce=response.nonce,
    )
    try:
        signed_in = await run_to_completion(completion)
    except SIGN_IN_ERRORS as error:
        return NewSignIn(SignInResult(sign_in_failure(name, error)), None)
    finding = Finding(ok=True, subject=f"credential {name}", seen=signed_in_text(signed_in.account))
    return NewSignIn(SignInResult(finding, signed_in.account), signed_in.token)


async def _create_invite(gateway: "Gateway", name: str, invited_by: str) -> InviteResult:
    config, credentials = gateway.runtime.config, gateway.components.credential_builder
    if problem := sign_in_problem(config, name) or invites.invite_problem(config):
        return InviteResult(ActionResult(ok=False, message=problem, remedy="Correct the configuration, and reload it."))
    try:
        token = await invites.create_invite(credentials.store, name, invited_by, clock=credentials.clock)
    except NotSignedIn as error:
        return InviteResult(ActionResult(ok=False, message=error.seen, remedy=error.remedy))
    message = f"one person can sign in for {name} with this link, once, within 30 minutes"
    return InviteResult(ActionResult(ok=True, message=message), invites.invite_url(config, token))


async def _find_invite(gateway: "Gateway", token_hash: str) -> OpenInvite | ActionResult:
    return await _open_invite(invites.find_invite(gateway.components.credential_builder.store, token_hash))


async def _redeem_invite(gateway: "Gateway", token_hash: str) -> OpenInvite | ActionResult:
    return await _open_invite(invites.redeem_invite(gateway.components.credential_builder.store, token_hash))


async def _open_invite(call: Awaitable[invites.Invite]) -> OpenInvite | ActionResult:
    try:
        invite = await call
    except NotSignedIn as error:
        return ActionResult(ok=False, message=error.seen, remedy=error.remedy)
    return OpenInvite(invite.credential, invite.invited_by)


OPERATIONS: Mapping[str, Callable[..., Awaitable[Any]]] = {
    "complete_sign_in": _complete,
    "create_invite": _create_invite,
    "find_invite": _find_invite,
    "redeem_invite": _redeem_invite,
}
"""Each takes the gateway, then the arguments of the operation."""
