"""The HTTP API of HashiCorp Vault: requests to log in and to read KV version 2, and their responses. Pure.

https://developer.hashicorp.com/vault/api-docs describes the API. Messages contain the status and the `errors` of the
response, without what was sent as a secret.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlsplit

from gateway.config.issue import StoreFailure
from gateway.config.strict_model import SecretRef, VaultRef
from gateway.config.vault_model import VaultAuthSettings, VaultSettings
from gateway.content.redaction import safe_text

RETRIES = "the gateway retries; check the server if this repeats"
_SEALED = "unseal the server; the gateway retries"
_LOGIN_REMEDIES = {
    "token": "store a valid token, whose policies allow the secrets, for `vault.auth.token`",
    "approle": "check `vault.auth.approle`: the role, and that the SecretID has not expired and may still be used",
    "kubernetes": "check `vault.auth.kubernetes`: the role must be bound to this service account and namespace",
}


class LoginRefused(StoreFailure):
    """Vault does not accept what proves the gateway's identity."""


@dataclass(frozen=True, slots=True)
class VaultRequest:
    """A request. `secrets` are texts that no message may contain."""

    method: str
    url: str
    headers: dict[str, str] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class VaultResponse:
    """A response. `location` is that of a redirect."""

    status: int
    body: bytes = field(repr=False)
    location: str = ""


@dataclass(frozen=True, slots=True)
class ClientToken:
    """A token of Vault. `lifetime` is in seconds, from the response on; 0: without an end."""

    value: str = field(repr=False)
    lifetime: float
    is_renewable: bool


def login_secret(auth: VaultAuthSettings) -> SecretRef:
    """Return the reference to what proves the gateway's identity."""
    if auth.approle is not None:
        return auth.approle.secret_id
    if auth.kubernetes is not None:
        return auth.kubernetes.jwt
    assert auth.token is not None
    return auth.token


def login_request(settings: VaultSettings, auth: VaultAuthSettings, proof: str) -> VaultRequest:
    """Return the request for a token. For a token of the operator, it asks for its lifetime."""
    if auth.approle is not None:
        document = {"role_id": auth.approle.role_id, "secret_id": proof}
        return _post(settings, f"auth/{quote(auth.approle.mount)}/login", document, proof)
    if auth.kubernetes is not None:
        document = {"role": auth.kubernetes.role, "jwt": proof}
        return _post(settings, f"auth/{quote(auth.kubernetes.mount)}/login", document, proof)
    return lookup_request(settings, proof)


def lookup_request(settings: VaultSettings, token: str) -> VaultRequest:
    """Return the request for the lifetime of a token; it succeeds if the token is valid."""
    return _request(settings, "GET", "auth/token/lookup-self", token)


def renewal_request(settings: VaultSettings, token: str) -> VaultRequest:
    """Return the request to renew a token."""
    request = _request(settings, "POST", "auth/token/renew-self", token)
    return VaultRequest("POST", request.url, request.headers, b"{}", request.secrets)


def secret_request(settings: VaultSettings, ref: VaultRef, token: str) -> VaultRequest:
    """Return the request for the current version of a secret."""
    return _request(settings, "GET", f"{quote(ref.mount or settings.mount)}/data/{quote(ref.path)}", token)


def read_token(request: VaultRequest, response: VaultResponse, *, method: str, proof: str) -> ClientToken:
    """Return the token of a response to `login_request` or `renewal_request`. Raise StoreFailure; LoginRefused if
    Vault does not accept the login.
    """
    if 400 <= response.status < 500 and response.status not in _UNAVAILABLE:
        what = f"cannot be read: Vault refuses the login by `{method}` ({_status(request, response)})"
        raise LoginRefused(what, _LOGIN_REMEDIES[method], is_shared=True)
    document = _document(request, response)
    auth, data = document.get("auth"), document.get("data")
    if isinstance(auth, dict) and isinstance(auth.get("client_token"), str):
        return ClientToken(auth["client_token"], _seconds(auth.get("lease_duration")), auth.get("renewable") is True)
    if isinstance(data, dict) and "ttl" in data:
        return ClientToken(proof, _seconds(data["ttl"]), data.get("renewable") is True)
    raise _not_vault(response)


