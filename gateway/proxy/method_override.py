"""Pure: the methods that a request names in place of its own, by a field or in its query.

OIC's API honours `X-HTTP-Method-Override`; the other two fields are its equivalents (Microsoft's and IBM's). Servers
that turn names into variables (RFC 3875 §4.1.18) cannot tell `_` from `-`, so both spellings count. Whether OIC honours
the query parameter `_method`, as some frameworks do, is not known: it counts if its value is a method. An override can
only restrict: each named method must be allowed, and safe for a retry.
"""

import re
from collections.abc import Collection, Mapping
from urllib.parse import unquote_plus

from gateway.errors import BadRequest, MethodNotAllowed
from gateway.http.request_head import KNOWN_METHODS, RequestHead
from gateway.proxy.retry import SAFE_METHODS

OVERRIDE_FIELDS = {
    b"x-http-method-override": "X-HTTP-Method-Override",
    b"x-http-method": "X-HTTP-Method",
    b"x-method-override": "X-Method-Override",
}
"""The usual spelling by lower-case name."""
_OVERRIDE_NAMES = frozenset(OVERRIDE_FIELDS)
QUERY_PARAMETER = "_method"

_METHOD = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}")
# `_method`, any of its characters percent-encoded, and its value.
_IN_QUERY = re.compile(
    r"(?:^|[&;])"
    + "".join(rf"(?:{letter}|%{ord(letter):02x}|%{ord(letter.upper()):02x})" for letter in QUERY_PARAMETER)
    + r"=([^&;]*)",
    re.IGNORECASE | re.ASCII,
)


def overriding_methods(known: Mapping[bytes, bytes], target: str, *, removed: Collection[bytes] = ()) -> dict[str, str]:
    """Return each method that the request names beside its own, in upper case, with the field or parameter that names
    it. Fields in `removed` are not forwarded and do not count; an empty field names no method. Raise ValueError with
    the name of a field whose value is not a method.
    """
    found: dict[str, str] = {}
    for key, name in OVERRIDE_FIELDS.items():
        if key in known and key not in removed:
            for word in known[key].decode("latin-1").split(","):
                method = word.strip(" \t")
                if not method:  # some clients always send the field, often empty (RFC 9110 §5.6.1.2)
                    continue
                if _METHOD.fullmatch(method) is None:
                    raise ValueError(name)
                found.setdefault(method.upper(), f"`{name}`")
    query = target.partition("?")[2]
    for value in _IN_QUERY.findall(query) if query else ():
        method = unquote_plus(value).strip().upper()
        if method in KNOWN_METHODS:
            found.setdefault(method, f"`{QUERY_PARAMETER}` in the query")
    return found


def effective_method(method: str, overrides: Collection[str]) -> str:
    """Return the method that decides on retries: the first that is not safe, else the request's own."""
    return next((named for named in (method, *overrides) if named not in SAFE_METHODS), method)


def check_methods(
    head: RequestHead, allowed: frozenset[str], *, removed: Collection[bytes] = (), added: Collection[str] = ()
) -> str:
    """Return the method that decides on retries. `removed` fields are not forwarded; `added` methods are named by
    fields and parameters that the route sets. Raise MethodNotAllowed if the route does not take the method, or one that
    a field or the query names instead; BadRequest for a field whose value is not a method.
    """
    if head.method not in allowed:
        raise MethodNotAllowed(allow=tuple(sorted(allowed)))
    query = head.target.partition("?")[2]
    if not added and "_" not in query and "%" not in query and _OVERRIDE_NAMES.isdisjoint(head.known_fields):
        return head.method  # as most: nothing can name another one
    try:
        overrides = overriding_methods(head.known_fields, head.target, removed=removed)
    except ValueError as field:
        raise BadRequest(f"The value of `{field}` is not a method.") from None
    for method, source in overrides.items():
        if method not in allowed:
            raise MethodNotAllowed(
                f"This route does not take the method that {source} names.", allow=tuple(sorted(allowed))
            )
    return effective_method(head.method, (*overrides, *added))
