"""The verb `logout`: the refresh token of a sign-in is revoked (RFC 7009), and forgotten in any case."""

import os
import random
from functools import partial

from gateway import __version__
from gateway.config.model import Config, Credential
from gateway.config.resolved import revoke_url_of
from gateway.diagnosis import Finding
from gateway.errors import TokenRefused, TokenUnavailable
from gateway.oauth.authorization import revocation
from gateway.oauth.clock import SystemClock
from gateway.oauth.fetch_lease import FetchLease
from gateway.oauth.redaction import safe_text
from gateway.oauth.refresh_rotation import decode_stored
from gateway.oauth.store import Store, StoreDown
from gateway.observe.metrics import Metrics
from gateway.signin.login import nobody
from gateway.system.files import in_thread
from gateway.wiring.components import Components, key_of

_REVOKE = "Revoke it in the identity domain by hand, or wait for its end (by default seven days)."
_STORE = "Bring back the store that `state` names, and run the command again."


async def logout(config: Config, name: str) -> Finding:
    """Signs the credential of that name out. A running gateway uses the access token that it has to its end."""
    credential, subject = config.credentials[name], f"credential {name}"
    parts = Components(Metrics(__version__), environ=os.environ)
    try:
        store, key = parts.configure(config), key_of(name, credential)
        turns = FetchLease(store, key, clock=SystemClock(), luck=random.random)
        trouble = await turns.run_exclusive(nobody, partial(_signed_out, parts, store, key, credential))
    except (StoreDown, OSError) as down:
        return Finding(ok=False, subject=subject, seen=f"nobody was signed out: {down}", remedy=_STORE)
    finally:
        await parts.close()
    if trouble is None:
        return Finding(ok=True, subject=subject, seen="nobody was signed in")
    if trouble:
        seen = f"signed out here, but the refresh token may still be valid: it was not revoked ({trouble})"
        return Finding(ok=False, subject=subject, seen=seen, remedy=_REVOKE)
    return Finding(ok=True, subject=subject, seen="signed out; the refresh token is revoked and forgotten")


async def _signed_out(parts: Components, store: Store, key: str, credential: Credential) -> str | None:
    """Why the token could not be revoked, empty when it was; None where there was none. Revoked first: whoever is
    killed in between has a token that is refused, not one that is good and lost.
    """
    token = decode_stored(await store.secret(key))
    trouble = await _revoked(parts, credential, token) if token else None
    await store.drop_secret(key)
    if (access := await store.get(key)) is not None:
        await store.drop(key, access.value)
    return trouble


async def _revoked(parts: Components, credential: Credential, token: str) -> str:
    requests, endpoint = parts.requests(credential), parts.endpoint(credential)
    plan = partial(revocation, revoke_url_of(credential), client_id=credential.client_id, token=token)
    try:
        request = await in_thread(partial(requests.authenticate, plan), owner="logout")
        await requests.send_with(endpoint.revoke, request)
    except (TokenRefused, TokenUnavailable) as error:
        return error.reason
    except (OSError, ValueError) as error:
        return safe_text(str(error))
    return ""