def read_secret(
    request: VaultRequest, response: VaultResponse, ref: VaultRef, settings: VaultSettings
) -> tuple[str, int, float | None]:
    """Return the value of the field, the version of the secret, and when it was written, in epoch seconds. Raise
    StoreFailure.
    """
    if response.status == 404:
        raise _missing(request, response, ref.mount or settings.mount)
    if response.status == 403:
        policy = f'path "{ref.mount or settings.mount}/data/{ref.path}" {{ capabilities = ["read"] }}'
        what = f"is refused ({_status(request, response)})"
        raise StoreFailure(what, f"give the token a policy with `{policy}`")
    data = _document(request, response).get("data")
    fields, metadata = (data.get(key) if isinstance(data, dict) else None for key in ("data", "metadata"))
    if not isinstance(fields, dict) or not isinstance(metadata, dict):
        what = "is not a secret of the KV engine, version 2"
        raise StoreFailure(what, "name a mount of version 2, or upgrade it with `vault kv enable-versioning`")
    version = metadata.get("version")
    if ref.field not in fields:
        names = ", ".join(safe_text(name, limit=64) for name in sorted(fields)[:10]) or "none"
        raise StoreFailure(f"does not have this field; its fields are {names}", "correct `field`")
    value = fields[ref.field]
    if not isinstance(value, str):
        raise StoreFailure("is not a string", "store it as a JSON string")
    if not value.strip():
        raise StoreFailure("is empty", "store the secret in it")
    return value, version if isinstance(version, int) else 0, _instant(metadata.get("created_time"))


_UNAVAILABLE = frozenset((408, 412, 429, 472, 473))
"""Of the server, not of the request: too many requests, a standby, a replica that is behind."""


def _request(settings: VaultSettings, method: str, path: str, token: str) -> VaultRequest:
    headers = _headers(settings) | {"X-Vault-Token": token}
    return VaultRequest(method, _url(settings, path), headers, secrets=(token,))


def _post(settings: VaultSettings, path: str, document: dict[str, str], proof: str) -> VaultRequest:
    headers = _headers(settings) | {"Content-Type": "application/json"}
    return VaultRequest("POST", _url(settings, path), headers, json.dumps(document).encode(), (proof,))


def _url(settings: VaultSettings, path: str) -> str:
    return f"{(settings.url or '').rstrip('/')}/v1/{path}"


def _headers(settings: VaultSettings) -> dict[str, str]:
    fields = {
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": "oic-gateway",
        "X-Vault-Request": "true",  # agents may require it, against requests that a web page causes
    }
    return fields | ({"X-Vault-Namespace": settings.namespace} if settings.namespace is not None else {})


def _document(request: VaultRequest, response: VaultResponse) -> dict[str, Any]:
    """Return the document of a success. Raise StoreFailure."""
    status = response.status
    if 300 <= status < 400:
        host = urlsplit(response.location).netloc if response.location.isprintable() else ""
        where = f" to {safe_text(host, limit=100)}" if host else ""
        what = f"is not available now: the server redirects{where} ({status}), which the gateway does not follow"
        raise StoreFailure(what, "set `vault.url` to the active server, or to a balancer", is_transient=True)
    if status >= 500 or status in _UNAVAILABLE:
        text = _status(request, response)
        remedy = _SEALED if "sealed" in text else RETRIES
        raise StoreFailure(f"is not available now ({text})", remedy, is_transient=True)
    if status != 200:
        raise StoreFailure(f"is refused ({_status(request, response)})", "correct `vault` and the reference")
    document = _json(response.body)
    if document is None:
        raise _not_vault(response)
    return document


def _missing(request: VaultRequest, response: VaultResponse, mount: str) -> StoreFailure:
    data = (_json(response.body) or {}).get("data")
    metadata = data.get("metadata") if isinstance(data, dict) else None
    if isinstance(metadata, dict):
        state = "destroyed" if metadata.get("destroyed") is True else "deleted"
        what = f"has no value: its current version {_seconds(metadata.get('version')):.0f} is {state}"
        return StoreFailure(what, "store a new version, or restore this one with `vault kv undelete`")
    remedy = f"correct `path` and `mount`: `vault kv get -mount={mount} PATH` takes the same ones, without `data/`"
    return StoreFailure(f"does not exist ({_status(request, response)})", remedy)


def _not_vault(response: VaultResponse) -> StoreFailure:
    what = f"is not available now: the response ({response.status}) is not one of Vault's API"
    return StoreFailure(what, "check that `vault.url` is the URL of Vault, without /v1", is_transient=True)


def _status(request: VaultRequest, response: VaultResponse) -> str:
    """Return the status and the `errors` of a response, without secrets."""
    errors = (_json(response.body) or {}).get("errors")
    texts = [" ".join(text.split()) for text in _strings(errors)]
    return f"{response.status} {safe_text('; '.join(texts), secret_texts=request.secrets)}".rstrip()


def _strings(value: object) -> Iterable[str]:
    return (item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def _json(body: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _instant(value: object) -> float | None:
    try:
        return datetime.fromisoformat(value).timestamp() if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None


def _seconds(value: object) -> float:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0.0
