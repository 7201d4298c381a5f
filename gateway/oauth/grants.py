"""What is asked of a token endpoint, one row per grant, and what its answer means (RFC 6749 §5; RFC 6750). Pure.

Answers are judged by the `error` code alone, never by text or status: a wrong secret must not be retried without end,
and a proxy's HTML page must not count as a refusal.
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

from gateway.content.foreign_text import read_date, read_retry_after
from gateway.errors import TokenRefused, TokenUnavailable
from gateway.oauth.client_auth import CLIENT_AUTH, redactions
from gateway.oauth.failures import PERMANENT
from gateway.oauth.redaction import STRUCK, safe_text
from gateway.oic.scopes import is_directive

LONGEST_LIFE = 366 * 86400.0  # identity domains give at most a year

_BEARER = re.compile(r"[\x21-\x7e]{1,65536}")  # safe in a header; RFC 6750 §2.1 is narrower than what servers send
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """One POST to a token endpoint; `hidden` are the texts that no reason may show.

    `wanted` is the resource or scope that picks one of several tokens. `otherwise` is the same request with the next
    client secret, `mark` tells which secret this one has.
    """

    url: str
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    hidden: tuple[str, ...] = field(default=(), repr=False)
    wanted: str = field(default="", repr=False)
    fallback: "TokenRequest | None" = field(default=None, repr=False)
    secret_id: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class TokenResponse:
    """A token as it was answered: seconds for `expires_in`, epoch seconds for the `Date` field and the JWT's claims;
    the refresh token, if any, as it is.
    """

    value: str = field(repr=False)
    expires_in: float | None = None
    claims_exp: float | None = None
    claims_iat: float | None = None
    date: float | None = None
    refresh_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Grant:
    """One way to a token: `type` is the value of `grant_type`; `needs` are the parameters it is made of, in order."""

    type: str
    needs: tuple[str, ...] = ()
    has_scope: bool = True


GRANTS = {
    "client_credentials": Grant("client_credentials"),  # RFC 6749 §4.4.2
    "refresh_token": Grant("refresh_token", ("refresh_token",)),  # RFC 6749 §6
    "jwt_bearer": Grant("urn:ietf:params:oauth:grant-type:jwt-bearer", ("assertion",)),  # RFC 7523 §2.1
    "password": Grant("password", ("username", "password")),  # RFC 6749 §4.3.2
    "tls_client_auth": Grant("tls_client_auth"),  # the identity domains' own
    "authorization_code": Grant(  # RFC 6749 §4.1.3, RFC 7636 §4.5; the scope was said when the code was asked for
        "authorization_code", ("code", "redirect_uri", "code_verifier"), has_scope=False
    ),
}

_SHOWN = frozenset({"username", "redirect_uri"})  # all else that a grant needs is as good as a token
HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "Content-Type": "application/x-www-form-urlencoded",
    "User-Agent": "oic-gateway",
}


def token_form(grant: str, *, scope: str | None = None, **given: str) -> dict[str, str]:
    """The form of a grant, less client authentication; raises ValueError when one of its values is empty."""
    row = GRANTS[grant]
    asked = {"scope": scope} if scope and row.has_scope else {}
    return {"grant_type": row.type} | {name: _filled(given, name) for name in row.needs} | asked


def code_form(code: str, *, redirect_uri: str, code_verifier: str) -> dict[str, str]:
    """The form that exchanges an authorization code: RFC 6749 §4.1.3 with the verifier of RFC 7636 §4.5."""
    return token_form("authorization_code", code=code, redirect_uri=redirect_uri, code_verifier=code_verifier)


def refresh_form(refresh_token: str, *, scope: str | None = None) -> dict[str, str]:
    """The form of RFC 6749 §6; without `scope` the one that was granted at first holds on."""
    return token_form("refresh_token", refresh_token=refresh_token, scope=scope)


def build(
    url: str,
    *,
    client_id: str,
    grant: str = "client_credentials",
    client_auth: str = "basic",
    scope: str | None = None,
    audience: str | None = None,
    resource: Sequence[str] = (),
    params: Mapping[str, str] | None = None,
    **given: str,
) -> TokenRequest:
    """The token request of a credential; `given` are the values that its rows in GRANTS and CLIENT_AUTH need.

    `resource` is repeated (RFC 8707 §2). Raises ValueError for a value that is empty, or a parameter said twice.
    """
    if not client_id:
        raise ValueError("the client id is empty")
    row = CLIENT_AUTH[client_auth]
    proof = row.show(client_id, _filled(given, row.needs) if row.needs else "")
    single = token_form(grant, scope=scope, **given) | ({"audience": audience} if audience else {}) | proof.form
    further = dict(params or {})
    if taken := sorted((single.keys() | ({"resource"} if resource else set())) & further.keys()):
        raise ValueError(f"`params` must not set {', '.join(taken)}")
    pairs = [*single.items(), *(("resource", one) for one in resource), *further.items()]
    secret = (redactions(given[name]) for name in GRANTS[grant].needs if name not in _SHOWN)
    return TokenRequest(
        url,
        headers=HEADERS | proof.headers,
        body=urlencode(pairs).encode(),
        hidden=(*proof.hidden, *chain.from_iterable(secret)),
        wanted=_wish(scope, resource),
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
) -> str:
    """The key under which a token is stored: a hash of all that makes two tokens different, never of the route.

    `user` is the user whom the token represents, or the credential itself.
    """
    parts = json.dumps([url, client_id, grant, scope, sorted((params or {}).items()), audience, [*resource], user])
    return hashlib.sha256(parts.encode()).hexdigest()


def _wish(scope: str | None, resource: Sequence[str] = ()) -> str:
    """The one resource, else the one scope, that is asked for; empty when there are several, or none.

    Words that only direct the identity domain (its directives, `offline_access`, those of OpenID) are no resource.
    """
    words = [*resource] or [word for word in (scope or "").split() if not is_directive(word)]
    return words[0] if len(words) == 1 else ""


def _filled(given: Mapping[str, str], name: str) -> str:
    if not given.get(name):
        raise ValueError(f"the {name.replace('_', ' ')} is empty")
    return given[name]


def read_token_response(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: float,
    hidden: Iterable[str] = (),
    wanted: str = "",
) -> TokenResponse:
    """The token in an answer, or TokenRefused or TokenUnavailable: one of the three for any status, head and bytes.

    `now` is the time of day, to read `Retry-After` dates by where the answer has no `Date`. No part of a text of
    `hidden` and nothing that looks like a JWT gets into the error's `reason`, which begins with a code and a colon. Of
    several tokens (`tokenResponses`) the one for `wanted` is taken. A refresh token beside no usable token is the
    error's `successor`.
    """
    fields = {name.lower(): value for name, value in headers.items()}
    document = _document(body)
    date = _date(fields.get("date", ""))
    wait = read_retry_after(fields.get("retry-after", ""), now=now if date is None else date)
    if document.get("error") or not 200 <= status < 300:  # some servers write an empty `error` beside a good token
        _fail(status, document, wait=wait, hidden=tuple(hidden))
    refresh_token = _refresh_token(document)
    try:
        if "tokenResponses" in document and (document["tokenResponses"] or not document.get("access_token")):
            document = _picked(document["tokenResponses"], wanted)
        value = _bearer(document, wait)
    except (TokenRefused, TokenUnavailable) as error:
        error.successor = refresh_token
        raise
    seconds = _seconds(document.get("expires_in"))
    said = claims_of(value)
    return TokenResponse(
        value,
        expires_in=seconds,
        claims_exp=_epoch(said.get("exp")),
        claims_iat=_epoch(said.get("iat")),
        date=date,
        refresh_token=refresh_token or _refresh_token(document),
    )


def read_revocation(status: int, headers: Mapping[str, str], body: bytes, *, hidden: Iterable[str] = ()) -> None:
    """Returns where the token is revoked or was none (RFC 7009 §2.2), else raises as `read_reply` does."""
    if status != 200:
        fields = {name.lower(): value for name, value in headers.items()}
        wait = read_retry_after(fields.get("retry-after", ""), now=_date(fields.get("date", "")) or 0.0)
        _fail(status, _document(body), wait=wait, hidden=tuple(hidden))


def _document(body: bytes) -> dict[str, object]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _fail(status: int, document: dict[str, object], *, wait: float | None, hidden: tuple[str, ...]) -> NoReturn:
    code = document.get("error")
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        raise TokenUnavailable(reason=_unread(status), retry_after=wait)
    if status == 429:
        raise TokenUnavailable(reason="limited: too many token requests (429)", retry_after=wait)
    said = document.get("error_description")
    text = safe_text(said, hidden=hidden) if isinstance(said, str) else "no description"
    if code in PERMANENT and status < 500:
        raise TokenRefused(reason=f"{code}: {text}")
    shown = code if safe_text(code, hidden=hidden) == code else STRUCK
    raise TokenUnavailable(reason=f"{shown}: {text} ({status})", retry_after=wait)


def _unread(status: int) -> str:
    if status == 429:
        return "limited: too many token requests (429)"
    if 300 <= status < 400:
        return f"redirect: the token endpoint redirects ({status}); not followed"
    return f"unreadable: the answer is not an OAuth one ({status})"


def _bearer(document: dict[str, object], wait: float | None) -> str:
    value = document.get("access_token")
    kind = document.get("token_type") or "bearer"
    if not isinstance(value, str) or not _BEARER.fullmatch(value):
        raise TokenUnavailable(reason="unreadable: the answer holds no usable access_token", retry_after=wait)
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise TokenUnavailable(reason="token-type: the token is not a Bearer token", retry_after=wait)
    return value


def _seconds(value: object) -> float | None:
    """Seconds from 0 to LONGEST_LIFE: a life that is over is 0. None for anything that is no number (bool, NaN, "")."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value) if isinstance(value, str) else value
    except ValueError:
        return None
    bounded = float(max(min(number, LONGEST_LIFE), -1))  # in this order NaN stays NaN, and no int is too large
    return None if math.isnan(bounded) else max(bounded, 0.0)


