"""What is asked of a token endpoint and what its answer means (RFC 6749 §4.4, §5; RFC 6750). Pure.

Answers are judged by the `error` code alone, never by text or status: a wrong secret must not be retried without end,
and a proxy's HTML page must not count as a refusal.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import NoReturn
from urllib.parse import urlencode

import jwt

from gateway.errors import TokenRefused, TokenUnavailable
from gateway.oauth.client_auth import CLIENT_AUTH

LONGEST_LIFE = 366 * 86400.0  # identity domains give at most a year

# RFC 6749 §5.2, §4.1.2.1 and RFC 8707 §2: codes that no second try will change.
PERMANENT = frozenset(
    "invalid_client unauthorized_client invalid_scope invalid_grant unsupported_grant_type invalid_request "
    "access_denied invalid_target several-resources".split()
)

REMEDIES = {
    "invalid_client": "Compare client id and secret with the confidential application's General Information in the "
    "identity domain; see that the application is activated and that the secret has no blank or newline at its end.",
    "unauthorized_client": "Tick Client Credentials under Allowed Grant Types in the application's OAuth "
    "configuration, and see that the application is activated.",
    "unsupported_grant_type": "Tick Client Credentials under Allowed Grant Types; see that `token_url` ends in "
    "/oauth2/v1/token.",
    "invalid_scope": "Copy the scope from the application's Resources list: the primary audience of the right "
    "instance, then `urn:opc:resource:consumer::all` without a slash before `urn`, one resource only.",
    "several-resources": "Ask for one resource per credential; leave `urn:opc:resource:multiresourcescope` out.",
    "invalid_target": "Compare the audience or resource parameter with the instance's primary audience.",
    "invalid_grant": "See that the application is activated and that its grant and user still hold.",
    "invalid_request": "Compare `client_auth`, `scope` and `params` with what the identity domain expects.",
    "access_denied": "Grant the application the role ServiceInvoker (triggers) or ServiceDeveloper (developer API) on "
    "the instance, and look at the identity domain's sign-on and network policies.",
    "limited": "Fewer token requests: share a credential between routes; look at the identity domain's limits (a Free "
    "domain takes 150 a minute).",
    "redirect": "Set `token_url` to the identity domain's own address; a redirect is never followed with a secret.",
    "unreadable": "See that `token_url` ends in /oauth2/v1/token and that no proxy or firewall answers in its place.",
    "secret": "Mend the reference in `client_secret`; it is read anew at the next try.",
    "tls-trust": "Set `tls.ca` to the authority that signed the certificate, such as that of a TLS inspecting proxy.",
    "tls": "See that `token_url` is an https address and its port speaks TLS.",
    "timeout": "See that the way to the identity domain is open; an egress proxy may be needed.",
    "dns": "See that the host name of `token_url` is right and resolves here; an egress proxy may be needed.",
    "proxy": "Look at the egress proxy: its address, its user and password, and whether it lets this host pass.",
    "connect": "See that the way to the identity domain is open; an egress proxy may be needed.",
}

_BEARER = re.compile(r"[\x21-\x7e]{1,65536}")  # safe in a header; RFC 6750 §2.1 is narrower than what servers send
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_JWT = re.compile(r"eyJ[\w-]+\.[\w-]+(\.[\w-]*)?")
_SECONDS = re.compile(r"[0-9]{1,10}")


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """One POST to a token endpoint; `hidden` are the texts that no reason may show."""

    url: str
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    hidden: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class TokenReply:
    """A token as it was answered: seconds for `expires_in`, epoch seconds for the JWT's claims and the `Date` field."""

    value: str = field(repr=False)
    expires_in: float | None = None
    claims_exp: float | None = None
    claims_iat: float | None = None
    date: float | None = None


def client_credentials(scope: str | None) -> dict[str, str]:
    """The form of RFC 6749 §4.4.2."""
    return {"grant_type": "client_credentials"} | ({"scope": scope} if scope else {})


GRANTS: dict[str, Callable[[str | None], dict[str, str]]] = {"client_credentials": client_credentials}


