"""Where a person is sent to sign in: the authorization request (RFC 6749 §4.1.1) with PKCE (RFC 7636). Pure.

Its code is exchanged by `grants.code_form`, and the refresh token that comes of it used by `grants.refresh_form`, until
a `revocation` ends it.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from urllib.parse import quote, urlencode

from gateway.oauth.client_auth import CLIENT_AUTH, redactions
from gateway.oauth.grants import HEADERS, TokenRequest


def authorization_url(
    url: str,
    *,
    client_id: str,
    redirect_uri: str,
    state: str,
    challenge: str,
    scope: str | None = None,
    audience: str | None = None,
    resource: Sequence[str] = (),
    params: Mapping[str, str] | None = None,
) -> str:
    """The address to open; `state` comes back with the code, `challenge` is the S256 one of the code verifier.

    A query that `url` has already is kept (RFC 6749 §3.1); `params` cannot overwrite what OAuth itself says.
    """
    own = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    asked = {name: value for name, value in (("scope", scope), ("audience", audience)) if value}
    further = {name: value for name, value in (params or {}).items() if name not in own | asked}
    pairs = [*(own | asked).items(), *(("resource", one) for one in resource), *further.items()]
    # Some servers undo percent-encoding only: a blank is `%20`, not `+`.
    return f"{url}{'&' if '?' in url else '?'}{urlencode(pairs, quote_via=quote)}"


def code_challenge(verifier: str) -> str:
    """The S256 challenge of a code verifier (RFC 7636 §4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def revocation(url: str, *, client_id: str, token: str, client_auth: str = "basic", **given: str) -> TokenRequest:
    """The request that revokes a refresh token (RFC 7009 §2.1); `given` is what the client's authentication needs."""
    row = CLIENT_AUTH[client_auth]
    proof = row.show(client_id, given[row.needs] if row.needs else "")
    body = urlencode({"token": token, "token_type_hint": "refresh_token"} | proof.form).encode()
    return TokenRequest(url, headers=HEADERS | proof.headers, body=body, hidden=(*proof.hidden, *redactions(token)))
