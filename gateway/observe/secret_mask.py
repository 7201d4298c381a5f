"""Masks text that looks like a credential: a second line of defence for the promise that no secret is ever logged.

The gateway passes no secret to the log. This is for texts of others: the message of an exception, a warning of a
library.
"""

import re

STRUCK = "***"

_DOTTED = re.compile(r"[\w.-]{9,}")

_LOOKS_SECRET = re.compile(
    r"(?P<scheme>\b(?:bearer|basic)\s+)[\w.~+/=-]{6,}"  # RFC 9110 §11.6.2: an Authorization value
    r"|(?P<name>\b(?:client_secret|access_token|refresh_token|id_token|client_assertion|assertion|password|code_verifier)"
    r"[\"']?\s*[=:]\s*[\"']?)[^\s\"'&,}]+"
    r"|(?P<user>://)[^\s/@]+(?=@)",  # user:password in a URL (RFC 3986 §3.2.1)
    re.IGNORECASE,
)


def mask(text: str) -> str:
    """Return `text` with every bearer, JWT, OAuth secret parameter and URL user part replaced by `***`."""
    if "eyJ" in text:
        text = _DOTTED.sub(_strike_jwt, text)
    return _LOOKS_SECRET.sub(_strike, text)


def _strike_jwt(run: re.Match[str]) -> str:
    """Mask a JWT: base64url of `{"`, then dots (RFC 7519). One expression for its beginning and end would read the rest
    of the text once for each `eyJ` in it.
    """
    before, _, rest = run[0].partition("eyJ")
    return before + STRUCK if "." in rest else run[0]


def mask_start(text: str, length: int) -> str:
    """Return the first `length` characters of `text`, masked. A longer text costs no more."""
    # Mask twice as much, so that a secret at the cut is still recognized.
    return mask(text[: 2 * length])[:length]


def _strike(match: re.Match[str]) -> str:
    return (match["scheme"] or match["name"] or match["user"] or "") + STRUCK
