"""Find the id of the OIC run that answered a request.

OIC returns the id in `x-oracle-ics-instance-id`: 22 base64url characters in OIC 3, decimal digits in Gen 2. The gateway
treats it as an opaque string. Many flows also return it in their body. `opc-request-id` correlates the logs of the OCI
services.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from gateway.content.charsets import decode_to_utf8, is_wide_text
from gateway.content.media_type import read_media
from gateway.oic.bodies import JsonScanner, find_elements, json_needle, pointer_tokens, xml_needle

INSTANCE_ID = b"x-oracle-ics-instance-id"
OPC_REQUEST_ID = b"opc-request-id"
BODY_PART = 64 * 1024
"""Bytes of a body that are searched, at most."""
ID = re.compile(r"[!#-&(-+\--~]{1,128}")  # visible ASCII without quotes and commas: it is written to heads and logs

# A malformed head ends at the first empty line, whatever ends its lines; a value may be folded.
HEAD_END = re.compile(rb"\r\n\r\n|\r?\n\r?\n|\r\r")
SALVAGED = {
    name: re.compile(
        rb"(?i)(?:\A|[\r\n])%b[ \t]*+:[ \t]*+(?:\r?\n[ \t]++)?+([^\r\n]*+)(?=\r?\n(?![ \t])|\r(?![\n \t]))" % name
    )
    for name in (INSTANCE_ID, OPC_REQUEST_ID)
}
PLAIN = {
    INSTANCE_ID: re.compile(rb"[A-Za-z0-9._~-]{1,128}"),
    OPC_REQUEST_ID: re.compile(rb"[A-Za-z0-9._~/+=:-]{1,256}"),
}

MediaKind = Literal["json", "xml"]
RulePlace = Literal["header", "json", "xml"]


@dataclass(frozen=True, slots=True)
class IdRule:
    """One place that may contain an id."""

    where: RulePlace
    name: str
    """A field name, an RFC 6901 pointer, or the local name of an element in any namespace."""


# These names say whose id they contain. `instanceId` and `flowId` are in use too, but not searched by default: in
# responses of the developer API (monitoring, error hospital) and of process applications they name another run, and a
# wrong id misleads the person who searches for it.
DEFAULT_RULES = (
    IdRule("header", INSTANCE_ID.decode()),
    IdRule("json", "/oicInstanceId"),
    IdRule("json", "/oic_instance_id"),
    IdRule("xml", "oicInstanceId"),
)
# The upstream of a trigger answers for its own run only.
TRIGGER_RULES = (*DEFAULT_RULES, IdRule("json", "/instanceId"), IdRule("json", "/flowId"))


def read_ids(known_fields: Mapping[bytes, bytes]) -> tuple[str | None, str | None]:
    """Return instance id and opc-request-id from the fields of a response head, by lower-case name.

    None stands for a missing or empty field. The first one of several values counts.
    """
    instance_id, opc_request_id = known_fields.get(INSTANCE_ID), known_fields.get(OPC_REQUEST_ID)
    return _first_value(instance_id) if instance_id else None, _first_value(opc_request_id) if opc_request_id else None


def _first_value(value: bytes) -> str | None:
    text = value.decode("latin-1")
    # Repeated fields are joined with commas: an empty one before the id must not hide that a flow ran.
    return text if "," not in text else next(filter(None, map(str.strip, text.split(","))), None)


def find_ids_in_broken_head(head: bytes) -> tuple[str | None, str | None]:
    """Return instance id and opc-request-id from the raw bytes of a head that is malformed or incomplete: a flow may
    have run. None stands for no plain value in a whole line, and for several different ones.
    """
    start = head.lstrip(b"\r\n")
    end = HEAD_END.search(start)
    fields = start if end is None else start[: end.end()]
    return _salvage(fields, INSTANCE_ID), _salvage(fields, OPC_REQUEST_ID)


def _salvage(fields: bytes, name: bytes) -> str | None:
    values = [value.strip(b" \t") for line in SALVAGED[name].findall(fields) for value in line.split(b",")]
    plain = {value.decode("ascii") for value in values if PLAIN[name].fullmatch(value)}
    return plain.pop() if len(plain) == 1 else None


@lru_cache(maxsize=256)
def media_kind(content_type: bytes | None) -> MediaKind | None:
    """Return how a body of this Content-Type is searched, or None if it is not."""
    kind = read_media(content_type).document_kind
    return kind if kind in {"json", "xml"} else None  # type: ignore[return-value] # mypy does not narrow by `in`


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule that is ready for use."""

    where: RulePlace
    field: bytes = b""
    element: str = ""
    path: tuple[str, ...] = ()
    needle: bytes = b""
    """Bytes that a body contains if the rule can find an id in it; empty if there are none."""

    @classmethod
    def compile(cls, rule: IdRule) -> "CompiledRule":
        """Compile a rule."""
        if rule.where == "header":
            return cls("header", field=rule.name.lower().encode("latin-1"))
        if rule.where == "xml":
            return cls("xml", element=rule.name, needle=xml_needle(rule.name))
        path = pointer_tokens(rule.name)
        return cls("json", path=path, needle=json_needle(path))


