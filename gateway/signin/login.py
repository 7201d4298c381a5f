"""The verb `login`: a person signs in, and the refresh token goes into the store of the running gateway."""

import os
import threading
import webbrowser
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

from gateway import __version__
from gateway.config.model import Config, CredentialSettings
from gateway.diagnosis import Finding
from gateway.oauth.store import EntryUnreadable
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
from gateway.signin.sign_in_completion import SIGN_IN_ERRORS, complete_sign_in, sign_in_failure, signed_in_text
from gateway.wiring.components import Components
from gateway.wiring.credentials import credential_key

TIME_LIMIT = 600.0
"""Seconds for the person to sign in."""

_LISTEN_REMEDY = "Free the port, or use --paste, which opens no port."

ShowLine = Callable[[str], object]
"""Prints a line at once."""


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
        store = components.configure(config)
        with suppress(EntryUnreadable):  # the sign-in replaces it
            await store.get_refresh_token(credential_key(name, credential))  # fail before the person starts
        show_url = partial(_show_url, show_line=show_line, browser=browser)
        async with _response_reader(credential, show_line, paste=paste) as (redirect_uri, read_response):
            request = build_authorization_request(credential, redirect_uri=redirect_uri)
            code = await read_response(request, show_url)
        signed_in = await complete_sign_in(
            components.credential_builder,
            name,
            credential,
            code=code,
            redirect_uri=request.redirect_uri,
            verifier=request.verifier,
            nonce=request.nonce,
        )
        return Finding(ok=True, subject=f"credential {name}", seen=signed_in_text(signed_in.account))
    except SIGN_IN_ERRORS as error:
        return sign_in_failure(name, error)
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
        raise NotSignedIn(seen, "Sign in again.") from cause


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
    raise NotSignedIn("nothing was pasted", "Sign in again.")
