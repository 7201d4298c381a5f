"""Find the id of the OIC run that answered a request.

OIC returns the id in `x-oracle-ics-instance-id`: 22 base64url characters in OIC 3, decimal digits in Gen 2. The gateway
treats it as an opaque string. Many flows also return it in their body. `opc-request-id` correlates the logs of the OCI
services.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Literal

import msgspec

from gateway.content.charsets import decode_to_utf8, is_wide_text
from gateway.content.media_type import read_media_type
from gateway.oic.bodies import JsonScanner, find_elements, json_needle, split_json_pointer, xml_needle

INSTANCE_ID = b"x-oracle-ics-instance-id"
OPC_REQUEST_ID = b"opc-request-id"
BODY_PART = 64 * 1024
"""Bytes of a body that are searched, at most."""
# Visible ASCII without quotes and commas: it is written to heads and logs.
INSTANCE_ID_VALUE = re.compile(r"[!#-&(-+\--~]{1,128}")

# A malformed head ends at the first empty line, whatever ends its lines; a value may be folded.
HEAD_END = re.compile(rb"\r\n\r\n|\r?\n\r?\n|\r\r")
BROKEN_HEAD_FIELDS = {
    name: re.compile(
        rb"(?i)(?:\A|[\r\n])%b[ \t]*+:[ \t]*+(?:\r?\n[ \t]++)?([^\r\n]*+)(?=\r?\n(?![ \t])|\r(?![\n \t]))" % name
    )
    for name in (INSTANCE_ID, OPC_REQUEST_ID)
}
PLAIN_VALUES = {
    INSTANCE_ID: re.compile(rb"[A-Za-z0-9._~-]{1,128}"),
    OPC_REQUEST_ID: re.compile(rb"[A-Za-z0-9._~/+=:-]{1,256}"),
}

MediaKind = Literal["json", "xml"]
LocationKind = Literal["header", "json", "xml"]


class InstanceIdLocation(msgspec.Struct, frozen=True):
    """One place that may contain an id."""

    where: LocationKind
    name: str
    """A field name, an RFC 6901 pointer, or the local name of an element in any namespace."""


# These names say whose id they contain. `instanceId` and `flowId` are in use too, but not searched by default: in
# responses of the developer API (monitoring, error hospital) and of process applications they name another run, and a
# wrong id misleads the person who searches for it.
DEFAULT_LOCATIONS = (
    InstanceIdLocation("header", INSTANCE_ID.decode()),
    InstanceIdLocation("json", "/oicInstanceId"),
    InstanceIdLocation("json", "/oic_instance_id"),
    InstanceIdLocation("xml", "oicInstanceId"),
)
# The upstream of a trigger answers for its own run only.
TRIGGER_LOCATIONS = (
    *DEFAULT_LOCATIONS,
    InstanceIdLocation("json", "/instanceId"),
    InstanceIdLocation("json", "/flowId"),
)


def read_ids(known_fields: Mapping[bytes, bytes]) -> tuple[str | None, str | None]:
    """Return instance id and opc-request-id from the fields of a response head, by lower-case name.

    None stands for a missing or empty field. The first one of several values counts.
    """
    instance_id = known_fields.get(INSTANCE_ID, b"").decode("latin-1")
    opc_request_id = known_fields.get(OPC_REQUEST_ID, b"").decode("latin-1")
    if "," in instance_id or "," in opc_request_id:
        return _first_value(instance_id), _first_value(opc_request_id)
    return instance_id or None, opc_request_id or None


def _first_value(text: str) -> str | None:
    # Repeated fields are joined with commas: an empty one before the id must not hide that a flow ran.
    return next(filter(None, map(str.strip, text.split(","))), None) if "," in text else text or None


def find_ids_in_broken_head(head: bytes) -> tuple[str | None, str | None]:
    """Return instance id and opc-request-id from the raw bytes of a head that is malformed or incomplete: a flow may
    have run. None stands for no plain value in a whole line, and for several different ones.
    """
    start = head.lstrip(b"\r\n")
    end = HEAD_END.search(start)
    fields = start if end is None else start[: end.end()]
    return _find_in_broken_fields(fields, INSTANCE_ID), _find_in_broken_fields(fields, OPC_REQUEST_ID)


def _find_in_broken_fields(fields: bytes, name: bytes) -> str | None:
    values = [value.strip(b" \t") for line in BROKEN_HEAD_FIELDS[name].findall(fields) for value in line.split(b",")]
    plain = {value.decode("ascii") for value in values if PLAIN_VALUES[name].fullmatch(value)}
    return plain.pop() if len(plain) == 1 else None


@lru_cache(maxsize=256)
def media_kind(content_type: bytes | None) -> MediaKind | None:
    """Return how a body of this Content-Type is searched, or None if it is not."""
    kind = read_media_type(content_type).document_kind
    return kind if kind in {"json", "xml"} else None  # type: ignore[return-value] # mypy does not narrow by `in`


class IdMatcher(msgspec.Struct, frozen=True):
    """Finds ids in one location."""

    where: LocationKind
    field: bytes = b""
    element: str = ""
    path: tuple[str, ...] = ()
    needle: bytes = b""
    """Bytes that a body contains if the matcher can find an id in it; empty if there are none."""

    @classmethod
    def compile(cls, location: InstanceIdLocation) -> "IdMatcher":
        """Compile a location."""
        if location.where == "header":
            return cls("header", field=location.name.lower().encode("latin-1"))
        if location.where == "xml":
            return cls("xml", element=location.name, needle=xml_needle(location.name))
        path = split_json_pointer(location.name)
        return cls("json", path=path, needle=json_needle(path))


class InstanceIdFinder(msgspec.Struct, frozen=True, eq=False):
    """The matchers of one route. The first one that finds an id wins; a value that is not an id is skipped. An id is 1
    to 128 visible ASCII characters without quotes and commas.
    """

    matchers: tuple[IdMatcher, ...]
    needs_body: bool
    """Whether a matcher reads bodies."""
    header_first: bool
    """Whether the first matcher reads OIC's own field, as `read_ids` does."""
    leading_header_matchers: Mapping[MediaKind | None, tuple[IdMatcher, ...]]
    """The header matchers before all matchers for a body of this kind."""
    top_names: frozenset[str]
    """The first names of the JSON pointers."""
    needles: Mapping[MediaKind | None, tuple[bytes, ...] | None]
    """A body without any of these contains no id for the matchers of its kind; None if every body must be searched."""

    @classmethod
    def compile(cls, locations: Iterable[InstanceIdLocation]) -> "InstanceIdFinder":
        """Compile the locations that a route searches."""
        matchers = tuple(map(IdMatcher.compile, locations))
        kinds: tuple[MediaKind | None, ...] = ("json", "xml", None)
        return cls(
            matchers,
            needs_body=any(matcher.where != "header" for matcher in matchers),
            header_first=bool(matchers) and matchers[0].field == INSTANCE_ID,
            leading_header_matchers={kind: _leading_header_matchers(matchers, kind) for kind in kinds},
            top_names=frozenset(matcher.path[0] for matcher in matchers if matcher.path),
            needles={kind: _needles(matchers, kind) for kind in kinds},
        )

    def find_in_head(
        self, known_fields: Mapping[bytes, bytes], forwarded_lines: Sequence[bytes], kind: MediaKind | None = None
    ) -> str | None:
        """Return the id if the head alone decides it: by the header matchers before all those for a body of this
        kind, or by all header matchers if there is no such body.

        `known_fields` has values by lower-case name, `forwarded_lines` the other lines.
        """
        for matcher in self.leading_header_matchers[kind]:
            if (found := _find_in_fields(matcher.field, known_fields, forwarded_lines)) is not None:
                return found
        return None

    def can_find_in_body(self, kind: MediaKind | None) -> bool:
        """Return whether a body of this kind may contain an id that the head does not."""
        return kind is not None and self.needs_body and any(matcher.where == kind for matcher in self.matchers)

    def find(
        self,
        known_fields: Mapping[bytes, bytes],
        forwarded_lines: Sequence[bytes],
        kind: MediaKind | None,
        first: bytes,
    ) -> str | None:
        """Return the id by all matchers. `first` is the decoded beginning of the body, cut anywhere. Never raise.

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
        scanner = JsonScanner(part, self.top_names) if kind == "json" else None
        for matcher in self.matchers:
            if matcher.where == "header":
                found = _find_in_fields(matcher.field, known_fields, forwarded_lines)
            elif matcher.where == kind:
                found = _find_in_body(matcher, part, scanner)
            else:
                continue
            if found is not None:
                return found
        return None


def _decode(known_fields: Mapping[bytes, bytes], kind: MediaKind | None, first: bytes) -> bytes:
    declared = read_media_type(known_fields.get(b"content-type")).parameters.get("charset", "")
    return decode_to_utf8(first, declared, is_markup=kind == "xml")


def _leading_header_matchers(matchers: tuple[IdMatcher, ...], kind: MediaKind | None) -> tuple[IdMatcher, ...]:
    bound = next((index for index, matcher in enumerate(matchers) if matcher.where == kind), len(matchers))
    return tuple(matcher for matcher in matchers[:bound] if matcher.where == "header")


def _needles(matchers: tuple[IdMatcher, ...], kind: MediaKind | None) -> tuple[bytes, ...] | None:
    needles = tuple(matcher.needle for matcher in matchers if matcher.where == kind)
    return needles if all(needles) else None


def _find_in_fields(field: bytes, known_fields: Mapping[bytes, bytes], forwarded_lines: Sequence[bytes]) -> str | None:
    value = known_fields.get(field)
    if value is None and field != INSTANCE_ID:
        size = len(field)
        lines = (line for line in forwarded_lines if line[size : size + 1] == b":" and line[:size].lower() == field)
        value = b",".join(line[size + 1 :] for line in lines)
    if not value:
        return None
    text = value.decode("latin-1")
    return _parse_id(text) if "," not in text else next(filter(None, map(_parse_id, text.split(","))), None)


def _find_in_body(matcher: IdMatcher, part: bytes, scanner: JsonScanner | None) -> str | None:
    if matcher.needle not in part:
        return None
    values = find_elements(part, matcher.element) if scanner is None else scanner.find(matcher.path)
    return next(filter(None, map(_parse_id, values)), None)


def _parse_id(text: str) -> str | None:
    value = text.strip(" \t\r\n")
    return value if INSTANCE_ID_VALUE.fullmatch(value) else None


class InstanceIdScanner:
    """Searches the body of one response while it passes. `instance_id` is the id by all matchers, as far as known: one
    in the body may precede one in a header.
    """

    __slots__ = (
        *("_beginning", "_forwarded_lines", "_kind", "_known_fields", "_next_search", "_finder", "_size"),
        "instance_id",
    )

    def __init__(
        self,
        finder: InstanceIdFinder,
        known_fields: Mapping[bytes, bytes],
        forwarded_lines: Sequence[bytes],
        *,
        kind: MediaKind | None,
    ) -> None:
        """Take the fields of the response's head and the kind of its body."""
        self._finder = finder
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
        self.instance_id = self._finder.find(self._known_fields, self._forwarded_lines, self._kind, self._beginning[0])
