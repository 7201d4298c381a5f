"""Pure: what a route changes of a request on its way out, beyond what the gateway does anyway.

Compiled once per route. Fields and parameters that are set take the place of the caller's of the same name; all else of
the head passes as it came. Values may hold `${name}` for what is known of the request.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote_plus

from gateway.proxy.method_override import OVERRIDE_FIELDS, QUERY_PARAMETER

VARIABLE = re.compile(r"\$\{([a-z_]+)\}")

TemplateValues = Mapping[str, str]
"""What a value may name: `request_id`, `route`, `client`, `method`, `path`, `host`; visible ASCII, maybe empty."""
NameValuePairs = tuple[tuple[str, str], ...]
"""Pairs of name and value, the value with its variables."""


@dataclass(frozen=True, slots=True)
class RequestEdits:
    """The changes of one route."""

    fields: NameValuePairs
    parameters: NameValuePairs
    dropped: frozenset[bytes]
    """Fields of the caller that do not pass, by lower-case name, each `_` as `-`."""
    replaced: frozenset[str]
    """Parameters of the caller that do not pass, decoded."""
    methods: tuple[str, ...] = ()
    """Methods that what is set names in place of the caller's."""

    @classmethod
    def compile(
        cls, *, fields: NameValuePairs, removed: Iterable[str], parameters: NameValuePairs
    ) -> "RequestEdits | None":
        """Compiles what a route says; None where it says nothing."""
        names = [name.lower() for name in (*(name for name, _ in fields), *removed)]
        if not names and not parameters:
            return None
        dropped = frozenset(_normalize_name(name.encode()) for name in names)
        methods = [value.upper() for name, value in fields if _normalize_name(name.encode()) in OVERRIDE_FIELDS]
        methods += [value.upper() for name, value in parameters if name.lower() == QUERY_PARAMETER]
        replaced = frozenset(name for name, _ in parameters)
        return cls(fields, parameters, dropped, replaced, tuple(filter(str.strip, methods)))

    def edit_lines(self, lines: list[bytes], facts: TemplateValues) -> list[bytes]:
        """The field lines that go out in place of the caller's `lines`; what is set comes last."""
        kept = [line for line in lines if _normalize_name(line.partition(b":")[0]) not in self.dropped]
        return [*kept, *(f"{name}: {_expand(value, facts)}".encode("latin-1") for name, value in self.fields)]

    def edit_target(self, target: str, facts: TemplateValues) -> str:
        """The request target with the parameters set, percent-encoded; the others stay as they are, byte for byte."""
        if not self.parameters:
            return target
        path, _, query = target.partition("?")
        kept = [part for part in query.split("&") if _parameter_name(part) not in self.replaced] if query else []
        ours = [f"{quote(name, safe='')}={quote(_expand(value, facts), safe='')}" for name, value in self.parameters]
        return f"{path}?{'&'.join([*kept, *ours])}"


def _normalize_name(name: bytes) -> bytes:
    """Servers that turn names into variables (RFC 3875 §4.1.18) take `X_User` for `X-User`: a caller must not be able
    to say what the operator sets.
    """
    return name.lower().replace(b"_", b"-")


def _parameter_name(part: str) -> str:
    return unquote_plus(part.partition("=")[0])


def _expand(value: str, facts: TemplateValues) -> str:
    return VARIABLE.sub(lambda found: facts[found[1]], value) if "$" in value else value