@dataclass(frozen=True, slots=True, eq=False)
class InstanceIdRules:
    """The rules of one route. The first rule that finds an id wins; a value that is not an id is skipped. An id is 1
    to 128 visible ASCII characters without quotes and commas.
    """

    rules: tuple[CompiledRule, ...]
    needs_body: bool
    """Whether a rule reads bodies."""
    header_first: bool
    """Whether the first rule reads OIC's own field, as `read_ids` does."""
    leading_header_rules: Mapping[MediaKind | None, tuple[CompiledRule, ...]]
    """The header rules before all rules for a body of this kind."""
    top_names: frozenset[str]
    """The first names of the JSON pointers."""
    needles: Mapping[MediaKind | None, tuple[bytes, ...] | None]
    """A body without any of these contains no id for the rules of its kind; None if every body must be searched."""

    @classmethod
    def compile(cls, rules: Iterable[IdRule]) -> "InstanceIdRules":
        """Compile the rules of a route."""
        compiled = tuple(map(CompiledRule.compile, rules))
        kinds: tuple[MediaKind | None, ...] = ("json", "xml", None)
        return cls(
            compiled,
            needs_body=any(rule.where != "header" for rule in compiled),
            header_first=bool(compiled) and compiled[0].field == INSTANCE_ID,
            leading_header_rules={kind: _leading_header_rules(compiled, kind) for kind in kinds},
            top_names=frozenset(rule.path[0] for rule in compiled if rule.path),
            needles={kind: _needles(compiled, kind) for kind in kinds},
        )

    def find_in_head(
        self, known_fields: Mapping[bytes, bytes], forwarded_lines: Sequence[bytes], kind: MediaKind | None = None
    ) -> str | None:
        """Return the id if the head alone decides it: by the header rules before all rules for a body of this kind, or
        by all header rules if there is no such body.

        `known_fields` has values by lower-case name, `forwarded_lines` the other lines.
        """
        for rule in self.leading_header_rules[kind]:
            if (found := _find_in_head(rule.field, known_fields, forwarded_lines)) is not None:
                return found
        return None

    def can_find_in_body(self, kind: MediaKind | None) -> bool:
        """Return whether a body of this kind may contain an id that the head does not."""
        return kind is not None and self.needs_body and any(rule.where == kind for rule in self.rules)

    def find(
        self,
        known_fields: Mapping[bytes, bytes],
        forwarded_lines: Sequence[bytes],
        kind: MediaKind | None,
        first: bytes,
    ) -> str | None:
        """Return the id by all rules. `first` is the decoded beginning of the body, cut anywhere. Never raise.

        A truncated id does not count. A member name with JSON escapes is not found; the first of several members with
        the same name counts.
        """
        first = first[:BODY_PART]
        is_wide = is_wide_text(first)
        text = _decode(known_fields, kind, first) if is_wide else first
        needles = self.needles[kind]
        if needles is not None:
            for needle in needles:
                if needle in text:
                    break
            else:  # most bodies, at the lowest cost
                return self.find_in_head(known_fields, forwarded_lines)
        # Ids and names in JSON are found in any superset of ASCII; expat reads only UTF-8 here.
        part = _decode(known_fields, kind, text) if kind == "xml" and not is_wide else text
        json = JsonScanner(part, self.top_names) if kind == "json" else None
        for rule in self.rules:
            if rule.where == "header":
                found = _find_in_head(rule.field, known_fields, forwarded_lines)
            elif rule.where == kind:
                found = _find_in_body(rule, part, json)
            else:
                continue
            if found is not None:
                return found
        return None


