"""Derive and check the name and the path of the route. Pure."""

import re

from gateway.config.corrections.pasted_text import Corrected, InvalidInput, strip_pasted
from gateway.config.cross_checks import cross_check
from gateway.config.values import NAME_PATTERN

_MAX_LENGTH = 63


def default_name(code: str) -> str:
    """Return the name of a route to an integration: `orders` for ORDERS."""
    return re.sub(r"[^a-z0-9._-]+", "-", code.lower()).strip("-._")[:_MAX_LENGTH] or "oic"


def credential_name(route: str) -> str:
    """Return the name of the credential of a route: `orders-app` for `orders`."""
    return f"{route[: _MAX_LENGTH - 4]}-app"


def route_name(text: str) -> Corrected:
    """Return the name. Raise InvalidInput if the configuration does not accept it."""
    pasted = strip_pasted(text)
    if not re.fullmatch(NAME_PATTERN, pasted.value):
        raise InvalidInput("is not a name; use up to 63 letters, digits, `.`, `_`, `-`, first a letter or digit")
    return pasted


def route_path(text: str) -> Corrected:
    """Return the path with a slash at both ends. Raise InvalidInput if the configuration does not accept it."""
    pasted = strip_pasted(text)
    path = "/" + pasted.value if pasted.value[0] != "/" else pasted.value
    path += "" if path.endswith("/") else "/"
    issues = cross_check({"routes": [{"path": path}]})
    if issue := next((issue for issue in issues if issue.steps[-1:] == ("path",)), None):
        raise InvalidInput(f"{issue.what}; {issue.remedy}")
    changes = ("added a slash at both ends",) if path != pasted.value else ()
    return Corrected(path, (*pasted.changes, *changes))
