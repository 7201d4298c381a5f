"""What an authorization endpoint answers through a person's browser, and the page that the browser then shows. Pure.

Everything in an answer is a stranger's: compared in constant time, bounded, made plain before it is shown, and escaped
where a browser shows it.
"""

import hmac
import re
from collections.abc import Callable
from html import escape
from urllib.parse import parse_qsl

from gateway.oauth.redaction import safe_text

LONGEST = 16 * 1024
"""Characters of an answer."""

# RFC 6749 §4.1.2.1, OpenID Connect Core §3.1.2.6.
_REMEDIES = {
    "access_denied": "Sign in as a user who may, and agree; look at the identity domain's sign-on policy.",
    "invalid_scope": "Compare `scope` with the application's Resources list in the identity domain.",
    "unauthorized_client": "Tick Authorization Code under Allowed Grant Types in the application.",
    "unsupported_response_type": "Tick Authorization Code under Allowed Grant Types in the application.",
    "invalid_request": "Compare `client_id`, `redirect_uri` and `params` with the application's OAuth configuration.",
    "server_error": "Try again; look at the identity domain's status.",
    "temporarily_unavailable": "Try again in a while.",
    "login_required": "Take `prompt` out of `params`.",
    "consent_required": "Take `prompt` out of `params`, or have an administrator agree for all users.",
    "interaction_required": "Take `prompt` out of `params`.",
}
_REMEDY = "Look at the application's OAuth configuration in the identity domain."
_AGAIN = "Run the command again, and open the address that it shows then."

# A query without its address, and a code without its query.
_QUERY = re.compile(r"(?:code|state|error|error_description|iss|session_state|scope)=")
_CODE = re.compile(r"[A-Za-z0-9._~+/=-]{16,}")

_PAGE = """\
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>oic-gateway</title></head>
<body><p>{}</p><p>This page can be closed.</p></body></html>
"""


class UnrelatedRequest(Exception):
    """This is no answer to the question that was asked, whoever sent it; `str` says why, without secrets."""


class NotSignedIn(Exception):
    """The answer is that nobody has signed in: `seen`, and the `remedy`."""

    def __init__(self, seen: str, remedy: str) -> None:
        super().__init__(seen)
        self.seen = seen
        self.remedy = remedy


def read_authorization_response(query: str, *, state: str, is_issuer: Callable[[str], bool]) -> str:
    """The authorization code in the query of a redirection (RFC 6749 §4.1.2).

    Raises NotAnswer for another `state`, or a parameter said twice (§3.1); NotSignedIn for an error and for another
    issuer (RFC 9207 §2.4).
    """
    pairs = parse_qsl(query[:LONGEST], keep_blank_values=True)
    said = dict(pairs)
    if len(said) != len(pairs):
        raise UnrelatedRequest("it says something twice")
    if not hmac.compare_digest(said.get("state", "").encode("utf-8", "replace"), state.encode()):
        raise UnrelatedRequest("its `state` is not that of this sign-in; someone else may have sent it")
    if "iss" in said and not is_issuer(said["iss"]):
        seen = f"the answer is from another issuer ({safe_text(said['iss'])})"
        raise NotSignedIn(seen, f"Should that be the right one, write it as `issuer` of the credential. {_AGAIN}")
    if "error" in said:
        raise _refusal(said)
    if not said.get("code"):
        raise UnrelatedRequest("it holds no code")
    return said["code"]


def read_pasted(text: str, *, state: str, is_issuer: Callable[[str], bool]) -> str:
    """The code in what a person has pasted: the address that the browser ended at, its query, or the code itself.

    A code alone comes without a `state`: that it is of this sign-in shows at the exchange, by PKCE. A text is taken for
    a code only where it looks like one, so that nothing else is sent to the identity domain. Raises as `read_answer`
    does.
    """
    pasted = text.strip().strip("\"'<>").strip()
    if len(pasted) > LONGEST:
        raise UnrelatedRequest("it is longer than an answer can be")
    _, mark, query = pasted.partition("?")
    if not mark and (_QUERY.match(pasted) or "://" in pasted):
        query = "" if "://" in pasted else pasted
    elif not mark:
        return _code_alone(pasted)
    said = query.partition("#")[0]
    if not said:
        raise UnrelatedRequest(
            "it is an address without an answer, which would follow a `?`; sign in, then copy the address"
        )
    names = {name for name, _ in parse_qsl(said, keep_blank_values=True)}
    if {"response_type", "code_challenge"} <= names:
        raise UnrelatedRequest(
            "it is the address to open; sign in there, then copy the address that the browser ends at"
        )
    if "state" not in names:
        raise UnrelatedRequest("it has no `state`; copy the whole address")
    return read_authorization_response(said, state=state, is_issuer=is_issuer)


def _code_alone(pasted: str) -> str:
    """Raises NotAnswer for what is not likely a code: 16 characters or more of those that servers write codes with
    (base64, RFC 3986 unreserved), and no client secret of an identity domain.
    """
    if not pasted:
        raise UnrelatedRequest("it is empty")
    if pasted.startswith("idcscs-"):
        raise UnrelatedRequest("it is a client secret, not the answer of a sign-in")
    if not _CODE.fullmatch(pasted):
        raise UnrelatedRequest("it is neither an address with `code` and `state` nor a code")
    return pasted


def page(text: str) -> bytes:
    """A page that says `text`, escaped."""
    return _PAGE.format(escape(text)).encode("utf-8", "replace")


def _refusal(said: dict[str, str]) -> NotSignedIn:
    code, text = safe_text(said["error"]), safe_text(said.get("error_description", ""))
    return NotSignedIn(f"{code}: {text}" if text else code, _REMEDIES.get(code, _REMEDY))
