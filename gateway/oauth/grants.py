"""Token requests, one row per grant, and the reading of token responses (RFC 6749 §5; RFC 6750). Pure.

Only the `error` code decides whether a response is a refusal, never its text or status: a wrong secret must not be
retried for ever, and a proxy's HTML page is not a refusal.
"""

import hashlib
import json
import math
import re
from base64 import urlsafe_b64decode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import NoReturn
from urllib.parse import urlencode

import msgspec

from gateway.content.redaction import MASK, safe_text
from gateway.content.untrusted_text import read_date, read_retry_after
from gateway.errors import TokenRefused, TokenUnavailable
from gateway.oauth.client_auth import CLIENT_AUTH, redactions
from gateway.oauth.failures import PERMANENT
from gateway.oic.scopes import is_directive

MAX_LIFETIME = 366 * 86400.0  # identity domains give at most a year

_BEARER = re.compile(r"[\x21-\x7e]{1,65536}")  # safe in a header; RFC 6750 §2.1 is narrower than what servers send
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """One POST to a token endpoint; no error may show `secret_texts`.

    `wanted_resource` is the resource or scope that selects one of several tokens. `fallback` is the request with the
    next client secret; `secret_id` identifies the secret of this one.
    """

    url: str
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    secret_texts: tuple[str, ...] = field(default=(), repr=False)
    wanted_resource: str = field(default="", repr=False)
    fallback: "TokenRequest | None" = field(default=None, repr=False)
    secret_id: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class TokenResponse:
    """The token of a response: `expires_in` in seconds, the `Date` field and the JWT's claims in epoch seconds, the
    refresh token and the ID token, if any, and the status.
    """

    value: str = field(repr=False)
    expires_in: float | None = None
    claims_exp: float | None = None
    claims_iat: float | None = None
    date: float | None = None
    refresh_token: str | None = field(default=None, repr=False)
    id_token: str | None = field(default=None, repr=False)
    status: int = 200


class GrantType(msgspec.Struct, frozen=True):
    """One grant: `type` is the value of `grant_type`; `needs` are the parameters that it requires, in order."""

    type: str
    needs: tuple[str, ...] = ()
    has_scope: bool = True


GRANTS = {
    "client_credentials": GrantType("client_credentials"),  # RFC 6749 §4.4.2
    "refresh_token": GrantType("refresh_token", ("refresh_token",)),  # RFC 6749 §6
    "jwt_bearer": GrantType("urn:ietf:params:oauth:grant-type:jwt-bearer", ("assertion",)),  # RFC 7523 §2.1
    "password": GrantType("password", ("username", "password")),  # RFC 6749 §4.3.2
    "tls_client_auth": GrantType("tls_client_auth"),  # the identity domains' own
    "authorization_code": GrantType(  # RFC 6749 §4.1.3, RFC 7636 §4.5; the authorization request has the scope
        "authorization_code", ("code", "redirect_uri", "code_verifier"), has_scope=False
    ),
}

_NOT_SECRET = frozenset({"username", "redirect_uri"})  # every other parameter of a grant is worth a token
HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "Content-Type": "application/x-www-form-urlencoded",
    "User-Agent": "oic-gateway",
}


def token_form(grant: str, *, scope: str | None = None, **values: str) -> dict[str, str]:
    """Return the form of a grant without client authentication. Raise ValueError for an empty value."""
    row = GRANTS[grant]
    required = {name: _require_value(values, name) for name in row.needs}
    return {"grant_type": row.type} | required | ({"scope": scope} if scope and row.has_scope else {})


def code_form(code: str, *, redirect_uri: str, code_verifier: str) -> dict[str, str]:
    """Return the form that exchanges an authorization code (RFC 6749 §4.1.3), with its verifier (RFC 7636 §4.5)."""
    return token_form("authorization_code", code=code, redirect_uri=redirect_uri, code_verifier=code_verifier)


def refresh_form(refresh_token: str, *, scope: str | None = None) -> dict[str, str]:
    """Return the form of RFC 6749 §6; without `scope` the originally granted scope stays."""
    return token_form("refresh_token", refresh_token=refresh_token, scope=scope)


