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

Facts = Mapping[str, str]
"""What a value may name: `request_id`, `route`, `client`, `method`, `path`, `host`; visible ASCII, maybe empty."""
Named = tuple[tuple[str, str], ...]
"""Pairs of name and value, the value with its variables."""


@dataclass(frozen=True, slots=True)
class Edits:
    """The changes of one route."""

    fields: Named
    parameters: Named
    dropped: frozenset[bytes]
    """Fields of the caller that do not pass, by lower-case name, each `_` as `-`."""
    replaced: frozenset[str]
    """Parameters of the caller that do not pass, decoded."""
    methods: tuple[str, ...] = ()
    """Methods that what is set names in place of the caller's."""

    @classmethod
    def of(cls, *, fields: Named, removed: Iterable[str], parameters: Named) -> "Edits | None":
        """Compiles what a route says; None where it says nothing."""
        names = [name.lower() for name in (*(name for name, _ in fields), *removed)]
        if not names and not parameters:
            return None
        dropped = frozenset(_blurred(name.encode()) for name in names)
        methods = [value.upper() for name, value in fields if _blurred(name.encode()) in OVERRIDE_FIELDS]
        methods += [value.upper() for name, value in parameters if name.lower() == QUERY_PARAMETER]
        replaced = frozenset(name for name, _ in parameters)
        return cls(fields, parameters, dropped, replaced, tuple(filter(str.strip, methods)))

    def lines(self, lines: list[bytes], facts: Facts) -> list[bytes]:
        """The field lines that go out in place of the caller's `lines`; what is set comes last."""
        kept = [line for line in lines if _blurred(line.partition(b":")[0]) not in self.dropped]
        return [*kept, *(f"{name}: {_filled(value, facts)}".encode("latin-1") for name, value in self.fields)]

    def target(self, target: str, facts: Facts) -> str:
        """The request target with the parameters set, percent-encoded; the others stay as they are, byte for byte."""
        if not self.parameters:
            return target
        path, _, query = target.partition("?")
        kept = [part for part in query.split("&") if _name(part) not in self.replaced] if query else []
        ours = [f"{quote(name, safe='')}={quote(_filled(value, facts), safe='')}" for name, value in self.parameters]
        return f"{path}?{'&'.join([*kept, *ours])}"


def _blurred(name: bytes) -> bytes:
    """Servers that turn names into variables (RFC 3875 §4.1.18) take `X_User` for `X-User`: a caller must not be able
    to say what the operator sets.
    """
    return name.lower().replace(b"_", b"-")


def _name(part: str) -> str:
    return unquote_plus(part.partition("=")[0])


def _filled(value: str, facts: Facts) -> str:
    return VARIABLE.sub(lambda found: facts[found[1]], value) if "$" in value else value
