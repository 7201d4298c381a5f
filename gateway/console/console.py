"""Answers the requests of the console at the admin port.

Every request passes the same steps: host, origin, session, token, role. Only static files and the login need no
session.
"""

import logging
from collections.abc import Mapping
from functools import partial
from urllib.parse import parse_qsl, unquote

from aiohttp import web

from gateway.admin.console_backend import ConsoleBackend
from gateway.config.model import Config
from gateway.console.actions import HANDLERS, ActionOutcome, action_entry, is_permitted, page_of_action, run_action
from gateway.console.audit_log import AuditLog
from gateway.console.authentication import CALLBACK_PATH, MACHINE, Authentication, AuthorizedRequest
from gateway.console.console_cookies import set_cookie
from gateway.console.console_request import ConsoleRequest, UnusableForm
from gateway.console.console_responses import ResponseFactory, redirect, send_stream, with_cookies
from gateway.console.invite_flow import InviteFlow
from gateway.console.login_flow import LOGIN_PATH, START_PATH, LoginFlow
from gateway.console.login_limits import FailedLogins
from gateway.console.login_sessions import SessionTable
from gateway.console.page import PageDocument, PageHandler, PageRequest, PageStream
from gateway.console.pages import PAGES
from gateway.console.pending_sign_ins import PendingSignIns
from gateway.console.request_guard import HOME, is_token, safe_return_path
from gateway.console.roles import ACTIONS, may_act
from gateway.console.sealed_state import SealedState
from gateway.console.sign_in_flow import SIGN_IN_CALLBACK, SIGN_IN_RESULT, SignInFlow
from gateway.content.untrusted_text import browser_origin
from gateway.oauth.clock import Clock, SystemClock
from gateway.observe.episodes import EventDeduplicator
from gateway.observe.log import log_event
from gateway.signin.invites import INVITE_PATH

_log = logging.getLogger(__name__)

STATIC, ACTIONS_PREFIX, LOGOUT_PATH = "/console/static/", "/console/actions/", "/console/logout"
_NO_LOGIN = (
    "This console has no login, so it serves only the machine that it runs on. Configure `console.sign_in` or "
    "`console.users`."
)
SESSION_ENDED = "Your session has ended. Sign in again."
_FOREIGN = "Another page sent this form. Open the page of the console itself, and try again."
_STALE = "This page is of another session. Reload it, and try again."


