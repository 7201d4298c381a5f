"""What a grant and a way to authenticate need of a credential's other keys, and which keys make no sense beside them.

Tables, one row per grant and per `client_auth`, and the checks that read them. Pure: they walk the file's plain values,
and leave whatever has not the expected kind to the model's own complaint.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.config.issue import ConfigIssue, Steps

# Keys that each needs; `tls.cert` stands under `tls`.
GRANTS: dict[str, tuple[str, ...]] = {
    "client_credentials": (),
    "authorization_code": (),
    "refresh_token": ("refresh_token",),
    "jwt_bearer": ("subject", "signing"),
    "password": ("username", "password"),
    "tls_client_auth": ("tls.cert",),
}
CLIENT_AUTH: dict[str, tuple[str, ...]] = {
    "basic": ("client_secret",),
    "post": ("client_secret",),
    "private_key_jwt": ("signing",),
    "tls": ("tls.cert",),
    "none": (),
}
_BESIDE = ("authorize_url", "revoke_url")  # told from `token_url` where they are left out
# Keys that a grant may have beside those it needs.
_MAY: dict[str, tuple[str, ...]] = {"authorization_code": ("redirect_uri", "issuer", *_BESIDE)}

_REMEDIES = {
    "client_secret": "add `client_secret: {file: PATH}` or `{env: NAME}`",
    "signing": "add `signing: {private_key: {file: PATH}}`",
    "tls.cert": "add `tls: {cert: PATH}`, the client certificate in PEM",
    "refresh_token": "add `refresh_token: {file: PATH}` or `{env: NAME}`",
    "password": "add `password: {file: PATH}` or `{env: NAME}`",
}

# Pairs that no identity domain takes: grant, client_auth, what is wrong, what to do.
_CLASHES = (
    ("client_credentials", "none", "is only for clients that can authenticate (RFC 6749 §4.4)", "choose `client_auth`"),
    *(
        ("tls_client_auth", way, "shows the client certificate in place of a secret", "write `client_auth: tls`")
        for way in CLIENT_AUTH
        if way != "tls"
    ),
)

# Keys of one part that are nothing without another: part, key, the other.
_LONELY = (
    ("tls", "key", "cert"),
    ("tls", "key_password", "cert"),
)


def needs_of(steps: Steps, credential: Mapping[str, Any]) -> Iterator[ConfigIssue]:
    """Findings about one credential, which stands at `steps`."""
    grant = credential.get("grant", "client_credentials")
    way = credential.get("client_auth", "basic")
    if isinstance(grant, str) and isinstance(way, str) and grant in GRANTS and way in CLIENT_AUTH:
        yield from _clashing(steps, grant, way)
        yield from _missing(steps, credential, grant=grant, way=way)
        yield from _useless(steps, credential, grant=grant, way=way)
        yield from _addresses(steps, credential, grant=grant)
    yield from _parts(steps, credential)


def _clashing(steps: Steps, grant: str, way: str) -> Iterator[ConfigIssue]:
    for one, other, what, remedy in _CLASHES:
        if (one, other) == (grant, way):
            yield ConfigIssue((*steps, "grant"), what, remedy)


def _missing(steps: Steps, credential: Mapping[str, Any], *, grant: str, way: str) -> Iterator[ConfigIssue]:
    is_clash = any((grant, way) == clash[:2] for clash in _CLASHES)  # another `client_auth` needs other keys
    needed = {} if is_clash else dict.fromkeys(CLIENT_AUTH[way], f"`client_auth: {way}`")
    needed |= dict.fromkeys(GRANTS[grant], f"`grant: {grant}`")
    for key, reason in needed.items():
        if not _has(credential, key):
            place = (*steps, *key.split("."))
            yield ConfigIssue(place, f"is missing, {reason} needs it", _remedy(key))


def _useless(steps: Steps, credential: Mapping[str, Any], *, grant: str, way: str) -> Iterator[ConfigIssue]:
    """Only keys of this table are judged; a secret or a user that nobody sends is a mistake, never a wish."""
    used = {*GRANTS[grant], *CLIENT_AUTH[way], *_MAY.get(grant, ())}
    users = {key: f"`grant: {name}`" for name, keys in (*GRANTS.items(), *_MAY.items()) for key in keys}
    users |= {key: f"`client_auth: {name}`" for name, keys in reversed(CLIENT_AUTH.items()) for key in keys}
    for key, user in users.items():
        # A certificate may be shown beside any grant and proof: a proxy on the way may ask for it.
        if key != "tls.cert" and key not in used and _has(credential, key):
            what = f"is not used by `grant: {grant}` with `client_auth: {way}`"
            yield ConfigIssue((*steps, key), what, f"take it out, or write {user}")


def _addresses(steps: Steps, credential: Mapping[str, Any], *, grant: str) -> Iterator[ConfigIssue]:
    url = credential.get("token_url")
    if not isinstance(url, str):
        return
    if _has(credential, "tls.cert") and url.lower().startswith("http:"):
        yield ConfigIssue((*steps, "tls", "cert"), "is never shown without TLS", "write https in `token_url`")
    if grant == "authorization_code" and not url.endswith("/token"):
        for key in _BESIDE:
            if not _has(credential, key):
                what = "is missing, and cannot be told from a `token_url` that does not end in /token"
                yield ConfigIssue((*steps, key), what, "add it")


def _parts(steps: Steps, credential: Mapping[str, Any]) -> Iterator[ConfigIssue]:
    for part, key, other in _LONELY:
        if _has(credential, f"{part}.{key}") and not _has(credential, f"{part}.{other}"):
            yield ConfigIssue((*steps, part, key), f"is nothing without `{other}`", f"add `{other}`, or take it out")
    params = credential.get("params")
    for key in ("audience", "resource"):
        if isinstance(params, dict) and key in params and _has(credential, key):
            yield ConfigIssue((*steps, "params", key), f"stands beside `{key}`", "keep one of the two")


def _remedy(key: str) -> str:
    return _REMEDIES.get(key, f"add `{key}`")


def _has(credential: Mapping[str, Any], key: str) -> bool:
    """True when the key is written, whatever its value; `a.b` is `b` of the mapping `a`."""
    part, _, inner = key.rpartition(".")
    mapping = credential.get(part) if part else credential
    return isinstance(mapping, Mapping) and mapping.get(inner) is not None
