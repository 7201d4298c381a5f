"""Requests to the API of an identity domain that give an application a new client secret, and their responses. Pure.

The API is SCIM (RFC 7644). `POST /admin/v1/AppClientSecretRegenerator` issues the secret and ends the old one.
"""

import json
from typing import Any
from urllib.parse import urlencode, urlsplit

from gateway.content.redaction import safe_text
from gateway.oauth.grants import TokenRequest

ADMINISTRATION_SCOPE = "urn:opc:idm:__myscopes__"
"""The scope of a token for the identity domain's own API: all that the roles of the client allow."""

_SCHEMA = "urn:ietf:params:scim:schemas:oracle:idcs:AppClientSecretRegenerator"
_HEADERS = {
    "Accept": "application/scim+json, application/json",
    "Accept-Encoding": "identity",
    "User-Agent": "oic-gateway",
}
_ROLE_REMEDY = (
    "grant the application the role Application Administrator of the identity domain, or name another one with --by"
)


class RequestRefused(Exception):
    """The identity domain refuses the request, so that it has changed nothing. The message has the remedy."""


class OutcomeUnknown(Exception):
    """The response does not tell whether the secret was changed."""


def application_query(token_url: str, client_id: str) -> str:
    """Return the URL that finds the application of a client."""
    quoted = client_id.replace("\\", "\\\\").replace('"', '\\"')
    query = urlencode({"filter": f'name eq "{quoted}"', "attributes": "id"})
    return f"{_base(token_url)}/admin/v1/Apps?{query}"


def bearer_fields(token: str) -> dict[str, str]:
    """Return the header fields of a request with the token."""
    return _HEADERS | {"Authorization": f"Bearer {token}"}


def read_application(status: int, body: bytes, token: str) -> str:
    """Return the id of the application that was found. Raise RequestRefused, OutcomeUnknown."""
    document = _read(status, body, token)
    found = document.get("Resources")
    if not isinstance(found, list) or len(found) != 1 or not isinstance(found[0], dict):
        raise RequestRefused("the identity domain finds no application with this `client_id`; correct it")
    identifier = found[0].get("id")
    if not isinstance(identifier, str) or not identifier:
        raise OutcomeUnknown("the response has no id of the application")
    return identifier


def regeneration_request(token_url: str, app_id: str, token: str) -> TokenRequest:
    """Return the request for a new secret."""
    fields = bearer_fields(token) | {"Content-Type": "application/scim+json"}
    body = json.dumps({"schemas": [_SCHEMA], "appId": app_id}).encode()
    url = f"{_base(token_url)}/admin/v1/AppClientSecretRegenerator"
    return TokenRequest(url, headers=fields, body=body, secret_texts=(token,))


def read_new_secret(status: int, body: bytes, token: str) -> str:
    """Return the new secret of a response. Raise RequestRefused, OutcomeUnknown."""
    secret = _read(status, body, token).get("clientSecret")
    if not isinstance(secret, str) or not secret.strip() or not secret.isprintable():
        raise OutcomeUnknown("the response has no usable `clientSecret`")
    return secret


def _base(token_url: str) -> str:
    parts = urlsplit(token_url)
    return f"{parts.scheme}://{parts.netloc}"


def _read(status: int, body: bytes, token: str) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if status in {200, 201} and isinstance(document, dict):
        return document
    detail = document.get("detail") if isinstance(document, dict) else None
    text = f"{status} {safe_text(detail, secret_texts=(token,)) if isinstance(detail, str) else ''}".rstrip()
    if status in {401, 403}:
        raise RequestRefused(f"the identity domain answers {text}; {_ROLE_REMEDY}")
    if 400 <= status < 500 and status not in {408, 429}:
        raise RequestRefused(f"the identity domain answers {text}; check `token_url`: the API is on the same host")
    raise OutcomeUnknown(f"the identity domain answers {text}")
