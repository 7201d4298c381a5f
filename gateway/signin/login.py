"""The verb `login`: a person signs in, and the refresh token goes into the store of the running gateway."""

import os
import random
import threading
import webbrowser
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import jwt

from gateway import __version__
from gateway.config.model import Config, CredentialSettings
from gateway.diagnosis import Finding
from gateway.errors import TokenRefused, TokenUnavailable
from gateway.oauth.clock import SystemClock
from gateway.oauth.failures import failure_code, failure_remedy
from gateway.oauth.fetch_lease import FetchLease
from gateway.oauth.grants import TokenResponse
from gateway.oauth.lifetime import make_token
from gateway.oauth.redaction import safe_text
from gateway.oauth.refresh_rotation import encode_stored
from gateway.oauth.store import Store, StoreDown
from gateway.observe.metrics import Metrics
from gateway.signin.authorization_request import AuthorizationRequest, build_authorization_request, can_listen
from gateway.signin.authorization_response import (
    NotSignedIn,
    UnrelatedRequest,
    read_authorization_response,
    read_pasted,
)
from gateway.signin.paste import read_pasted_response
from gateway.signin.redirect_listener import DEFAULT_REDIRECT_URI, RedirectListener
from gateway.system.files import in_thread
from gateway.wiring.components import Components
from gateway.wiring.credentials import credential_key, renewal_margin

TIME_LIMIT = 600.0
"""Seconds for the person to sign in."""

_LISTEN_REMEDY = "Free the port, or use --paste, which opens no port."
_CODE_REMEDY = (
    "The code was used before, or has expired (identity domains: three minutes), or `redirect_uri` is not the one of "
    "the sign-in. Run the command again."
)
_STORE_REMEDY = "Nothing was changed. Restore the store that `state` names, and run the command again."
_OFFLINE_REMEDY = "Add `offline_access` to the credential's `scope`, and run the command again."
_GRANT_REMEDY = (
    "Tick Refresh Token under Allowed Grant Types in the application's OAuth configuration, and run the command again."
)

ShowLine = Callable[[str], object]
"""Prints a line at once."""


def sign_in_problem(config: Config, name: str) -> str:
    """Return why no person can sign in or out for the credential of that name; empty if one can."""
    credential = config.credentials.get(name)
    if credential is None:
        return f"no credential is called {name}; there are: {', '.join(sorted(config.credentials))}"
    if credential.grant != "authorization_code":
        return f"{name} has `grant: {credential.grant}`; a person signs in for `grant: authorization_code` only"
    if config.state is None:
        return "the sign-in needs a store that the running gateway shares; add `state: {path: FILE, keys: [KEY]}`"
    return ""


async def login(
    config: Config, name: str, *, show_line: ShowLine, paste: bool = False, browser: bool = False
) -> Finding:
    """Let a person sign in for the credential of that name, and store the refresh token.

    With `paste`, or if the redirect URI is not on this machine, the person pastes the response. With `browser` the
    URL is also opened in a browser.
    """
    credential = config.credentials[name]
    components = Components(Metrics(__version__), environ=os.environ)
    try:
        store, key = components.configure(config), credential_key(name, credential)
        await store.get_refresh_token(key)  # fail before the person starts
        show_url = partial(_show_url, show_line=show_line, browser=browser)
        async with _response_reader(credential, show_line, paste=paste) as (redirect_uri, read_response):
            request = build_authorization_request(credential, redirect_uri=redirect_uri)
            code = await read_response(request, show_url)
        response = await _exchange_code(components, credential, request, code)
        seen = await _store_response(store, key, credential, response)
        return Finding(ok=True, subject=f"credential {name}", seen=seen)
    except (TokenRefused, TokenUnavailable, NotSignedIn, StoreDown, OSError, ValueError) as error:
        return _failed(name, error)
    finally:
        await components.close()


ShowUrl = Callable[[AuthorizationRequest], None]
ResponseReader = Callable[[AuthorizationRequest, ShowUrl], Awaitable[str]]
"""Shows the request, waits for the response and returns its code. Raises NotSignedIn."""


@asynccontextmanager
async def _response_reader(
    credential: CredentialSettings, show_line: ShowLine, *, paste: bool
) -> AsyncIterator[tuple[str, ResponseReader]]:
    """Yield the redirect URI, and the reader of the response."""
    redirect_uri = credential.redirect_uri or DEFAULT_REDIRECT_URI
    if paste or not can_listen(redirect_uri):
        yield redirect_uri.replace(":0/", "/"), partial(_read_pasted, show_line)
        return
    listener = RedirectListener()
    try:
        yield await _listen(listener, redirect_uri), partial(_read_redirected, listener, show_line)
    finally:
        await listener.close()