def build_token_request(
    url: str,
    *,
    client_id: str,
    grant: str = "client_credentials",
    client_auth: str = "basic",
    scope: str | None = None,
    audience: str | None = None,
    resource: Sequence[str] = (),
    params: Mapping[str, str] | None = None,
    **values: str,
) -> TokenRequest:
    """Return the token request of a credential; `values` are what its rows in GRANTS and CLIENT_AUTH need.

    `resource` is repeated (RFC 8707 §2). Raise ValueError for an empty value and for a repeated parameter.
    """
    if not client_id:
        raise ValueError("the client id is empty")
    row = CLIENT_AUTH[client_auth]
    proof = row.make_proof(client_id, _require_value(values, row.needs) if row.needs else "")
    single = token_form(grant, scope=scope, **values) | ({"audience": audience} if audience else {}) | proof.form
    extra = dict(params or {})
    if repeated := sorted((single.keys() | ({"resource"} if resource else set())) & extra.keys()):
        raise ValueError(f"`params` must not set {', '.join(repeated)}")
    pairs = [*single.items(), *(("resource", value) for value in resource), *extra.items()]
    secrets = (redactions(values[name]) for name in GRANTS[grant].needs if name not in _NOT_SECRET)
    return TokenRequest(
        url,
        headers=HEADERS | proof.headers,
        body=urlencode(pairs).encode(),
        secret_texts=(*proof.secret_texts, *chain.from_iterable(secrets)),
        wanted_resource=_find_wanted_resource(scope, resource),
    )


def token_key(
    url: str,
    *,
    client_id: str,
    grant: str,
    scope: str | None = None,
    params: Mapping[str, str] | None = None,
    audience: str | None = None,
    resource: Sequence[str] = (),
    user: str = "",
    owner: str = "",
) -> str:
    """Return the key under which a token is stored: a hash of everything that distinguishes tokens, never of the route.

    `user` is the user whom the token represents, or the credential itself. `owner` is who may use the token: another
    owner with the same client id must prove that it has the secret, so it gets a token of its own.
    """
    identity = [url, client_id, grant, scope, sorted((params or {}).items()), audience, [*resource], user]
    identity += [owner] if owner else []  # without an owner, the key is that of former versions
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()


def _find_wanted_resource(scope: str | None, resource: Sequence[str] = ()) -> str:
    """Return the only resource, else the only scope, of a request; empty if there are several, or none.

    Words that only instruct the identity domain (its directives, `offline_access`, OpenID scopes) do not count.
    """
    words = [*resource] or [word for word in (scope or "").split() if not is_directive(word)]
    return words[0] if len(words) == 1 else ""


def _require_value(values: Mapping[str, str], name: str) -> str:
    if not values.get(name):
        raise ValueError(f"the {name.replace('_', ' ')} is empty")
    return values[name]


def read_token_response(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: float,
    secret_texts: Iterable[str] = (),
    wanted_resource: str = "",
) -> TokenResponse:
    """Return the token of a response. Raise TokenRefused or TokenUnavailable; no other error for any input.

    `now` (epoch seconds) is the base of `Retry-After` dates if the response has no `Date`. The error's `reason` begins
    with a code and a colon; it contains no part of `secret_texts` and nothing that looks like a JWT. If the response
    has several tokens (`tokenResponses`), the one for `wanted_resource` is returned. A refresh token without a usable
    access token becomes `new_refresh_token` of the error.
    """
    fields = {name.lower(): value for name, value in headers.items()}
    document = _parse_document(body)
    date = _read_date_field(fields.get("date", ""))
    wait = read_retry_after(fields.get("retry-after", ""), now=now if date is None else date)
    if document.get("error") or not 200 <= status < 300:  # some servers add an empty `error` to a valid token
        _raise_error(status, document, wait=wait, secret_texts=tuple(secret_texts))
    refresh_token, id_token = _read_refresh_token(document), document.get("id_token")
    try:
        if "tokenResponses" in document and (document["tokenResponses"] or not document.get("access_token")):
            document = _select_token(document["tokenResponses"], wanted_resource)
        value = _read_bearer_token(document, wait)
    except (TokenRefused, TokenUnavailable) as error:
        error.new_refresh_token = refresh_token
        raise
    seconds = _read_expires_in(document.get("expires_in"))
    claims = read_jwt_claims(value)
    return TokenResponse(
        value,
        expires_in=seconds,
        claims_exp=read_epoch_time(claims.get("exp")),
        claims_iat=read_epoch_time(claims.get("iat")),
        date=date,
        refresh_token=refresh_token or _read_refresh_token(document),
        id_token=id_token if isinstance(id_token, str) else None,
        status=status,
    )


