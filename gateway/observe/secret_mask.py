"""The net below the promise that no secret is ever logged: what looks like a credential is struck out of a text.

Our own code hands no secret to a log. This is for texts of others: an exception's message, a library's warning.
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
    """`text` with every bearer, JWT, OAuth secret parameter and URL user part replaced by `***`."""
    if "eyJ" in text:
        text = _DOTTED.sub(_strike_jwt, text)
    return _LOOKS_SECRET.sub(_strike, text)


def _strike_jwt(run: re.Match[str]) -> str:
    """A JWT is base64url of `{"`, then dots (RFC 7519). A search for its beginning and end in one expression would read
    the rest of the text once for each `eyJ` in it.
    """
    before, _, rest = run[0].partition("eyJ")
    return before + STRUCK if "." in rest else run[0]


def mask_start(text: str, length: int) -> str:
    """The first `length` characters of `text`, masked. Costs no more for a longer text."""
    # Twice as much is masked: a secret that the cut goes through must be recognized first.
    return mask(text[: 2 * length])[:length]


def _strike(match: re.Match[str]) -> str:
    return (match["scheme"] or match["name"] or match["user"] or "") + STRUCK