async def _listen(listener: RedirectListener, redirect_uri: str) -> str:
    try:
        return await listener.start(redirect_uri)
    except OSError as cause:
        seen = f"cannot listen on {redirect_uri}: {cause.strerror or type(cause).__name__}"
        raise NotSignedIn(seen, _LISTEN_REMEDY) from cause


def _show_url(request: AuthorizationRequest, *, show_line: ShowLine, browser: bool) -> None:
    show_line(f"Open this address in a browser and sign in:\n\n  {request.url}\n")
    if browser:  # in a thread: some browsers return only when the person closes them
        threading.Thread(target=webbrowser.open, args=(request.url,), daemon=True).start()


async def _read_redirected(
    listener: RedirectListener, show_line: ShowLine, request: AuthorizationRequest, show_url: ShowUrl
) -> str:
    listener.expect(partial(read_authorization_response, state=request.state, is_issuer=request.is_issuer))
    show_url(request)
    show_line(
        f"Waiting for the browser to return to {request.redirect_uri} on this machine. If your browser runs on another "
        "machine, use --paste."
    )
    try:
        return await listener.answer(within=TIME_LIMIT)
    except TimeoutError as cause:
        seen = f"no browser returned within {TIME_LIMIT / 60:.0f} minutes"
        raise NotSignedIn(seen, "Run the command again.") from cause


async def _read_pasted(show_line: ShowLine, request: AuthorizationRequest, show_url: ShowUrl) -> str:
    show_url(request)
    show_line(
        f"The sign-in ends at an address that begins with {request.redirect_uri}; the browser may show an error there. "
        "Copy the whole address, paste it here, and press Enter:"
    )
    while text := await read_pasted_response():
        try:
            return read_pasted(text, state=request.state, is_issuer=request.is_issuer)
        except UnrelatedRequest as error:
            show_line(f"This is not the response to the sign-in: {error}. Paste it again:")
    raise NotSignedIn("nothing was pasted", "Run the command again.")


async def _exchange_code(
    components: Components, credential: CredentialSettings, request: AuthorizationRequest, code: str
) -> TokenResponse:
    requests = components.credential_builder.token_requests(credential)
    values = {"code": code, "redirect_uri": request.redirect_uri, "code_verifier": request.verifier}
    token_request = await in_thread(partial(requests.build, "authorization_code", **values), owner="login")
    response = await requests.send(token_request)
    if response.refresh_token is None:
        has_offline_scope = "offline_access" in (credential.scope or "").split()
        remedy = _GRANT_REMEDY if has_offline_scope else _OFFLINE_REMEDY
        raise NotSignedIn("the token endpoint issued no refresh token, so nothing is stored", remedy)
    return response


async def _store_response(store: Store, key: str, credential: CredentialSettings, response: TokenResponse) -> str:
    """Store the tokens of a sign-in while no renewal is under way. Return a text that names the person."""
    clock = SystemClock()
    lease = FetchLease(store, key, clock=clock)
    token = make_token(
        response,
        clock.monotonic(),
        wall=clock.wall(),
        random_fraction=random.random(),  # noqa: S311 - jitter
        margin=renewal_margin(credential),
    )

    async def put() -> str:
        await store.put_refresh_token(key, encode_stored(response.refresh_token or ""))
        await lease.publish_token(token)
        subject = _subject(response.value)
        return f"signed in{f' as {subject}' if subject else ''}; the gateway renews the tokens from now on"

    return await lease.run_exclusive(ignore_other_results, put)


async def ignore_other_results() -> None:
    """Return without looking for the result of another process: a sign-in replaces it."""


def _subject(token: str) -> str:
    """Return the subject of the token, unverified, to show it; empty for an opaque token."""
    try:
        return safe_text(str(jwt.decode(token, options={"verify_signature": False}).get("sub", "")))
    except jwt.PyJWTError:
        return ""


def _failed(name: str, error: Exception) -> Finding:
    subject = f"credential {name}"
    if isinstance(error, NotSignedIn):
        return Finding(ok=False, subject=subject, seen=error.seen, remedy=error.remedy)
    if isinstance(error, StoreDown):
        return Finding(ok=False, subject=subject, seen=f"cannot store the sign-in: {error}", remedy=_STORE_REMEDY)
    if isinstance(error, TokenRefused | TokenUnavailable):
        remedy = _CODE_REMEDY if failure_code(error) == "invalid_grant" else failure_remedy(error, name)
        return Finding(ok=False, subject=subject, seen=error.reason, remedy=remedy)
    remedy = "Correct it, and run the command again."
    return Finding(ok=False, subject=subject, seen=safe_text(str(error)), remedy=remedy)
