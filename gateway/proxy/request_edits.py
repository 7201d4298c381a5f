"""Pure: the request fields and query parameters that a route sets or removes.

Compiled once per route. Fields and parameters that are set replace the caller's of the same name; the rest of the head
passes unchanged. Values may contain variables: `${name}`.
"""

import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote, unquote_plus

import msgspec

from gateway.proxy.method_override import OVERRIDE_FIELDS, QUERY_PARAMETER

VARIABLE = re.compile(r"\$\{([a-z_]+)\}")

TemplateValues = Mapping[str, str]
"""The variables: `request_id`, `route`, `client`, `method`, `path`, `host`, `caller`. Values are visible ASCII, maybe
empty."""
NameValuePairs = tuple[tuple[str, str], ...]
"""Pairs of name and value; the value may contain variables."""


class RequestEdits(msgspec.Struct, frozen=True):
    """The edits of one route."""

    fields: NameValuePairs
    parameters: NameValuePairs
    dropped: frozenset[bytes]
    """Fields of the caller that are removed, in lower case, each `_` as `-`."""
    replaced: frozenset[str]
    """Parameters of the caller that are replaced, decoded."""
    methods: tuple[str, ...] = ()
    """Methods that the fields and parameters name in place of the caller's (`method_override`)."""

    @classmethod
    def compile(
        cls, *, fields: NameValuePairs, removed: Iterable[str], parameters: NameValuePairs
    ) -> "RequestEdits | None":
        """Return the edits of a route; None if it has none."""
        names = [name.lower() for name in (*(name for name, _ in fields), *removed)]
        if not names and not parameters:
            return None
        dropped = frozenset(_normalize_name(name.encode()) for name in names)
        methods = [value.upper() for name, value in fields if _normalize_name(name.encode()) in OVERRIDE_FIELDS]
        methods += [value.upper() for name, value in parameters if name.lower() == QUERY_PARAMETER]
        replaced = frozenset(name for name, _ in parameters)
        return cls(fields, parameters, dropped, replaced, tuple(filter(str.strip, methods)))

    def edit_lines(self, lines: list[bytes], values: TemplateValues) -> list[bytes]:
        """Return the edited field lines; fields that are set come last."""
        kept = [line for line in lines if _normalize_name(line.partition(b":")[0]) not in self.dropped]
        return [*kept, *(f"{name}: {_expand(value, values)}".encode("latin-1") for name, value in self.fields)]

    def edit_target(self, target: str, values: TemplateValues) -> str:
        """Return the target with the parameters set, percent-encoded; the others stay the same, byte for byte."""
        if not self.parameters:
            return target
        path, _, query = target.partition("?")
        kept = [part for part in query.split("&") if _parameter_name(part) not in self.replaced] if query else []
        added = [f"{quote(name, safe='')}={quote(_expand(value, values), safe='')}" for name, value in self.parameters]
        return f"{path}?{'&'.join([*kept, *added])}"


def _normalize_name(name: bytes) -> bytes:
    """Return a name in lower case with `-` for `_`. Servers that turn names into variables (RFC 3875 §4.1.18) take
    `X_User` for `X-User`: a caller must not be able to set what the operator sets.
    """
    return name.lower().replace(b"_", b"-")


def _parameter_name(part: str) -> str:
    return unquote_plus(part.partition("=")[0])


def _expand(value: str, values: TemplateValues) -> str:
    return VARIABLE.sub(lambda match: values[match[1]], value) if "$" in value else value
