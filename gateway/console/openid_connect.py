"""OpenID Connect Core 1.0: the provider's metadata and the ID token, checked. Pure.

Nothing that a provider sends is trusted before its check: URLs must be https, the token must be signed by a key of the
provider with an asymmetric algorithm, for this client, now, and for this very login.
"""

import json
import math
import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import jwt
from jwt.types import Options

from gateway.console.request_guard import is_token
from gateway.content.redaction import safe_text
from gateway.content.untrusted_text import is_loopback_host, normalize_host, read_url

DISCOVERY_PATH = "/.well-known/openid-configuration"
ALGORITHMS = frozenset("RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA".split())
"""Asymmetric ones only: with HS256 the public key would be the secret (RFC 8725 §2.1)."""
LEEWAY = 60.0  # seconds by which clocks may differ
MAX_CLAIM = 256
MAX_GROUPS = 1000
SHARED_ISSUER = "https://identity.oraclecloud.com/"
"""The issuer that identity domains name, each with keys of its own, unless they are configured otherwise."""
_DOMAIN_SUFFIX = ".identity.oraclecloud.com"
_GROUP_KEYS = ("name", "display", "value")


class LoginRejected(Exception):
    """A login cannot be completed: `seen`, and the `remedy` for the operator."""

    def __init__(self, seen: str, remedy: str) -> None:
        super().__init__(seen)
        self.seen = seen
        self.remedy = remedy


class UnknownKey(LoginRejected):
    """The provider's keys do not contain the one that signed a token; it may have new keys."""


@dataclass(frozen=True, slots=True)
class ProviderMetadata:
    """The metadata of a provider (OpenID Connect Discovery §3): `issuer` is what its tokens name."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None
    client_auth: str
    names_itself: bool
    """The provider names itself in authorization responses (RFC 9207 §3)."""


@dataclass(frozen=True, slots=True)
class ProviderKey:
    """A public key of a provider, and the algorithms of signatures that it may have made."""

    kid: str | None
    algorithms: frozenset[str]
    key: Any


def discovery_url(issuer: str) -> str:
    """Return the URL of the metadata (OpenID Connect Discovery §4)."""
    return issuer.rstrip("/") + DISCOVERY_PATH


def read_metadata(body: bytes, *, issuer: str, has_secret: bool) -> ProviderMetadata:
    """Return the metadata of the configured issuer. Raise LoginRejected if it is another's, or not usable.

    An identity domain names the issuer that all domains share; its keys are those of its own host.
    """
    document = read_object(body)
    named = str(document.get("issuer", ""))
    if named.rstrip("/") != issuer.rstrip("/") and not (named == SHARED_ISSUER and _is_domain(issuer)):
        seen = f"the metadata of the provider names another issuer ({safe_text(named)})"
        raise LoginRejected(seen, "Set `console.sign_in.issuer` to the issuer that the metadata names.")
    urls = {key: document.get(key) for key in ("authorization_endpoint", "token_endpoint", "jwks_uri")}
    if document.get("userinfo_endpoint") is not None:
        urls["userinfo_endpoint"] = document["userinfo_endpoint"]
    for key, url in urls.items():
        if not isinstance(url, str) or not is_safe_url(url):
            raise LoginRejected(f"the metadata of the provider has no https URL as `{key}`", "Correct the provider.")
    methods = document.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    is_post_only = (
        isinstance(methods, list) and "client_secret_basic" not in methods and "client_secret_post" in methods
    )
    client_auth = "none" if not has_secret else "post" if is_post_only else "basic"
    return ProviderMetadata(
        named,
        str(urls["authorization_endpoint"]),
        str(urls["token_endpoint"]),
        str(urls["jwks_uri"]),
        str(urls["userinfo_endpoint"]) if "userinfo_endpoint" in urls else None,
        client_auth,
        document.get("authorization_response_iss_parameter_supported") is True,
    )


def is_safe_url(url: str) -> bool:
    """Return whether secrets may be sent there: by https, or to this machine."""
    parts = read_url(url)
    if parts is None or not parts.host or not re.fullmatch(r"[!-~]+", url) or urlsplit(url).username is not None:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback_host(normalize_host(parts.host)))


def read_keys(body: bytes) -> list[ProviderKey]:
    """Return the public signature keys of a JWK Set (RFC 7517); keys of unknown kinds are left out. Raise
    LoginRejected for any other document.
    """
    entries = read_object(body).get("keys")
    if not isinstance(entries, list):
        raise LoginRejected("the keys of the provider are not a JWK Set", "Check `jwks_uri` of the provider.")
    return [key for entry in entries if isinstance(entry, dict) and (key := _read_key(entry)) is not None]


def read_id_token(
    token: str, keys: Sequence[ProviderKey], *, metadata: ProviderMetadata, client_id: str, nonce: str, now: float
) -> dict[str, Any]:
    """Return the claims of an ID token (OpenID Connect Core §3.1.3.7). Raise LoginRejected for one that is not valid
    for this client and this login at `now` (epoch seconds), UnknownKey if none of `keys` has signed it.
    """
    header, algorithm = _read_header(token)
    key = _select_key(keys, header, algorithm)
    # Times are checked below, by the clock that is passed in.
    unchecked: Options = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False}
    try:
        claims: dict[str, Any] = jwt.decode(token, key.key, algorithms=[algorithm], options=unchecked)
    except (jwt.PyJWTError, ValueError, TypeError) as cause:
        raise _rejected("is not signed by the provider", "Try again; check the clock and the provider.") from cause
    _check_claims(claims, metadata=metadata, client_id=client_id, nonce=nonce, now=now)
    return claims


def read_groups(claims: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    """Return the groups of a claim: texts, or objects with a name. None without the claim."""
    value = claims.get(name)
    if value is None:
        return None
    entries = value if isinstance(value, list) else [value]
    names = (_group_name(entry) for entry in entries[:MAX_GROUPS])
    return tuple(name for name in names if name)


def person_name(claims: Mapping[str, Any], name_claim: str) -> str:
    """Return the name of the person in one line: the claim, else the subject."""
    value = claims.get(name_claim)
    name = value if isinstance(value, str) and value.strip() else str(claims["sub"])
    return "".join(letter if letter.isprintable() else "?" for letter in name[:128])


def read_object(body: bytes) -> dict[str, Any]:
    """Return a JSON object. Raise LoginRejected for any other body."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise LoginRejected("the provider's answer is not a JSON object", "Check `console.sign_in.issuer`.")
    return document


