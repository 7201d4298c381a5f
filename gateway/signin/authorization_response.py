"""The authorization response, which arrives through a person's browser, and the page that the browser shows. Pure.

Nothing in a response is trusted: it is bounded, compared in constant time, sanitized before it is shown, and escaped
in HTML.
"""

import hmac
import re
from collections.abc import Callable
from html import escape
from urllib.parse import parse_qsl

from gateway.content.redaction import safe_text

MAX_LENGTH = 16 * 1024
"""Characters of a response."""

# RFC 6749 §4.1.2.1, OpenID Connect Core §3.1.2.6.
_REMEDIES = {
    "access_denied": "Sign in as a user with access, and give consent; check the identity domain's sign-on policy.",
    "invalid_scope": "Compare `scope` with the application's Resources list in the identity domain.",
    "unauthorized_client": "Tick Authorization Code under Allowed Grant Types in the application.",
    "unsupported_response_type": "Tick Authorization Code under Allowed Grant Types in the application.",
    "invalid_request": "Compare `client_id`, `redirect_uri` and `params` with the application's OAuth configuration.",
    "server_error": "Try again; check the identity domain's status.",
    "temporarily_unavailable": "Try again later.",
    "login_required": "Remove `prompt` from `params`.",
    "consent_required": "Remove `prompt` from `params`, or let an administrator give consent for all users.",
    "interaction_required": "Remove `prompt` from `params`.",
}
_REMEDY = "Check the application's OAuth configuration in the identity domain."

# A pasted query without its address, and a pasted code without its query.
_QUERY = re.compile(r"(?:code|state|error|error_description|iss|session_state|scope)=")
_CODE = re.compile(r"[A-Za-z0-9._~+/=-]{16,}")

_PAGE = """\
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>oic-gateway</title></head>
<body><p>{}</p><p>This page can be closed.</p></body></html>
"""


class UnrelatedRequest(Exception):
    """A request that is not the response to the present authorization request; `str` is the reason, without secrets."""


class NotSignedIn(Exception):
    """The sign-in failed: `seen`, and the `remedy`."""

    def __init__(self, seen: str, remedy: str) -> None:
        super().__init__(seen)
        self.seen = seen
        self.remedy = remedy


def read_authorization_response(query: str, *, state: str, is_issuer: Callable[[str], bool]) -> str:
    """Return the authorization code in the query of a redirection (RFC 6749 section 4.1.2).

    Raise UnrelatedRequest for another `state` or a repeated parameter (section 3.1); NotSignedIn for an error response
    and for another issuer (RFC 9207 section 2.4).
    """
    pairs = parse_qsl(query[:MAX_LENGTH], keep_blank_values=True)
    parameters = dict(pairs)
    if len(parameters) != len(pairs):
        raise UnrelatedRequest("it repeats a parameter")
    if not hmac.compare_digest(parameters.get("state", "").encode("utf-8", "replace"), state.encode()):
        raise UnrelatedRequest("its `state` is not that of this sign-in; someone else may have sent it")
    if "iss" in parameters and not is_issuer(parameters["iss"]):
        seen = f"the response names another issuer ({safe_text(parameters['iss'])})"
        raise NotSignedIn(seen, "If it is the right one, set `issuer` of the credential to it. Sign in again.")
    if "error" in parameters:
        raise _error_response(parameters)
    if not parameters.get("code"):
        raise UnrelatedRequest("it contains no code")
    return parameters["code"]


def read_pasted(text: str, *, state: str, is_issuer: Callable[[str], bool]) -> str:
    """Return the code in a pasted text: the final address of the browser, its query, or the code itself.

    A code alone has no `state`: the exchange proves by PKCE that it belongs to this sign-in. Only a text that looks
    like a code is taken for one, so that nothing else is sent to the identity domain. Raise as
    `read_authorization_response`.
    """
    pasted = text.strip().strip("\"'<>").strip()
    if len(pasted) > MAX_LENGTH:
        raise UnrelatedRequest("it is too long for a response")
    _, mark, query = pasted.partition("?")
    if not mark and (_QUERY.match(pasted) or "://" in pasted):
        query = "" if "://" in pasted else pasted
    elif not mark:
        return _read_code(pasted)
    query = query.partition("#")[0]
    if not query:
        raise UnrelatedRequest(
            "it is an address without a response, which would follow a `?`; sign in, then copy the address"
        )
    names = {name for name, _ in parse_qsl(query, keep_blank_values=True)}
    if {"response_type", "code_challenge"} <= names:
        raise UnrelatedRequest("it is the address to open; sign in there, then copy the final address of the browser")
    if "state" not in names:
        raise UnrelatedRequest("it has no `state`; copy the whole address")
    return read_authorization_response(query, state=state, is_issuer=is_issuer)


def _read_code(pasted: str) -> str:
    """Return a pasted code: 16 characters or more of base64 or RFC 3986 unreserved, no client secret of an identity
    domain. Raise UnrelatedRequest for any other text.
    """
    if not pasted:
        raise UnrelatedRequest("it is empty")
    if pasted.startswith("idcscs-"):
        raise UnrelatedRequest("it is a client secret, not the response of a sign-in")
    if not _CODE.fullmatch(pasted):
        raise UnrelatedRequest("it is neither an address with `code` and `state` nor a code")
    return pasted


def html_page(text: str) -> bytes:
    """Return an HTML page with `text`, escaped."""
    return _PAGE.format(escape(text)).encode("utf-8", "replace")


def _error_response(parameters: dict[str, str]) -> NotSignedIn:
    code, text = safe_text(parameters["error"]), safe_text(parameters.get("error_description", ""))
    return NotSignedIn(f"{code}: {text}" if text else code, _REMEDIES.get(code, _REMEDY))