class Console:
    """The console of one gateway."""

    def __init__(
        self, backend: ConsoleBackend, config: Config, *, environ: Mapping[str, str], clock: Clock | None = None
    ) -> None:
        self._backend = backend
        self._environ = environ
        clock = clock or SystemClock()
        self._clock = clock
        self._sessions = SessionTable()
        self._responses = ResponseFactory()
        self._access = Authentication(config, self._sessions, environ=environ, clock=clock, former=None)
        self._audit = AuditLog(self._access.settings.audit, wall=clock.wall)
        sealed = SealedState()
        self._sign_in = SignInFlow(config, backend, self._responses, self._audit, sealed, clock, PendingSignIns())
        self._invites = InviteFlow(self._sign_in)
        self._login = LoginFlow(
            self._responses,
            self._sessions,
            self._audit,
            clock.monotonic,
            sealed,
            FailedLogins(),
            EventDeduplicator(clock.monotonic),
        )

    def apply_config(self, config: Config) -> None:
        """Use another configuration. Sessions stay, with the roles that their persons have in it."""
        self._access = Authentication(
            config, self._sessions, environ=self._environ, clock=self._clock, former=self._access
        )
        self._audit.set_path(self._access.settings.audit)
        self._sign_in.config = config

    async def answer(self, raw: web.BaseRequest, peer: str | None, host: str) -> web.StreamResponse:
        """Answer one request from the address `peer`; the admin port accepts both `peer` and `host`."""
        settings = self._access.settings
        request = ConsoleRequest.read(raw, peer=peer, host=host, url=settings.url, proxies=settings.proxies)
        if request is None:
            return self._responses.error(400, "The Host field is malformed.")
        if request.path in {"/", "/console"}:
            return redirect(HOME)
        try:
            return await (self._read(request) if request.is_read else self._write(request))
        except UnusableForm as error:
            response = self._responses.error(error.status, str(error))
            response.force_close()  # the rest of the form may follow
            return response
        except Exception as error:  # noqa: BLE001 - the request boundary
            message = "the console could not answer"
            log_event(_log, logging.ERROR, "console-failed", message, exc=error, path=_loggable_path(request.path))
            return self._responses.error(500, "The gateway could not make this page; its log has the cause.")

    # Pages ---------------------------------------------------------------------------------------------------------

    async def _read(self, request: ConsoleRequest) -> web.StreamResponse:
        """Answer GET and HEAD, which change nothing."""
        if request.path.startswith(STATIC):
            name, etag = request.path.removeprefix(STATIC), request.raw.headers.get("If-None-Match")
            return self._responses.static(name, etag) or self._responses.error(404, "There is no such file.")
        if request.is_embedded:
            return self._responses.error(403, "Another site cannot load pages of the console.")
        if (elsewhere := self._elsewhere(request)) is not None:
            return redirect(elsewhere)
        if request.path in {LOGIN_PATH, START_PATH, CALLBACK_PATH} and self._access.has_login:
            return await self._read_login(request)
        if request.path in {SIGN_IN_CALLBACK, SIGN_IN_RESULT} or request.path.startswith(INVITE_PATH):
            return await self._read_sign_in(request)
        return await self._read_page(request)

    def _elsewhere(self, request: ConsoleRequest) -> str | None:
        """Return the same page at `url`, if the request came by another name of the admin port: there, passwords and
        cookies would not be encrypted. Names of this machine need no encryption.
        """
        url = self._access.settings.url
        if url is None or request.address.is_configured or request.address.is_loopback:
            return None
        return f"{browser_origin(url)}{request.raw.rel_url.raw_path_qs}"

    async def _read_login(self, request: ConsoleRequest) -> web.Response:
        if request.path == START_PATH:
            return await self._login.start(request, self._access)
        if request.path == CALLBACK_PATH:
            return await self._login.finish(request, self._access)
        if await self._access.authorize(request, now=self._clock.monotonic()) is not None:
            return redirect(safe_return_path(request.raw.rel_url.query.get("return", "")))
        return self._login.show(request, self._access)

    async def _read_sign_in(self, request: ConsoleRequest) -> web.Response:
        """Answer a person who signs in for a credential, who may have no login of the console."""
        if not self._serves(request):
            return self._responses.error(403, _NO_LOGIN)
        if request.path == SIGN_IN_CALLBACK:
            return await self._sign_in.finish(request, self._access)
        if request.path == SIGN_IN_RESULT:
            return self._sign_in.show_result(request)
        return await self._invites.show(request)

    def _serves(self, request: ConsoleRequest) -> bool:
        return self._access.has_login or request.is_on_this_machine

    async def _read_page(self, request: ConsoleRequest) -> web.StreamResponse:
        authorized = await self._access.authorize(request, now=self._clock.monotonic())
        if authorized is not None:
            return await self._page(authorized, request.raw.rel_url.raw_path_qs, outcome=_take_outcome(authorized))
        if self._access.has_login:
            return self._request_login(request)
        if not self._serves(request):
            return self._responses.error(403, _NO_LOGIN)
        session_id, session = self._sessions.open(MACHINE, now=self._clock.monotonic())
        cookie = set_cookie("session", session_id, request.address)
        authorized = AuthorizedRequest(request, session, "admin")
        return await self._page(authorized, request.raw.rel_url.raw_path_qs, cookie)

    def _request_login(self, request: ConsoleRequest) -> web.Response:
        """Lead to the login; a script gets 401, because a redirection would put the login into a part of its page."""
        login = self._login.login_path(safe_return_path(request.raw.rel_url.raw_path_qs))
        if request.is_by_person:
            return redirect(login)
        response = self._responses.error(401, SESSION_ENDED)
        response.headers["HX-Redirect"] = self._login.login_path(request.page_path)
        return response

    async def _page(
        self, authorized: AuthorizedRequest, target: str, *cookies: str, outcome: ActionOutcome | None = None
    ) -> web.StreamResponse:
        """Return the page of a target, a path with an optional query; with the outcome of an action, if there is."""
        request = authorized.request
        path, _, query = target.partition("?")
        segments = _segments(path)
        handler = find_page(segments)
        values = self._values(authorized) | {"outcome": outcome}
        if handler is None:
            return with_cookies(self._responses.error(404, "The console has no such page.", values), *cookies)
        page_request = PageRequest(
            self._backend,
            authorized.viewer,
            segments,
            dict(parse_qsl(query, keep_blank_values=True)),
            request.is_fragment,
            self._clock.wall(),
            self._base_url(request),
            self._audit.recent,
        )
        answer = await handler(page_request)
        if isinstance(answer, PageStream):
            return await send_stream(request.raw, answer, partial(self._is_open, request))
        if isinstance(answer, PageDocument):
            return with_cookies(self._responses.document(answer), *cookies)
        response = await self._responses.long_page(answer, values, is_fragment=request.is_fragment)
        return with_cookies(response, *cookies)

    async def _is_open(self, request: ConsoleRequest) -> bool:
        """Return whether the session of a request is still open, and its person still has a role."""
        return await self._access.authorize(request, now=self._clock.monotonic()) is not None

    def _values(self, authorized: AuthorizedRequest) -> dict[str, object]:
        """Return the values of all templates."""
        return {
            "viewer": authorized.viewer,
            "may": partial(may_act, authorized.role),
            "can_log_out": self._access.has_login,
        }

    def _base_url(self, request: ConsoleRequest) -> str:
        url = self._access.settings.url
        return request.address.origin if url is None else browser_origin(url) or request.address.origin

    # Forms ---------------------------------------------------------------------------------------------------------

    async def _write(self, request: ConsoleRequest) -> web.StreamResponse:
        """Answer a form: only one that a page of the console sent."""
        if request.raw.method != "POST":
            return self._refuse(405, "The console accepts GET and POST.")
        if self._elsewhere(request) is not None or not request.is_from_own_page:
            return self._refuse(403, _FOREIGN)
        form = await request.read_form()
        if request.path == LOGIN_PATH:
            return await self._login.submit(request, self._access, form)
        if request.path.startswith(INVITE_PATH):
            return await self._invites.submit(request, form) if self._serves(request) else self._refuse(403, _NO_LOGIN)
        return await self._write_form(request, form)

    async def _write_form(self, request: ConsoleRequest, form: Mapping[str, str]) -> web.StreamResponse:
        """Answer a form of a session, which repeats the token of the session."""
        authorized = await self._access.authorize(request, now=self._clock.monotonic())
        if authorized is None:
            return self._refuse(401, SESSION_ENDED)
        if not is_token(form.get("csrf_token", ""), authorized.session.csrf_token):
            await self._audit.write(action_entry(authorized, request.path, "", "denied", _STALE))
            return self._refuse(403, _STALE)
        if request.path == LOGOUT_PATH:
            return await self._logout(authorized)
        return await self._act(authorized, request.path.removeprefix(ACTIONS_PREFIX), form)

    def _refuse(self, status: int, detail: str) -> web.Response:
        response = self._responses.error(status, detail)
        response.force_close()  # the form may not have been read
        return response

    async def _logout(self, authorized: AuthorizedRequest) -> web.Response:
        request = authorized.request
        self._sessions.close(request.cookie("session") or "")
        await self._audit.write(action_entry(authorized, "logout", "", "ok", ""))
        location = LOGIN_PATH if self._access.has_login else HOME
        return redirect(location, cookies=(set_cookie("session", "", request.address, max_age=0),))

    async def _act(self, authorized: AuthorizedRequest, action: str, form: Mapping[str, str]) -> web.StreamResponse:
        """Run an action and show its outcome: htmx gets the page at once, else the browser is sent to it."""
        name, request = form.get("name", ""), authorized.request
        if action == "sign-in" and await is_permitted(action, name, authorized, self._audit):
            return await self._sign_in.start(authorized, name)
        if action not in ACTIONS:
            return self._responses.error(404, "The console has no such action.")
        outcome = await run_action(action, name, authorized, self._backend, self._audit) if action in HANDLERS else None
        if outcome is None:
            detail = f"Your role, {authorized.role}, may not do this."
            return self._responses.error(403, detail, self._values(authorized))
        target = safe_return_path(form.get("return") or page_of_action(action, name))
        if request.is_fragment:
            return await self._page(authorized, target, outcome=outcome)
        authorized.session.outcome = outcome
        return redirect(target)


def find_page(segments: tuple[str, ...]) -> PageHandler | None:
    """Return the page of a path: the one with these segments, else the one with `*` for the last one."""
    return PAGES.get(segments) or PAGES.get((*segments[:-1], "*") if segments else ())


def _take_outcome(authorized: AuthorizedRequest) -> ActionOutcome | None:
    """Return the outcome that the page has to show, once: to the browser that was sent to it, not to its scripts."""
    if authorized.request.is_fragment:
        return None
    outcome, authorized.session.outcome = authorized.session.outcome, None
    return outcome if isinstance(outcome, ActionOutcome) else None


def _loggable_path(path: str) -> str:
    """Return a path without the token of an invite, which is worth a sign-in."""
    return f"{INVITE_PATH}…" if path.startswith(INVITE_PATH) else path


def _segments(path: str) -> tuple[str, ...]:
    """Return the decoded segments below `/console/`; a final slash adds none."""
    below = path.removeprefix("/console/").removesuffix("/")
    return tuple(unquote(segment) for segment in below.split("/")) if below else ()
