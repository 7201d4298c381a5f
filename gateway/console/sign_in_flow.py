"""Sign-in for a credential in the browser of a person: of an admin, or of someone with an invite (`invite_flow`)."""

from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from aiohttp import web

from gateway.admin.console_backend import ConsoleBackend, SignInResponse
from gateway.config.model import Config
from gateway.console.actions import ActionOutcome, action_entry, page_of_action
from gateway.console.audit_log import AuditEntry, AuditLog, AuditResult
from gateway.console.authentication import Authentication, AuthorizedRequest
from gateway.console.console_cookies import set_cookie
from gateway.console.console_request import ConsoleRequest
from gateway.console.console_responses import ResponseFactory, redirect, without_referrer
from gateway.console.login_sessions import ConsoleSession
from gateway.console.page import Page
from gateway.console.pending_sign_ins import PendingSignIn, PendingSignIns
from gateway.console.request_guard import is_token
from gateway.console.roles import may_act
from gateway.console.sealed_state import SealedState
from gateway.diagnosis.finding import Finding
from gateway.oauth.clock import Clock
from gateway.signin.authorization_request import build_authorization_request
from gateway.signin.authorization_response import NotSignedIn, UnrelatedRequest, read_authorization_response
from gateway.signin.sign_in_completion import sign_in_failure, sign_in_problem
from gateway.wiring.credentials import credential_key

SIGN_IN_CALLBACK, SIGN_IN_RESULT = "/console/sign-in/callback", "/console/sign-in/result"
SIGN_IN_TIME = 600.0
"""Seconds that a person has to sign in."""
INVITED = "(invited person)"
"""Who signs in with an invite, in the audit, as long as the account is not known."""
_UNKNOWN = (
    "No sign-in waits for this response in this browser. The response was used before, came too late, or belongs to "
    "another browser or session. Nothing was changed. Sign in again from the page of the credential, or ask for "
    "another invite."
)
_NO_RESULT = "There is no result of a sign-in to show any more."


