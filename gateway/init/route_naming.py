"""The route's name and path, taken from the integration. Pure."""

import re

from gateway.config.corrections.pasted_text import Corrected, InvalidInput, bare
from gateway.config.cross_checks import cross_check
from gateway.config.values import NAME_PATTERN

_LONGEST = 63


def name_of(code: str) -> str:
    """A route's name for an integration: ORDERS gives `orders`."""
    return re.sub(r"[^a-z0-9._-]+", "-", code.lower()).strip("-._")[:_LONGEST] or "oic"


def credential_of(route: str) -> str:
    """The name of a route's credential: `orders` gives `orders-app`."""
    return f"{route[: _LONGEST - 4]}-app"


def route_name(text: str) -> Corrected:
    """A name as the configuration takes it; raises Uncorrectable for any other."""
    pasted = bare(text)
    if not re.fullmatch(NAME_PATTERN, pasted.value):
        what = "is not a name; use up to 63 letters, digits, `.`, `_`, `-`, beginning with a letter or digit"
        raise InvalidInput(what)
    return pasted


def route_path(text: str) -> Corrected:
    """A path with a slash at both ends; raises Uncorrectable for one that the configuration does not take."""
    pasted = bare(text)
    path = "/" + pasted.value if pasted.value[0] != "/" else pasted.value
    path += "" if path.endswith("/") else "/"
    fault = next((one for one in cross_check({"routes": [{"path": path}]}) if one.steps[-1:] == ("path",)), None)
    if fault:
        raise InvalidInput(f"{fault.what}; {fault.remedy}")
    changes = ("put a slash at both ends",) if path != pasted.value else ()
    return Corrected(path, (*pasted.changes, *changes))