def _read_header(token: str) -> tuple[dict[str, Any], str]:
    try:
        text = token.partition(".")[0]
        header = json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise _rejected("is not a JWT", "Check the provider.")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        shown = safe_text(str(algorithm), limit=32)
        raise _rejected(
            f"is signed with `{shown}`", f"Let the provider sign with one of {', '.join(sorted(ALGORITHMS))}."
        )
    if "crit" in header:  # RFC 7515 §4.1.11
        raise _rejected("has a critical extension", "Check the provider.")
    return header, algorithm


def _read_key(entry: Mapping[str, Any]) -> ProviderKey | None:
    kid = entry.get("kid")
    if entry.get("kty") not in {"RSA", "EC", "OKP"} or entry.get("use", "sig") != "sig":
        return None
    try:
        key = jwt.PyJWK(dict(entry))
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    is_any_rsa = entry["kty"] == "RSA" and "alg" not in entry
    own = {name for name in ALGORITHMS if name[:2] in {"RS", "PS"}} if is_any_rsa else {key.algorithm_name}
    return ProviderKey(kid if isinstance(kid, str) else None, ALGORITHMS.intersection(own), key.key)


def _select_key(keys: Sequence[ProviderKey], header: Mapping[str, Any], algorithm: str) -> ProviderKey:
    """Return the key that the header names, else the only one that fits the algorithm."""
    kid = header.get("kid")
    fitting = [key for key in keys if algorithm in key.algorithms and kid in {None, key.kid}]
    if len(fitting) != 1:
        raise UnknownKey(
            "the ID token is signed by a key that the provider does not publish",
            "Try again; if it stays, check `jwks_uri` of the provider.",
        )
    return fitting[0]


def _check_claims(
    claims: Mapping[str, Any], *, metadata: ProviderMetadata, client_id: str, nonce: str, now: float
) -> None:
    if claims.get("iss") != metadata.issuer:
        raise _rejected("is of another issuer", "Check `console.sign_in.issuer`.")
    audience = claims.get("aud")
    audiences = (
        {audience} if isinstance(audience, str) else set(map(str, audience if isinstance(audience, list) else ()))
    )
    authorized = claims.get("azp")
    others = audiences - {client_id, metadata.issuer}
    if client_id not in audiences or authorized not in {None, client_id} or (others and authorized is None):
        raise _rejected("is for another client", "Check `console.sign_in.client_id`.")
    for claim, is_over in (("exp", now - LEEWAY), ("nbf", None), ("iat", None)):
        moment = claims.get(claim, now if is_over is None else None)
        if not isinstance(moment, int | float) or isinstance(moment, bool) or not math.isfinite(moment):
            raise _rejected(f"has no usable `{claim}`", "Check the provider.")
        if (moment <= is_over) if is_over is not None else (moment > now + LEEWAY):
            state = "has expired" if claim == "exp" else "is not valid yet"
            raise _rejected(state, "Try again; compare the clocks of this machine and of the provider.")
    if not isinstance(claims.get("nonce"), str) or not is_token(claims["nonce"], nonce):
        raise _rejected("is of another login", "Sign in again.")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_CLAIM:
        raise _rejected("has no usable `sub`", "Check the provider.")


def _group_name(entry: object) -> str:
    if isinstance(entry, dict):
        entry = next((entry[key] for key in _GROUP_KEYS if isinstance(entry.get(key), str)), None)
    return entry[:MAX_CLAIM] if isinstance(entry, str) else ""


def _is_domain(issuer: str) -> bool:
    parts = read_url(issuer)
    return parts is not None and parts.scheme == "https" and normalize_host(parts.host).endswith(_DOMAIN_SUFFIX)


def _rejected(what: str, remedy: str) -> LoginRejected:
    return LoginRejected(f"the ID token {what}", remedy)
