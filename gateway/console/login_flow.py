"""The login page: a password, or OpenID Connect; and what happens when either succeeds or fails."""

import logging
import math
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from aiohttp import web

from gateway.config.console_model import Role
from gateway.config.console_users import USER_NAME
from gateway.console.audit_log import AuditEntry, AuditLog, AuditResult
from gateway.console.authentication import Authentication
from gateway.console.console_cookies import CookiePurpose, set_cookie
from gateway.console.console_request import ConsoleRequest
from gateway.console.console_responses import ResponseFactory, redirect, with_cookies
from gateway.console.identity_provider import LoginAttempt, new_attempt
from gateway.console.login_limits import FailedLogins, address_key
from gateway.console.login_sessions import Identity, SessionTable
from gateway.console.openid_connect import LoginRejected
from gateway.console.page import Page
from gateway.console.request_guard import is_token, safe_return_path
from gateway.console.sealed_state import SealedState
from gateway.content.untrusted_text import browser_origin
from gateway.observe.episodes import EventDeduplicator
from gateway.observe.log import log_event
from gateway.signin.authorization_response import UnrelatedRequest

_log = logging.getLogger(__name__)

LOGIN_PATH, START_PATH = "/console/login", "/console/login/start"
LOGIN_TIME = 600.0
"""Seconds that a person has to complete a login."""
UNKNOWN = "(unknown user)"
"""Shown for a name that no user has: people type passwords into the wrong field."""
_WRONG = "The name or the password is wrong."
_AGAIN = "This login is too old, or was begun in another browser. Sign in again."


