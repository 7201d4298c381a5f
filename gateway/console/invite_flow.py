"""The pages of an invite: a person without a login of the console signs in for one credential."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

from gateway.admin.console_backend import ActionResult, OpenInvite
from gateway.config.resolved import authorize_url_of
from gateway.console.audit_log import AuditEntry, AuditResult
from gateway.console.console_request import ConsoleRequest
from gateway.console.console_responses import redirect, with_cookies
from gateway.console.page import Page
from gateway.console.request_guard import is_token
from gateway.console.sign_in_flow import INVITED, SignInFlow, host_of
from gateway.content.untrusted_text import browser_origin
from gateway.signin.authorization_response import NotSignedIn
from gateway.signin.invites import INVITE_PATH, hash_invite
from gateway.signin.sign_in_completion import sign_in_problem

_ENDED = ActionResult(
    ok=False,
    message="this invite was used before, has expired, or never existed",
    remedy="Ask the person who sent it for another one.",
)
_STALE = "This page is too old, or was opened in another browser. Open the link of the invite again."


@dataclass(frozen=True, slots=True)
class InviteFlow:
    """The invites of one console, which lead to a sign-in."""

    sign_ins: SignInFlow

    async def show(self, request: ConsoleRequest) -> web.Response:
        """Return the page of an invite, which stays open: programs that preview links get this page, too."""
        config = self.sign_ins.config
        url = config.console.url if config.console is not None else None
        if url is not None and not request.address.is_configured:  # the cookie would be missing at the end
            return redirect(f"{browser_origin(url)}{request.raw.rel_url.raw_path_qs}")
        found = await self._find(request)
        if isinstance(found, ActionResult):
            return self._ended(found)
        token_hash, invite = found
        csrf_token = secrets.token_urlsafe(32)
        values = {
            "title": "Sign in",
            "gateway": host_of(request.address.origin),
            "credential": invite.credential,
            "invited_by": invite.invited_by,
            "host": host_of(authorize_url_of(config.credentials[invite.credential])),
            "path": request.path,
            "csrf_token": csrf_token,
        }
        cookie = self.sign_ins.seal(request, "invite", {"csrf_token": csrf_token, "invite": token_hash})
        return with_cookies(self.sign_ins.responses.page(Page("invite.html", values), {}), cookie)

    async def submit(self, request: ConsoleRequest, form: Mapping[str, str]) -> web.Response:
        """Use an invite up, and send the browser to the identity domain."""
        sign_ins, values = self.sign_ins, self.sign_ins.open(request, "invite")
        if values is None or not is_token(form.get("csrf_token", ""), values["csrf_token"]):
            return sign_ins.responses.error(403, _STALE)
        found = await self._find(request)
        if isinstance(found, ActionResult):
            return self._ended(found)
        token_hash, invite = found
        if values["invite"] != token_hash:
            return sign_ins.responses.error(403, _STALE)
        browser_token = secrets.token_urlsafe(32)
        try:
            sign_in = sign_ins.new_sign_in(
                request, invite.credential, browser_token=browser_token, invited_by=invite.invited_by
            )
        except NotSignedIn as error:  # the invite stays open
            return self._ended(ActionResult(ok=False, message=error.seen, remedy=error.remedy))
        redeemed = await sign_ins.backend.redeem_invite(token_hash)
        if isinstance(redeemed, ActionResult):
            await self._audit(request, invite, "denied", redeemed.message)
            return self._ended(redeemed)
        await self._audit(request, invite, "ok", f"invited by {invite.invited_by}")
        return sign_ins.leave(sign_in, sign_ins.seal(request, "sign-in", {"browser_token": browser_token}))

    async def _find(self, request: ConsoleRequest) -> tuple[str, OpenInvite] | ActionResult:
        """Return the hash of the invite that the path names, and the invite; else why it cannot be used."""
        token_hash = hash_invite(request.path.removeprefix(INVITE_PATH))
        if token_hash is None:
            return _ENDED
        invite = await self.sign_ins.backend.find_invite(token_hash)
        if isinstance(invite, ActionResult):
            return invite
        if problem := sign_in_problem(self.sign_ins.config, invite.credential):
            return ActionResult(ok=False, message=problem, remedy="Tell the person who sent the invite.")
        return token_hash, invite

    def _ended(self, result: ActionResult) -> web.Response:
        values = {"title": "Invite", "message": result.message, "remedy": result.remedy}
        return self.sign_ins.responses.page(Page("invite_ended.html", values, 410), {})

    async def _audit(self, request: ConsoleRequest, invite: OpenInvite, result: AuditResult, detail: str) -> None:
        client, target = request.client or "unix", invite.credential[:128]
        entry = AuditEntry(INVITED, "invite", "", client, "redeem-invite", target, result, detail[:500])
        await self.sign_ins.audit.write(entry)