@dataclass(slots=True)
class SignInFlow:
    """The sign-ins of one console. `config` is the present configuration."""

    config: Config
    backend: ConsoleBackend
    responses: ResponseFactory
    audit: AuditLog
    sealed: SealedState
    clock: Clock
    pending: PendingSignIns

    async def start(self, authorized: AuthorizedRequest, name: str) -> web.Response:
        """Send the browser of an admin to the identity domain, or back to the page with the reason."""
        try:
            sign_in = self.new_sign_in(authorized.request, name, session=authorized.session)
        except NotSignedIn as error:
            await self.audit.write(action_entry(authorized, "sign-in", name, "failed", error.seen))
            authorized.session.outcome = ActionOutcome(ok=False, message=error.seen, remedy=error.remedy)
            return redirect(page_of_action("sign-in", name))
        detail = f"began at {host_of(sign_in.request.url)}"
        await self.audit.write(action_entry(authorized, "sign-in", name, "ok", detail))
        return self.leave(sign_in)

    def new_sign_in(
        self,
        request: ConsoleRequest,
        name: str,
        *,
        session: ConsoleSession | None = None,
        browser_token: str = "",
        invited_by: str = "",
    ) -> PendingSignIn:
        """Return a new sign-in for the browser of this request. Raise NotSignedIn if no person can sign in."""
        if problem := sign_in_problem(self.config, name):
            raise NotSignedIn(problem, "Correct the configuration, and reload it.")
        url = self.config.console.url if self.config.console is not None else None
        if url is not None and not request.address.is_configured:
            seen = f"the identity domain sends the browser back to {url}, where this session is not known"
            raise NotSignedIn(seen, f"Open the console at {url}, and sign in there.")
        credential = self.config.credentials[name]
        return PendingSignIn(
            name,
            credential_key(name, credential),
            build_authorization_request(credential, redirect_uri=f"{request.address.origin}{SIGN_IN_CALLBACK}"),
            self.clock.monotonic() + SIGN_IN_TIME,
            session,
            browser_token,
            invited_by,
        )

    def leave(self, sign_in: PendingSignIn, *cookies: str) -> web.Response:
        """Wait for the response to a sign-in, and send the browser to the identity domain."""
        self.pending.add(sign_in)
        url = sign_in.request.url
        return self.responses.leave(url, host_of(url), *cookies)

    async def finish(self, request: ConsoleRequest, access: Authentication) -> web.Response:
        """Complete the sign-in with whose response the browser returns."""
        return without_referrer(await self._finish(request, access))  # the address contains the code

    def show_result(self, request: ConsoleRequest) -> web.Response:
        """Return the page at the end of a sign-in with an invite."""
        values = self.open(request, "sign-in-result")
        if values is None:
            return self.responses.error(404, _NO_RESULT)
        return self.responses.page(Page("sign_in_result.html", {"title": "Sign-in", **values}), {})

    def seal(self, request: ConsoleRequest, purpose: str, values: dict[str, str]) -> str:
        """Return a cookie that only this console can read, for this purpose, and for as long as a sign-in may take."""
        text = self.sealed.seal(purpose, values, until=self.clock.monotonic() + SIGN_IN_TIME)
        return set_cookie("sign-in", text, request.address, max_age=int(SIGN_IN_TIME))

    def open(self, request: ConsoleRequest, purpose: str) -> dict[str, str] | None:
        """Return the values of a cookie that `seal` made for this purpose."""
        text = request.cookie("sign-in")
        return self.sealed.open(purpose, text, now=self.clock.monotonic()) if text is not None else None

    async def _finish(self, request: ConsoleRequest, access: Authentication) -> web.Response:
        if request.raw.method != "GET":  # HEAD would use the code up
            return self.responses.error(405, "A sign-in returns with GET.")
        query = request.raw.rel_url.raw_query_string
        authorized = await access.authorize(request, now=self.clock.monotonic())
        sign_in = await self._find_sign_in(request, query, authorized)
        if sign_in is None:
            return self.responses.error(403, _UNKNOWN)
        code, failure = "", None
        try:
            code = self._read_code(sign_in, query, authorized)
        except UnrelatedRequest:
            return self.responses.error(400, _UNKNOWN)
        except NotSignedIn as error:
            failure = sign_in_failure(sign_in.credential, error)
        if not self.pending.end(sign_in):  # the same response came twice at once
            return self.responses.error(403, _UNKNOWN)
        if failure is not None:
            return await self._end(sign_in, request, authorized, failure)
        made = sign_in.request
        response = SignInResponse(sign_in.key, code, made.redirect_uri, made.verifier, made.nonce)
        result = await self.backend.complete_sign_in(sign_in.credential, response)
        return await self._end(sign_in, request, authorized, result.finding, account=result.account)

    async def _find_sign_in(
        self, request: ConsoleRequest, query: str, authorized: AuthorizedRequest | None
    ) -> PendingSignIn | None:
        """Return the sign-in of this browser that waits for a response with this query."""
        sign_in = self.pending.find(parse_qs(query).get("state", [""])[0], now=self.clock.monotonic())
        if sign_in is None or self._is_of_browser(sign_in, request, authorized):
            return sign_in
        who = authorized.session.identity.name if authorized is not None else ""
        await self._audit(sign_in, request, authorized, "denied", "the response came by another browser", who=who)
        return None

    def _read_code(self, sign_in: PendingSignIn, query: str, authorized: AuthorizedRequest | None) -> str:
        """Return the code of a response. Raise UnrelatedRequest or NotSignedIn."""
        if authorized is not None and sign_in.session is not None and not may_act(authorized.role, "sign-in"):
            raise NotSignedIn("your role may no longer sign credentials in", "Ask an admin of the console.")
        return read_authorization_response(query, state=sign_in.request.state, is_issuer=sign_in.request.is_issuer)

    def _is_of_browser(
        self, sign_in: PendingSignIn, request: ConsoleRequest, authorized: AuthorizedRequest | None
    ) -> bool:
        if sign_in.session is not None:
            return authorized is not None and authorized.session is sign_in.session
        values = self.open(request, "sign-in")
        return values is not None and is_token(values["browser_token"], sign_in.browser_token)

    async def _end(
        self,
        sign_in: PendingSignIn,
        request: ConsoleRequest,
        authorized: AuthorizedRequest | None,
        finding: Finding,
        *,
        account: str = "",
    ) -> web.Response:
        """Record the result, and send the browser to the page that shows it: its address contains no code."""
        who = authorized.session.identity.name if authorized is not None and sign_in.session else account or INVITED
        detail = f"{finding.seen}{f'; invited by {sign_in.invited_by}' if sign_in.invited_by else ''}"
        await self._audit(sign_in, request, authorized, "ok" if finding.ok else "failed", detail, who=who)
        if sign_in.session is not None:
            outcome = (
                ActionOutcome(ok=True, message=f"{sign_in.credential}: {finding.seen}")
                if finding.ok
                else ActionOutcome(ok=False, findings=(finding,))
            )
            sign_in.session.outcome = outcome
            return redirect(page_of_action("sign-in", sign_in.credential))
        values = {
            "credential": sign_in.credential,
            "account": account,
            "is_ok": "yes" if finding.ok else "",
            "seen": finding.seen,
            "means": finding.means,
            "remedy": finding.remedy,
        }
        return redirect(SIGN_IN_RESULT, cookies=(self.seal(request, "sign-in-result", values),))

    async def _audit(
        self,
        sign_in: PendingSignIn,
        request: ConsoleRequest,
        authorized: AuthorizedRequest | None,
        result: AuditResult,
        detail: str,
        *,
        who: str,
    ) -> None:
        is_invited = sign_in.session is None
        login = "invite" if is_invited or authorized is None else authorized.session.identity.kind
        role = "" if is_invited or authorized is None else authorized.role
        client = request.client or "unix"
        entry = AuditEntry(who, login, role, client, "sign-in", sign_in.credential[:128], result, detail[:500])
        await self.audit.write(entry)


def host_of(url: str) -> str:
    """Return the host of a URL, and its port if it names one, for a person."""
    return urlsplit(url).netloc.rpartition("@")[2]