def _picked(answers: object, wanted: str) -> dict[str, object]:
    """The one token that is for `wanted`, by its own `scope` or by the audience in its JWT; TokenRefused otherwise."""
    documents = [item for item in answers if isinstance(item, dict)] if isinstance(answers, list) else []
    fitting = [document for document in documents if wanted and wanted in _opened(document)]
    if len(fitting) != 1:
        raise TokenRefused(reason="several-resources: the answer holds one token per resource")
    return fitting[0]


def _opened(document: dict[str, object]) -> set[str]:
    """What a token opens, as it may be asked for: its audiences, its scopes, and one written after the other."""
    value = document.get("access_token")
    said = claims_of(value) if isinstance(value, str) else {}
    audience = said.get("aud")
    audiences = {item for item in (audience if isinstance(audience, list) else [audience]) if isinstance(item, str)}
    texts = (document.get("scope"), said.get("scope"))
    scopes = {word for text in texts if isinstance(text, str) for word in text.split()}
    return audiences | scopes | {one + other for one in audiences for other in scopes}


def _refresh_token(document: dict[str, object]) -> str | None:
    value = document.get("refresh_token")
    return value if isinstance(value, str) and _BEARER.fullmatch(value) else None


def claims_of(value: str) -> dict[str, object]:
    """The claims of a JWT, unverified: they only tell what it is for and how long, and the token came over TLS. Of
    anything else there are none.

    Read by hand: PyJWT would bring all of cryptography into every worker for these few.
    """
    _, _, rest = value.partition(".")
    try:
        return _document(urlsafe_b64decode(rest.partition(".")[0] + "=="))
    except ValueError:
        return {}


def _epoch(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e11:
        return None
    return float(value)


def _date(text: str) -> float | None:
    when = read_date(text)
    return None if when is None else when.timestamp()