def _decode(known_fields: Mapping[bytes, bytes], kind: MediaKind | None, first: bytes) -> bytes:
    declared = read_media(known_fields.get(b"content-type")).parameters.get("charset", "")
    return decode_to_utf8(first, declared, is_markup=kind == "xml")


def _leading_header_rules(rules: tuple[CompiledRule, ...], kind: MediaKind | None) -> tuple[CompiledRule, ...]:
    bound = next((index for index, rule in enumerate(rules) if rule.where == kind), len(rules))
    return tuple(rule for rule in rules[:bound] if rule.where == "header")


def _needles(rules: tuple[CompiledRule, ...], kind: MediaKind | None) -> tuple[bytes, ...] | None:
    needles = tuple(rule.needle for rule in rules if rule.where == kind)
    return needles if all(needles) else None


def _find_in_head(field: bytes, known_fields: Mapping[bytes, bytes], forwarded_lines: Sequence[bytes]) -> str | None:
    value = known_fields.get(field)
    if value is None and field != INSTANCE_ID:
        size = len(field)
        lines = (line for line in forwarded_lines if line[size : size + 1] == b":" and line[:size].lower() == field)
        value = b",".join(line[size + 1 :] for line in lines)
    if not value:
        return None
    text = value.decode("latin-1")
    return _parse_id(text) if "," not in text else next(filter(None, map(_parse_id, text.split(","))), None)


def _find_in_body(rule: CompiledRule, part: bytes, json: JsonScanner | None) -> str | None:
    if rule.needle not in part:
        return None
    values = find_elements(part, rule.element) if json is None else json.find(rule.path)
    return next(filter(None, map(_parse_id, values)), None)


def _parse_id(text: str) -> str | None:
    value = text.strip(" \t\r\n")
    return value if ID.fullmatch(value) else None


class InstanceIdScanner:
    """Searches the body of one response while it passes. `instance_id` is the id by all rules, as far as it is known:
    an id in the body may precede one in a header.
    """

    __slots__ = (
        *("_beginning", "_forwarded_lines", "_kind", "_known_fields", "_next_search", "_rules", "_size"),
        "instance_id",
    )

    def __init__(
        self,
        rules: InstanceIdRules,
        known_fields: Mapping[bytes, bytes],
        forwarded_lines: Sequence[bytes],
        *,
        kind: MediaKind | None,
    ) -> None:
        """Take the fields of the response's head and the kind of its body."""
        self._rules = rules
        self._known_fields = known_fields
        self._forwarded_lines = forwarded_lines
        self._kind = kind
        self._beginning: list[bytes] = []
        self._size = 0
        self._next_search = 0
        self.instance_id: str | None = None

    def feed(self, pieces: Sequence[bytes]) -> None:
        """Search with the next pieces of the body.

        The search is repeated only when the known part has doubled: a body that comes byte by byte costs at most twice
        as much as one that comes at once.
        """
        if self._size >= BODY_PART or not pieces:
            return
        self._beginning += pieces
        self._size += sum(map(len, pieces))
        if self._size >= self._next_search or self._size >= BODY_PART:
            self._search()

    def end(self) -> None:
        """Search what has come since the last search."""
        if self._size < self._next_search or not self._next_search:
            self._search()

    def _search(self) -> None:
        self._beginning = [b"".join(self._beginning)[:BODY_PART]]
        self._next_search = 2 * self._size
        self.instance_id = self._rules.find(self._known_fields, self._forwarded_lines, self._kind, self._beginning[0])
