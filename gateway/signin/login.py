"""The verb `login`: a person signs in, and the refresh token is put where the running gateway looks for it."""

import os
import random
import threading
import webbrowser
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import jwt

from gateway import __version__
from gateway.config.model import Config, Credential
from gateway.diagnosis import Finding
from gateway.errors import TokenRefused, TokenUnavailable
from gateway.oauth.clock import SystemClock
from gateway.oauth.failures import code_of, remedy_for
from gateway.oauth.fetch_lease import FetchLease
from gateway.oauth.grants import TokenResponse
from gateway.oauth.lifetime import RenewalMargin, lifetime
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
from gateway.signin.listener import ANY, Listener
from gateway.signin.paste import read_pasted_response
from gateway.system.files import in_thread
from gateway.wiring.components import Components, key_of

WAIT = 600.0
"""Seconds that a person may take."""

_LISTEN = "Free the port, or run it with --paste, which listens nowhere."
_CODE = (
    "The code was used before, or is too old (identity domains: three minutes), or `redirect_uri` is not the one that "
    "it was given for. Run the command again."
)
_KEEP = "Nothing was changed. Bring back the store that `state` names, and run the command again."
_OFFLINE = "Add `offline_access` to the credential's `scope`, and run the command again."
_GRANT = "Tick Refresh Token under Allowed Grant Types in the application's OAuth configuration, and run it again."

Say = Callable[[str], object]


def why_not(config: Config, name: str) -> str:
    """Why nobody can sign in for the credential of that name, or out; empty when someone can."""
    credential = config.credentials.get(name)
    if credential is None:
        return f"no credential is called {name}; there are: {', '.join(sorted(config.credentials))}"
    if credential.grant != "authorization_code":
        return f"{name} has `grant: {credential.grant}`; a person signs in for `grant: authorization_code` only"
    if config.state is None:
        return "the sign-in would be kept nowhere that the running gateway sees; add `state: {path: FILE, keys: [KEY]}`"
    return ""


async def login(config: Config, name: str, *, say: Say, paste: bool = False, browser: bool = False) -> Finding:
    """Has a person sign in for the credential of that name; `say` shows a line at once.

    With `paste`, or where the redirect URI is not of this machine, the person pastes the answer. With `browser` the
    address is opened too.
    """
    credential = config.credentials[name]
    parts = Components(Metrics(__version__), environ=os.environ)
    try:
        store, key = parts.configure(config), key_of(name, credential)
        await store.secret(key)  # before a person takes the trouble
        show = partial(_show, say=say, browser=browser)
        async with _way(credential, say, paste=paste) as (redirect_uri, answered):
            ask = build_authorization_request(credential, redirect_uri=redirect_uri)
            code = await answered(ask, show)
        reply = await _exchanged(parts, credential, ask, code)
        return Finding(ok=True, subject=f"credential {name}", seen=await _kept(store, key, credential, reply))
    except (TokenRefused, TokenUnavailable, NotSignedIn, StoreDown, OSError, ValueError) as error:
        return _told(name, error)
    finally:
        await parts.close()


ShowUrl = Callable[[AuthorizationRequest], None]
ResponseReader = Callable[[AuthorizationRequest, ShowUrl], Awaitable[str]]
"""Has what is asked shown, waits for the answer and gives its code; raises NotSignedIn."""


@asynccontextmanager
async def _way(credential: Credential, say: Say, *, paste: bool) -> AsyncIterator[tuple[str, ResponseReader]]:
    """The redirect URI, and how its answer is waited for."""
    redirect_uri = credential.redirect_uri or ANY
    if paste or not can_listen(redirect_uri):
        yield redirect_uri.replace(":0/", "/"), partial(_pasted, say)
        return
    listener = Listener()
    try:
        yield await _listening(listener, redirect_uri), partial(_brought, listener, say)
    finally:
        await listener.close()


async def _listening(listener: Listener, redirect_uri: str) -> str:
    try:
        return await listener.start(redirect_uri)
    except OSError as cause:
        raise NotSignedIn(
            f"cannot listen on {redirect_uri}: {cause.strerror or type(cause).__name__}", _LISTEN
        ) from cause


