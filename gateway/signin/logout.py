"""The verb `logout`: revoke the refresh token of a sign-in (RFC 7009), and delete it in any case."""

import os
from functools import partial

from gateway import __version__
from gateway.config.model import Config, CredentialSettings
from gateway.config.resolved import revoke_url_of
from gateway.content.redaction import safe_text
from gateway.diagnosis import Finding
from gateway.errors import TokenRefused, TokenUnavailable
from gateway.oauth.authorization import revocation_request
from gateway.oauth.clock import SystemClock
from gateway.oauth.fetch_lease import FetchLease
from gateway.oauth.refresh_rotation import decode_stored
from gateway.oauth.store import EntryUnreadable, Store, StoreDown
from gateway.observe.metrics import Metrics
from gateway.signin.sign_in_completion import ignore_other_results
from gateway.system.files import in_thread
from gateway.wiring.components import Components
from gateway.wiring.credentials import CredentialBuilder, credential_key

_REVOKE_REMEDY = "Revoke it in the identity domain, or wait until it expires (by default seven days)."
_STORE_REMEDY = "Restore the store that `state` names, and sign out again."


async def logout(config: Config, name: str) -> Finding:
    """Sign the credential of that name out. A running gateway uses its present access token until it expires."""
    components = Components(Metrics(__version__), environ=os.environ)
    try:
        components.configure(config)
        return await sign_out(components.credential_builder, config, name)
    except OSError as error:
        return _failed(name, error)
    finally:
        await components.close()


async def sign_out(credentials: CredentialBuilder, config: Config, name: str) -> Finding:
    """Revoke and delete the refresh token of a credential, and delete its access token, in the store of these
    credentials.
    """
    store, credential, subject = credentials.store, config.credentials[name], f"credential {name}"
    key = credential_key(name, credential)
    work = partial(_sign_out, credentials, store, key, credential)
    try:
        problem = await FetchLease(store, key, clock=SystemClock()).run_exclusive(ignore_other_results, work)
    except (StoreDown, OSError) as error:
        return _failed(name, error)
    if problem is None:
        return Finding(ok=True, subject=subject, seen="no person was signed in")
    if problem:
        seen = f"signed out here, but the refresh token may still be valid: it was not revoked ({problem})"
        return Finding(ok=False, subject=subject, seen=seen, remedy=_REVOKE_REMEDY)
    return Finding(ok=True, subject=subject, seen="signed out; the refresh token is revoked and deleted")


def _failed(name: str, error: Exception) -> Finding:
    return Finding(ok=False, subject=f"credential {name}", seen=f"cannot sign out: {error}", remedy=_STORE_REMEDY)


async def _sign_out(
    credentials: CredentialBuilder, store: Store, key: str, credential: CredentialSettings
) -> str | None:
    """Return why the token could not be revoked, empty if it was, None if there was none.

    Revoke before deleting: if the process is killed in between, the store holds a token that is refused, and no valid
    token is lost.
    """
    try:
        token = decode_stored(await store.get_refresh_token(key))
    except EntryUnreadable:
        problem: str | None = "the stored one cannot be read"
    else:
        problem = await _revoke(credentials, credential, token) if token else None
    await store.delete_refresh_token(key)
    if (access_token := await store.get_token(key)) is not None:
        await store.delete_token(key, access_token.value)
    return problem


async def _revoke(credentials: CredentialBuilder, credential: CredentialSettings, token: str) -> str:
    requests, endpoint = credentials.token_requests(credential), credentials.token_endpoint(credential)
    template = partial(revocation_request, revoke_url_of(credential), client_id=credential.client_id, token=token)
    try:
        request = await in_thread(partial(requests.authenticate, template), owner="logout")
        await requests.send_with(endpoint.revoke, request)
    except (TokenRefused, TokenUnavailable) as error:
        return error.reason
    except (OSError, ValueError) as error:
        return safe_text(str(error))
    return ""