def build(
    url: str,
    *,
    client_id: str,
    client_secret: str,
    grant: str = "client_credentials",
    client_auth: str = "basic",
    scope: str | None = None,
    params: Mapping[str, str] | None = None,
) -> TokenRequest:
    """The token request of a credential. Raises ValueError for an empty id or secret, or a parameter said twice."""
    if not client_id or not client_secret:
        raise ValueError("the client id or secret is empty")
    proof = CLIENT_AUTH[client_auth](client_id, client_secret)
    own = GRANTS[grant](scope) | proof.form
    if taken := sorted(own.keys() & (params or {}).keys()):
        raise ValueError(f"`params` must not set {', '.join(taken)}")
    headers = {
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "Content-Type": "application/x-www-form-urlencoded",
        "User-Agent": "oic-gateway",
    }
    body = urlencode(own | dict(params or {})).encode()
    return TokenRequest(url, headers=headers | proof.headers, body=body, hidden=proof.hidden)


def token_key(
    url: str, *, client_id: str, grant: str, scope: str | None = None, params: Mapping[str, str] | None = None
) -> str:
    """The key under which a token is stored: a hash of all that makes two tokens different, never of the route."""
    parts = json.dumps([url, client_id, grant, scope, sorted((params or {}).items())])
    return hashlib.sha256(parts.encode()).hexdigest()


def read_reply(
    status: int, headers: Mapping[str, str], body: bytes, *, now: float, hidden: Iterable[str] = ()
) -> TokenReply:
    """The token in an answer, or TokenRefused or TokenUnavailable: one of the three for any status, head and bytes.

    `now` is the time of day, to read `Retry-After` dates by where the answer has no `Date`. No text of `hidden` and
    nothing that looks like a JWT gets into the error's `reason`, which begins with a code and a colon.
    """
    fields = {name.lower(): value for name, value in headers.items()}
    document = _document(body)
    date = _date(fields.get("date", ""))
    wait = _retry_after(fields.get("retry-after", ""), now=now if date is None else date)
    if document.get("error") is not None or not 200 <= status < 300:
        _fail(status, document, wait=wait, hidden=tuple(hidden))
    if "tokenResponses" in document:
        raise TokenRefused(reason="several-resources: the answer holds one token per resource")
    value = _bearer(document, wait)
    exp, iat = _claims(value)
    return TokenReply(value, expires_in=_seconds(document.get("expires_in")), claims_exp=exp, claims_iat=iat, date=date)


def remedy_for(error: TokenRefused | TokenUnavailable) -> str:
    """What an operator can do about it, by the code at the beginning of its `reason`."""
    return REMEDIES.get(error.reason.partition(":")[0], error.remedy)


def safe_text(text: str, *, hidden: Iterable[str] = ()) -> str:
    """A foreign text made fit for a log: secrets and JWTs blotted out, one line of printable ASCII, 200 characters."""
    for secret in sorted(filter(None, hidden), key=len, reverse=True):
        text = text.replace(secret, "***")
    plain = "".join(letter if " " <= letter <= "~" else "?" for letter in _JWT.sub("***", text))
    return plain[:200]


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
    raise TokenUnavailable(reason=f"{safe_text(code, hidden=hidden)}: {text} ({status})", retry_after=wait)


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
    """A positive number of seconds, at most LONGEST_LIFE; None for anything that says nothing (bool, NaN, 0, -1)."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value) if isinstance(value, str) else value
    except ValueError:
        return None
    return float(min(number, LONGEST_LIFE)) if number > 0 else None


def _claims(value: str) -> tuple[float | None, float | None]:
    """Gives `exp` and `iat` of a JWT, unverified: they only tell how long it lives, and the token came over TLS."""
    try:
        claims = jwt.decode(value, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError):
        return None, None
    return _epoch(claims.get("exp")), _epoch(claims.get("iat"))


def _epoch(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e11:
        return None
    return float(value)


def _date(text: str) -> float | None:
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return when.replace(tzinfo=when.tzinfo or UTC).timestamp()


def _retry_after(text: str, *, now: float) -> float | None:
    """Seconds of `Retry-After` (RFC 9110 §10.2.3), delta or date; None where it cannot be read."""
    if delta := _SECONDS.fullmatch(text.strip()):
        return float(delta[0])
    date = _date(text)
    return None if date is None else max(0.0, date - now)