@dataclass(frozen=True, slots=True)
class LoginFlow:
    """The login of the console. Both clocks are functions that return seconds."""

    responses: ResponseFactory
    sessions: SessionTable
    audit: AuditLog
    monotonic: Callable[[], float]
    sealed: SealedState
    limits: FailedLogins
    episodes: EventDeduplicator

    def login_path(self, return_path: str) -> str:
        """Return the path of the login page, which leads to `return_path` afterwards."""
        return f"{LOGIN_PATH}?{urlencode({'return': return_path})}"

    def show(
        self, request: ConsoleRequest, access: Authentication, *, failure: str = "", status: int = 200
    ) -> web.Response:
        """Return the login page. Its form has a token of its own, so that no other site can log a person in."""
        return self._show(request, access, _return_path(request), failure=failure, status=status)

    def _show(
        self, request: ConsoleRequest, access: Authentication, return_path: str, *, failure: str, status: int
    ) -> web.Response:
        csrf_token = secrets.token_urlsafe(32)
        cookie = self._seal(request, "form", {"csrf_token": csrf_token})
        start = f"{START_PATH}?{urlencode({'return': return_path})}" if access.provider is not None else None
        values = {
            "title": "Log in",
            "has_users": access.users is not None,
            "start_path": start,
            "csrf_token": csrf_token,
            "return_path": return_path,
            "failure": failure,
        }
        return with_cookies(self.responses.page(Page("login.html", values, status), {}), cookie)

    async def submit(self, request: ConsoleRequest, access: Authentication, form: Mapping[str, str]) -> web.Response:
        """Log in with a name and a password."""
        return_path = safe_return_path(form.get("return", ""))
        state = self._open(request, "form")
        if access.users is None or state is None or not is_token(form.get("csrf_token", ""), state["csrf_token"]):
            return self._show(request, access, return_path, failure=_AGAIN, status=403)
        name = form.get("name", "")
        keys = [address_key(request.client), f"name {name if USER_NAME.fullmatch(name) else ''}"]
        began = self.monotonic()
        if wait := self.limits.begin(keys, now=began):
            return self._limited(request, access, return_path, wait)
        user = await access.users.authenticate(name, form.get("password", ""))
        if user is None:
            who = name if await access.users.find(name) is not None else UNKNOWN
            await self._audit(request, Identity(who, "local"), None, "denied", _WRONG)
            return self._show(request, access, return_path, failure=_WRONG, status=403)
        self.limits.forget(keys, began=began)
        identity = Identity(user.name, "local", proof=user.password_hash)
        return await self._enter(request, identity, user.role, return_path)

    async def start(self, request: ConsoleRequest, access: Authentication) -> web.Response:
        """Send the browser to the provider."""
        if access.provider is None:
            return self.responses.error(404, "This console has no login by OpenID Connect.")
        if not request.address.is_configured:  # the provider returns to `url`, where this cookie would be missing
            origin = browser_origin(access.settings.url or "")
            return redirect(f"{origin}{request.raw.rel_url.raw_path_qs}")
        attempt = new_attempt()
        try:
            location = await access.provider.authorization_url(attempt)
        except LoginRejected as error:
            return self._rejected(request, access, error)
        values = {"state": attempt.state, "nonce": attempt.nonce, "verifier": attempt.verifier}
        cookie = self._seal(request, "openid", values | {"return": _return_path(request)})
        return redirect(location, cookies=(cookie,))

    async def finish(self, request: ConsoleRequest, access: Authentication) -> web.Response:
        """Log in the person with whom the browser returns from the provider."""
        state = self._open(request, "openid")
        if access.provider is None or state is None:
            return self.show(request, access, failure=_AGAIN, status=403)
        keys, began = [address_key(request.client)], self.monotonic()
        if wait := self.limits.begin(keys, now=began):
            return self._limited(request, access, state["return"], wait)
        attempt = LoginAttempt(state["state"], state["nonce"], state["verifier"])
        try:
            identity = await access.provider.identify(request.raw.rel_url.raw_query_string, attempt)
        except UnrelatedRequest:
            return self.show(request, access, failure=_AGAIN, status=403)
        except LoginRejected as error:
            await self._audit(request, Identity("", "openid"), None, "failed", error.seen)
            return self._rejected(request, access, error)
        role = await access.role_of(identity)
        if role is None:
            detail = f"You are signed in as {identity.name}, but none of your groups has a role in this console."
            await self._audit(request, identity, None, "denied", "none of the groups has a role")
            return with_cookies(self.responses.error(403, detail), _end(request, "openid"))
        self.limits.forget(keys, began=began)
        return await self._enter(request, identity, role, state["return"])

    async def _enter(self, request: ConsoleRequest, identity: Identity, role: Role, return_path: str) -> web.Response:
        """Open a new session, in place of the one that the browser had: an id from before a login is worth nothing."""
        if (former := request.cookie("session")) is not None:
            self.sessions.close(former)
        session_id, _ = self.sessions.open(identity, now=self.monotonic())
        await self._audit(request, identity, role, "ok", "")
        cookies = (
            set_cookie("session", session_id, request.address),
            _end(request, "form"),
            _end(request, "openid"),
        )
        return redirect(return_path, cookies=cookies)

    def _limited(self, request: ConsoleRequest, access: Authentication, return_path: str, wait: float) -> web.Response:
        if self.episodes.starts_episode(address_key(request.client)):
            message = "logins are refused for a while after five failed ones in a minute"
            log_event(_log, logging.WARNING, "console-logins-limited", message, client=request.client)
        seconds = math.ceil(wait)
        failure = f"Too many failed logins. Try again in {seconds} s."
        response = self._show(request, access, return_path, failure=failure, status=429)
        response.headers["Retry-After"] = str(seconds)
        return response

    def _rejected(self, request: ConsoleRequest, access: Authentication, error: LoginRejected) -> web.Response:
        log_event(_log, logging.WARNING, "console-login-failed", f"{error.seen}; {error.remedy}", client=request.client)
        return self.show(request, access, failure=f"The login failed: {error.seen}. {error.remedy}", status=502)

    async def _audit(
        self, request: ConsoleRequest, identity: Identity, role: Role | None, result: AuditResult, detail: str
    ) -> None:
        client = request.client or "unix"
        entry = AuditEntry(identity.name, identity.kind, role or "", client, "login", "", result, detail)
        await self.audit.write(entry)

    def _seal(self, request: ConsoleRequest, purpose: CookiePurpose, values: Mapping[str, str]) -> str:
        text = self.sealed.seal(purpose, values, until=self.monotonic() + LOGIN_TIME)
        return set_cookie(purpose, text, request.address, max_age=int(LOGIN_TIME))

    def _open(self, request: ConsoleRequest, purpose: CookiePurpose) -> dict[str, str] | None:
        text = request.cookie(purpose)
        return self.sealed.open(purpose, text, now=self.monotonic()) if text is not None else None


def _end(request: ConsoleRequest, purpose: CookiePurpose) -> str:
    return set_cookie(purpose, "", request.address, max_age=0)


def _return_path(request: ConsoleRequest) -> str:
    return safe_return_path(request.raw.rel_url.query.get("return", ""))
