"""The end of a sign-in, wherever its response arrived: the code is exchanged, and the refresh token is stored.

The refresh token is stored under the lease, so that no renewal runs at the same time.
"""

import hmac
import random
from dataclasses import dataclass, field
from functools import partial

from gateway.config.model import Config, CredentialSettings
from gateway.content.redaction import safe_text
from gateway.diagnosis import Finding
from gateway.errors import TokenRefused, TokenUnavailable
from gateway.oauth.failures import FAILURE_KINDS, failure_code, failure_remedy
from gateway.oauth.fetch_lease import FetchLease
from gateway.oauth.grants import TokenResponse, read_jwt_claims
from gateway.oauth.lifetime import Token, make_token
from gateway.oauth.refresh_rotation import encode_stored
from gateway.oauth.store import StoreDown
from gateway.signin.authorization_response import NotSignedIn
from gateway.system.files import in_thread
from gateway.wiring.credentials import CredentialBuilder, credential_key, renewal_margin

_CODE_REMEDY = (
    "The code was used before, or has expired (identity domains: three minutes), or `redirect_uri` is not the one of "
    "the sign-in. Sign in again."
)
_STORE_REMEDY = "Nothing was changed. Restore the store that `state` names, and sign in again."
_OFFLINE_REMEDY = "Add `offline_access` to the credential's `scope`, and sign in again."
_GRANT_REMEDY = (
    "Tick Refresh Token under Allowed Grant Types in the application's OAuth configuration, and sign in again."
)
_ACCOUNT_CLAIMS = ("sub", "preferred_username", "email")

SIGN_IN_ERRORS = (TokenRefused, TokenUnavailable, NotSignedIn, StoreDown, OSError, ValueError)
"""What `complete_sign_in` raises, and `sign_in_failure` explains."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A completed sign-in: its access token, and the `account` that the token is for, empty if no token names it."""

    account: str
    token: Token = field(repr=False)


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


async def complete_sign_in(
    credentials: CredentialBuilder,
    name: str,
    credential: CredentialSettings,
    *,
    code: str,
    redirect_uri: str,
    verifier: str,
    nonce: str | None = None,
) -> SignedIn:
    """Exchange the code of a sign-in, and store the tokens while no renewal is under way. `redirect_uri`, `verifier`
    and `nonce` are those of the authorization request. Raise an error of `SIGN_IN_ERRORS`.
    """
    clock = credentials.clock
    requests = credentials.token_requests(credential)
    values = {"code": code, "redirect_uri": redirect_uri, "code_verifier": verifier}
    token_request = await in_thread(partial(requests.build, "authorization_code", **values), owner="login")
    monotonic, wall = clock.monotonic(), clock.wall()
    response = await requests.send(token_request)
    _check_id_token(response, credential.client_id, nonce)
    if response.refresh_token is None:
        has_offline_scope = "offline_access" in (credential.scope or "").split()
        remedy = _GRANT_REMEDY if has_offline_scope else _OFFLINE_REMEDY
        raise NotSignedIn("the token endpoint issued no refresh token, so nothing is stored", remedy)
    token = make_token(
        response,
        monotonic,
        wall=wall,
        random_fraction=random.random(),  # noqa: S311 - jitter
        margin=renewal_margin(credential),
    )
    await _store_tokens(credentials, credential_key(name, credential), response.refresh_token, token)
    return SignedIn(_account(response), token)


async def ignore_other_results() -> None:
    """Return without looking for the result of another process: a sign-in replaces it."""


def signed_in_text(account: str) -> str:
    """Return what a person reads after a sign-in."""
    return f"signed in{f' as {account}' if account else ''}; the gateway renews the tokens from now on"


def sign_in_failure(name: str, error: Exception) -> Finding:
    """Return the finding of an error of `complete_sign_in`, for the credential of that name."""
    subject = f"credential {name}"
    if isinstance(error, NotSignedIn):
        return Finding(ok=False, subject=subject, seen=error.seen, remedy=error.remedy)
    if isinstance(error, StoreDown):
        return Finding(ok=False, subject=subject, seen=f"cannot store the sign-in: {error}", remedy=_STORE_REMEDY)
    if isinstance(error, TokenRefused | TokenUnavailable):
        code = failure_code(error)
        if code == "invalid_grant":
            return Finding(ok=False, subject=subject, seen=error.reason, remedy=_CODE_REMEDY)
        means = FAILURE_KINDS[code].means if code in FAILURE_KINDS else ""
        return Finding(ok=False, subject=subject, seen=error.reason, means=means, remedy=failure_remedy(error, name))
    return Finding(ok=False, subject=subject, seen=safe_text(str(error)), remedy="Correct it, and sign in again.")


async def _store_tokens(credentials: CredentialBuilder, key: str, refresh_token: str, token: Token) -> None:
    lease = FetchLease(credentials.store, key, clock=credentials.clock)

    async def put() -> bool:
        await credentials.store.put_refresh_token(key, encode_stored(refresh_token))
        await lease.publish_token(token)
        return True

    await lease.run_exclusive(ignore_other_results, put)


def _check_id_token(response: TokenResponse, client_id: str, nonce: str | None) -> None:
    """Raise NotSignedIn for an ID token of another sign-in (OpenID Connect Core section 3.1.3.7).

    It comes from the token endpoint itself, over TLS, so its signature need not be checked.
    """
    if nonce is None or response.id_token is None:
        return
    claims = read_jwt_claims(response.id_token)
    audience = claims.get("aud")
    is_ours = client_id in (audience if isinstance(audience, list) else [audience])
    if not is_ours or not hmac.compare_digest(str(claims.get("nonce", "")).encode("utf-8", "replace"), nonce.encode()):
        raise NotSignedIn("the ID token is of another sign-in", "Sign in again; check the token endpoint.")


def _account(response: TokenResponse) -> str:
    """Return the account that the token is for, unverified, to show it; empty if no token names one."""
    for text in (response.value, response.id_token or ""):
        claims = read_jwt_claims(text)
        for claim in _ACCOUNT_CLAIMS:
            if isinstance(value := claims.get(claim), str) and value:
                return safe_text(value)
    return ""