def _show(ask: AuthorizationRequest, *, say: Say, browser: bool) -> None:
    say(f"Open this address in a browser and sign in:\n\n  {ask.url}\n")
    if browser:  # some end only when the person closes them
        threading.Thread(target=webbrowser.open, args=(ask.url,), daemon=True).start()


async def _brought(listener: Listener, say: Say, ask: AuthorizationRequest, show: ShowUrl) -> str:
    listener.expect(partial(read_authorization_response, state=ask.state, is_issuer=ask.is_issuer))
    show(ask)
    say(f"Waiting for the browser to come back to {ask.redirect_uri} on this machine; elsewhere, use --paste.")
    try:
        return await listener.answer(within=WAIT)
    except TimeoutError as cause:
        raise NotSignedIn(f"nobody came back within {WAIT / 60:.0f} minutes", "Run the command again.") from cause


async def _pasted(say: Say, ask: AuthorizationRequest, show: ShowUrl) -> str:
    show(ask)
    say(
        f"It ends at an address that begins with {ask.redirect_uri}, which may show an error. Copy the whole of it "
        "from the browser, paste it here, and press Enter:"
    )
    while text := await read_pasted_response():
        try:
            return read_pasted(text, state=ask.state, is_issuer=ask.is_issuer)
        except UnrelatedRequest as error:
            say(f"This is not the answer: {error}. Paste it again:")
    raise NotSignedIn("nothing was pasted", "Run the command again.")


async def _exchanged(parts: Components, credential: Credential, ask: AuthorizationRequest, code: str) -> TokenResponse:
    requests = parts.requests(credential)
    given = {"code": code, "redirect_uri": ask.redirect_uri, "code_verifier": ask.verifier}
    request = await in_thread(partial(requests.build, "authorization_code", **given), owner="login")
    reply = await requests.send(request)
    if reply.refresh_token is None:
        has_asked = "offline_access" in (credential.scope or "").split()
        raise NotSignedIn("the sign-in gave no refresh token, so nothing is kept", _GRANT if has_asked else _OFFLINE)
    return reply


async def _kept(store: Store, key: str, credential: Credential, reply: TokenResponse) -> str:
    """Keeps what came of a sign-in, when no renewal is under way; says who it is."""
    clock = SystemClock()
    turns = FetchLease(store, key, clock=clock, luck=random.random)
    lead = RenewalMargin(share=credential.renew.share, at_least=credential.renew.at_least)
    token = lifetime(reply, clock.monotonic(), wall=clock.wall(), spread=random.random(), lead=lead)  # noqa: S311 - jitter

    async def keep() -> str:
        await store.keep_secret(key, encode_stored(reply.refresh_token or ""))
        await turns.publish_token(token)
        who = _subject(reply.value)
        return f"signed in{f' as {who}' if who else ''}; the gateway renews its tokens by itself from now on"

    return await turns.run_exclusive(nobody, keep)


async def nobody() -> None:
    """What others have got is of no use here."""


def _subject(token: str) -> str:
    """Whom the token speaks for; unverified, since it is only shown. Empty for an opaque one."""
    try:
        return safe_text(str(jwt.decode(token, options={"verify_signature": False}).get("sub", "")))
    except jwt.PyJWTError:
        return ""


def _told(name: str, error: Exception) -> Finding:
    subject = f"credential {name}"
    if isinstance(error, NotSignedIn):
        return Finding(ok=False, subject=subject, seen=error.seen, remedy=error.remedy)
    if isinstance(error, StoreDown):
        return Finding(ok=False, subject=subject, seen=f"the sign-in cannot be kept: {error}", remedy=_KEEP)
    if isinstance(error, TokenRefused | TokenUnavailable):
        remedy = _CODE if code_of(error) == "invalid_grant" else remedy_for(error, name)
        return Finding(ok=False, subject=subject, seen=error.reason, remedy=remedy)
    return Finding(ok=False, subject=subject, seen=safe_text(str(error)), remedy="Mend it, and run the command again.")
