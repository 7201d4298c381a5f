"""The authorization request (RFC 6749 §4.1.1) with PKCE (RFC 7636), and the revocation request (RFC 7009). Pure.

`grants.code_form` exchanges the code, `grants.refresh_form` uses the refresh token, `revocation_request` ends it.
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
    """Return the URL to open; the response repeats `state`; `challenge` is the S256 challenge of the code verifier.

    The query of `url` stays (RFC 6749 §3.1); `params` cannot override parameters of OAuth.
    """
    required = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    optional = {name: value for name, value in (("scope", scope), ("audience", audience)) if value}
    extra = {name: value for name, value in (params or {}).items() if name not in required | optional}
    pairs = [*(required | optional).items(), *(("resource", value) for value in resource), *extra.items()]
    # Some servers decode only percent-encoding: a blank is `%20`, not `+`.
    return f"{url}{'&' if '?' in url else '?'}{urlencode(pairs, quote_via=quote)}"


def code_challenge(verifier: str) -> str:
    """Return the S256 challenge of a code verifier (RFC 7636 §4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def revocation_request(
    url: str, *, client_id: str, token: str, client_auth: str = "basic", **values: str
) -> TokenRequest:
    """Return the request that revokes a refresh token (RFC 7009 §2.1); `values` are what `client_auth` needs."""
    method = CLIENT_AUTH[client_auth]
    proof = method.make_proof(client_id, values[method.needs] if method.needs else "")
    body = urlencode({"token": token, "token_type_hint": "refresh_token"} | proof.form).encode()
    return TokenRequest(
        url, headers=HEADERS | proof.headers, body=body, secret_texts=(*proof.secret_texts, *redactions(token))
    )