def read_revocation(status: int, headers: Mapping[str, str], body: bytes, *, secret_texts: Iterable[str] = ()) -> None:
    """Return if the token is revoked or unknown (RFC 7009 §2.2), else raise as `read_token_response` does."""
    if status != 200:
        fields = {name.lower(): value for name, value in headers.items()}
        wait = read_retry_after(fields.get("retry-after", ""), now=_read_date_field(fields.get("date", "")) or 0.0)
        _raise_error(status, _parse_document(body), wait=wait, secret_texts=tuple(secret_texts))


def _parse_document(body: bytes) -> dict[str, object]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _raise_error(
    status: int, document: dict[str, object], *, wait: float | None, secret_texts: tuple[str, ...]
) -> NoReturn:
    code = document.get("error")
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        raise TokenUnavailable(reason=_describe_unreadable(status), retry_after=wait)
    if status == 429:
        raise TokenUnavailable(reason="limited: too many token requests (429)", retry_after=wait)
    description = document.get("error_description")
    text = safe_text(description, secret_texts=secret_texts) if isinstance(description, str) else "no description"
    if code in PERMANENT and status < 500:
        raise TokenRefused(reason=f"{code}: {text}")
    shown = code if safe_text(code, secret_texts=secret_texts) == code else MASK
    raise TokenUnavailable(reason=f"{shown}: {text} ({status})", retry_after=wait)


def _describe_unreadable(status: int) -> str:
    if status == 429:
        return "limited: too many token requests (429)"
    if 300 <= status < 400:
        return f"redirect: the token endpoint redirects ({status}); not followed"
    return f"unreadable: the answer is not an OAuth one ({status})"


def _read_bearer_token(document: dict[str, object], wait: float | None) -> str:
    value = document.get("access_token")
    kind = document.get("token_type") or "bearer"
    if not isinstance(value, str) or not _BEARER.fullmatch(value):
        raise TokenUnavailable(reason="unreadable: the answer holds no usable access_token", retry_after=wait)
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise TokenUnavailable(reason="token-type: the token is not a Bearer token", retry_after=wait)
    return value


def _read_expires_in(value: object) -> float | None:
    """Return seconds from 0 to MAX_LIFETIME, 0 for a negative number; None for anything else (bool, NaN, "")."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value) if isinstance(value, str) else value
    except ValueError:
        return None
    bounded = float(max(min(number, MAX_LIFETIME), -1))  # in this order NaN stays NaN, and no int overflows
    return None if math.isnan(bounded) else max(bounded, 0.0)


def _select_token(responses: object, wanted_resource: str) -> dict[str, object]:
    """Return the only token for `wanted_resource`, by its `scope` or the audience in its JWT. Raise TokenRefused."""
    documents = [item for item in responses if isinstance(item, dict)] if isinstance(responses, list) else []
    matches = [
        document for document in documents if wanted_resource and wanted_resource in _granted_resources(document)
    ]
    if len(matches) != 1:
        raise TokenRefused(reason="several-resources: the answer holds one token per resource")
    return matches[0]


def _granted_resources(document: dict[str, object]) -> set[str]:
    """Return the names by which a request may select a token: audiences, scopes, and audience followed by scope."""
    value = document.get("access_token")
    claims = read_jwt_claims(value) if isinstance(value, str) else {}
    audience = claims.get("aud")
    audiences = {item for item in (audience if isinstance(audience, list) else [audience]) if isinstance(item, str)}
    texts = (document.get("scope"), claims.get("scope"))
    scopes = {word for text in texts if isinstance(text, str) for word in text.split()}
    return audiences | scopes | {audience + scope for audience in audiences for scope in scopes}


def _read_refresh_token(document: dict[str, object]) -> str | None:
    value = document.get("refresh_token")
    return value if isinstance(value, str) and _BEARER.fullmatch(value) else None


def read_jwt_claims(value: str) -> dict[str, object]:
    """Return the unverified claims of a JWT, or nothing for any other text. The claims only show purpose and lifetime,
    and the token came over TLS.

    PyJWT is not used: it would import all of cryptography into every worker.
    """
    _, _, rest = value.partition(".")
    try:
        return _parse_document(urlsafe_b64decode(rest.partition(".")[0] + "=="))
    except ValueError:
        return {}


def read_epoch_time(value: object) -> float | None:
    """Return a claim that is a time in seconds since 1970; None for any other value, and for a time that cannot be."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e11:
        return None
    return float(value)


def _read_date_field(text: str) -> float | None:
    date = read_date(text)
    return None if date is None else date.timestamp()
