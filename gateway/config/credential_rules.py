"""Checks of the keys of a credential: those that its grant and `client_auth` require, and those they do not use. Pure.

The tables have one row for each grant and each `client_auth`. The checks use the plain values of the file. The model
itself reports values of the wrong type.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.config.issue import ConfigIssue, Steps

# Required keys; `tls.cert` is `cert` under `tls`.
GRANT_KEYS: dict[str, tuple[str, ...]] = {
    "client_credentials": (),
    "authorization_code": (),
    "refresh_token": ("refresh_token",),
    "jwt_bearer": ("subject", "signing"),
    "password": ("username", "password"),
    "tls_client_auth": ("tls.cert",),
}
CLIENT_AUTH_KEYS: dict[str, tuple[str, ...]] = {
    "basic": ("client_secret",),
    "post": ("client_secret",),
    "private_key_jwt": ("signing",),
    "tls": ("tls.cert",),
    "none": (),
}
_DERIVED = ("authorize_url", "revoke_url")  # derived from `token_url` if omitted
# Optional keys of a grant.
_OPTIONAL: dict[str, tuple[str, ...]] = {
    "authorization_code": ("redirect_uri", "issuer", *_DERIVED, "renew.idle"),
    "refresh_token": ("renew.idle",),
}

_REMEDIES = {
    "client_secret": "add `client_secret: {file: PATH}` or `{env: NAME}`",
    "signing": "add `signing: {private_key: {file: PATH}}`",
    "tls.cert": "add `tls: {cert: PATH}`, the client certificate in PEM",
    "refresh_token": "add `refresh_token: {file: PATH}` or `{env: NAME}`",
    "password": "add `password: {file: PATH}` or `{env: NAME}`",
}

# Pairs that no identity domain accepts: grant, client_auth, problem, remedy.
_REJECTED_COMBINATIONS = (
    ("client_credentials", "none", "is only for clients that can authenticate (RFC 6749 §4.4)", "choose `client_auth`"),
    *(
        ("tls_client_auth", client_auth, "uses the client certificate instead of a secret", "set `client_auth: tls`")
        for client_auth in CLIENT_AUTH_KEYS
        if client_auth != "tls"
    ),
)

# Keys that require another key: parent, key, the other key.
_DEPENDENT = (
    ("tls", "key", "cert"),
    ("tls", "key_password", "cert"),
)


def check_credential(steps: Steps, credential: Mapping[str, Any]) -> Iterator[ConfigIssue]:
    """Yield issues of the credential at `steps`."""
    grant = credential.get("grant", "client_credentials")
    client_auth = credential.get("client_auth", "basic")
    if (
        isinstance(grant, str)
        and isinstance(client_auth, str)
        and grant in GRANT_KEYS
        and client_auth in CLIENT_AUTH_KEYS
    ):
        yield from _rejected_combinations(steps, grant, client_auth)
        yield from _missing(steps, credential, grant=grant, client_auth=client_auth)
        yield from _unused_keys(steps, credential, grant=grant, client_auth=client_auth)
        yield from _addresses(steps, credential, grant=grant)
    yield from _parts(steps, credential)


def _rejected_combinations(steps: Steps, grant: str, client_auth: str) -> Iterator[ConfigIssue]:
    for one, other, what, remedy in _REJECTED_COMBINATIONS:
        if (one, other) == (grant, client_auth):
            yield ConfigIssue((*steps, "grant"), what, remedy)


def _missing(steps: Steps, credential: Mapping[str, Any], *, grant: str, client_auth: str) -> Iterator[ConfigIssue]:
    is_rejected = any(
        (grant, client_auth) == clash[:2] for clash in _REJECTED_COMBINATIONS
    )  # another `client_auth` requires other keys
    needed = {} if is_rejected else dict.fromkeys(CLIENT_AUTH_KEYS[client_auth], f"`client_auth: {client_auth}`")
    needed |= dict.fromkeys(GRANT_KEYS[grant], f"`grant: {grant}`")
    for key, reason in needed.items():
        if not _has(credential, key):
            place = (*steps, *key.split("."))
            yield ConfigIssue(place, f"is missing, {reason} needs it", _remedy(key))


def _unused_keys(steps: Steps, credential: Mapping[str, Any], *, grant: str, client_auth: str) -> Iterator[ConfigIssue]:
    """Yield issues of keys in the tables that this grant and `client_auth` do not use."""
    used = {*GRANT_KEYS[grant], *CLIENT_AUTH_KEYS[client_auth], *_OPTIONAL.get(grant, ())}
    users = {key: f"`grant: {name}`" for name, keys in (*GRANT_KEYS.items(), *_OPTIONAL.items()) for key in keys}
    users |= {key: f"`client_auth: {name}`" for name, keys in reversed(CLIENT_AUTH_KEYS.items()) for key in keys}
    for key, user in users.items():
        # A client certificate may be used with any grant: a proxy on the way may require it.
        if key != "tls.cert" and key not in used and _has(credential, key):
            what = f"is not used by `grant: {grant}` with `client_auth: {client_auth}`"
            yield ConfigIssue((*steps, *key.split(".")), what, f"remove it, or set {user}")


def _addresses(steps: Steps, credential: Mapping[str, Any], *, grant: str) -> Iterator[ConfigIssue]:
    url = credential.get("token_url")
    if not isinstance(url, str):
        return
    if _has(credential, "tls.cert") and url.lower().startswith("http:"):
        yield ConfigIssue((*steps, "tls", "cert"), "has no effect without TLS", "use https in `token_url`")
    if grant == "authorization_code" and not url.endswith("/token"):
        for key in _DERIVED:
            if not _has(credential, key):
                what = "is missing, and cannot be derived from a `token_url` that does not end in /token"
                yield ConfigIssue((*steps, key), what, "add it")


def _parts(steps: Steps, credential: Mapping[str, Any]) -> Iterator[ConfigIssue]:
    for part, key, other in _DEPENDENT:
        if _has(credential, f"{part}.{key}") and not _has(credential, f"{part}.{other}"):
            yield ConfigIssue((*steps, part, key), f"requires `{other}`", f"add `{other}`, or remove this key")
    params = credential.get("params")
    for key in ("audience", "resource"):
        if isinstance(params, dict) and key in params and _has(credential, key):
            yield ConfigIssue((*steps, "params", key), f"is set together with `{key}`", "remove one of them")


def _remedy(key: str) -> str:
    return _REMEDIES.get(key, f"add `{key}`")


def _has(credential: Mapping[str, Any], key: str) -> bool:
    """Return whether the key has a value; `a.b` is `b` of the mapping `a`."""
    part, _, inner = key.rpartition(".")
    mapping = credential.get(part) if part else credential
    return isinstance(mapping, Mapping) and mapping.get(inner) is not None
