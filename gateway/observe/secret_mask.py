"""Mask text that looks like a secret, before it is logged. Pure.

The gateway itself passes no secret to the log. The mask is for texts that others wrote: the message of an exception, a
warning of a library.
"""

import re

MASK = "***"

_DOTTED_WORD = re.compile(r"[\w.-]{9,}")
_SECRET = re.compile(
    r"(?P<scheme>\b(?:bearer|basic)\s+)[\w.~+/=-]{6,}"  # RFC 9110 §11.6.2: an Authorization value
    r"|(?P<name>\b(?:client_secret|access_token|refresh_token|id_token|client_assertion|assertion|password|code_verifier)"
    r"[\"']?\s*[=:]\s*[\"']?)[^\s\"'&,}]+"
    r"|(?P<user>://)[^\s/@]+(?=@)",  # user:password in a URL (RFC 3986 §3.2.1)
    re.IGNORECASE,
)


def mask(text: str) -> str:
    """Return `text` with `***` for every Authorization value, JWT, secret OAuth parameter and user part of a URL."""
    if "eyJ" in text:
        text = _DOTTED_WORD.sub(_mask_jwt, text)
    return _SECRET.sub(_mask_match, text)


def _mask_jwt(run: re.Match[str]) -> str:
    """Mask a JWT: it begins with base64url of `{"` and contains dots (RFC 7519). A single expression for all of it
    would read the rest of the text again for each `eyJ`.
    """
    before, _, rest = run[0].partition("eyJ")
    return before + MASK if "." in rest else run[0]


def mask_start(text: str, length: int) -> str:
    """Return the first `length` characters of the masked text. The cost does not grow with the length of `text`."""
    # Mask twice as much: a secret at the cut must still be detected.
    return mask(text[: 2 * length])[:length]


def _mask_match(match: re.Match[str]) -> str:
    return (match["scheme"] or match["name"] or match["user"] or "") + MASK
