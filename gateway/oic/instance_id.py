"""Pure: which run of OIC a reply speaks of.

OIC answers with the id of the run in `x-oracle-ics-instance-id`: 22 base64url characters in OIC 3, decimal digits in
Gen 2; to us an opaque string. Flows are often made to say it in their body too. `opc-request-id` ties the logs of the
OCI services together.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from gateway.oic.bodies import JsonScanner, in_xml, json_needle, json_text, pointer_tokens, xml_needles

INSTANCE_ID = b"x-oracle-ics-instance-id"
OPC_REQUEST_ID = b"opc-request-id"
BODY_PART = 64 * 1024
"""Bytes of a body that are looked at, at most."""
ID = re.compile(r"[!#-&(-+\--~]{1,128}")  # visible ASCII without quotes and commas: it goes into heads and logs

# A head that no strict reader takes. It ends at the first empty line, whatever ends its lines; a value may be folded.
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
    """One place where an id may stand."""

    where: RulePlace
    name: str
    """A field's name, an RFC 6901 pointer, or an element's local name in any namespace."""


# Names that say whose id they hold. `instanceId` and `flowId` are in use too (oic.md), but not looked at by default: in
# replies of the developer API (monitoring, error hospital) and of process applications they name another run, and a
# wrong id misleads who searches by it. A route whose flows use them says so in its `instance_id`.
DEFAULT_RULES = (
    IdRule("header", INSTANCE_ID.decode()),
    IdRule("json", "/oicInstanceId"),
    IdRule("json", "/oic_instance_id"),
    IdRule("xml", "oicInstanceId"),
)
# The upstream of a trigger answers for its own run alone.
TRIGGER_RULES = (*DEFAULT_RULES, IdRule("json", "/instanceId"), IdRule("json", "/flowId"))


def read_ids(noted: Mapping[bytes, bytes]) -> tuple[str | None, str | None]:
    """Finds instance id and opc-request-id among the fields of a reply's head, by lower-case name; None where there is
    none. An empty value is none, of two the first counts.
    """
    instance_id, opc_request_id = noted.get(INSTANCE_ID), noted.get(OPC_REQUEST_ID)
    return _first(instance_id) if instance_id else None, _first(opc_request_id) if opc_request_id else None


def _first(value: bytes) -> str | None:
    text = value.decode("latin-1")
    # Repeated fields came joined with commas: an empty one before the id must not hide that a flow ran.
    return text if "," not in text else next(filter(None, map(str.strip, text.split(","))), None)


def salvage_trace(head: bytes) -> tuple[str | None, str | None]:
    """Finds instance id and opc-request-id in the raw bytes of a head that is not clean HTTP/1, or not complete: a flow
    ran even so. None where there is no plain value in a whole line, or where there are different ones.
    """
    start = head.lstrip(b"\r\n")
    end = HEAD_END.search(start)
    fields = start if end is None else start[: end.end()]
    return _salvage(fields, INSTANCE_ID), _salvage(fields, OPC_REQUEST_ID)


def _salvage(fields: bytes, name: bytes) -> str | None:
    members = [member.strip(b" \t") for value in SALVAGED[name].findall(fields) for member in value.split(b",")]
    plain = {member.decode("ascii") for member in members if PLAIN[name].fullmatch(member)}
    return plain.pop() if len(plain) == 1 else None


@lru_cache(maxsize=256)
def media_kind(content_type: bytes | None) -> MediaKind | None:
    """How a body of this Content-Type is searched; None for one that is not."""
    kind = re.split(b"[;,]", content_type or b"", maxsplit=1)[0].strip().lower()
    if kind.endswith((b"/json", b"+json")):
        return "json"
    return "xml" if kind.endswith((b"/xml", b"+xml")) else None


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule, compiled: what the body holds if the rule can find anything there, and the way to it."""

    where: RulePlace
    field: bytes = b""
    element: str = ""
    path: tuple[str, ...] = ()
    needles: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, rule: IdRule) -> "CompiledRule":
        """Compiles a rule."""
        if rule.where == "header":
            return cls("header", field=rule.name.lower().encode("latin-1"))
        if rule.where == "xml":
            return cls("xml", element=rule.name, needles=xml_needles(rule.name))
        path = pointer_tokens(rule.name)
        return cls("json", path=path, needles=json_needle(path))


@dataclass(frozen=True, slots=True, eq=False)
class InstanceIdRules:
    """The rules of one route: the first in their order that yields an id wins. An id is 1 to 128 visible ASCII
    characters without quotes and commas; whatever else stands in its place is passed over.
    """

    steps: tuple[CompiledRule, ...]
    needs_body: bool
    """Some rule reads bodies."""
    header_first: bool
    """The first rule is for OIC's own field, which `trace` reads."""
    before: Mapping[MediaKind | None, tuple[CompiledRule, ...]]
    """The rules for fields that stand before every rule for such a body."""
    tops: frozenset[str]
    """The names with which the rules for JSON begin."""
    hints: Mapping[MediaKind | None, tuple[bytes, ...] | None]
    """A body with none of these holds nothing for its rules; None where there is no telling."""

    @classmethod
    def compile(cls, rules: Iterable[IdRule]) -> "InstanceIdRules":
        """Compiles the rules of a route."""
        steps = tuple(map(CompiledRule.of, rules))
        kinds: tuple[MediaKind | None, ...] = ("json", "xml", None)
        leads = bool(steps) and steps[0].field == INSTANCE_ID
        before = {kind: _before(steps, kind) for kind in kinds}
        hints = {kind: _hints(steps, kind) for kind in kinds}
        tops = frozenset(step.path[0] for step in steps if step.path)
        return cls(steps, any(step.where != "header" for step in steps), leads, before, tops, hints)

    def find_in_head(
        self, noted: Mapping[bytes, bytes], passed: Sequence[bytes], kind: MediaKind | None = None
    ) -> str | None:
        """The id where the head alone settles it: by the rules that no rule for a body of this `kind` comes before; for
        no such body, by all rules for fields. `noted` has values by lower-case name, `passed` the other lines.
        """
        for step in self.before[kind]:
            if (found := _in_head(step.field, noted, passed)) is not None:
                return found
        return None

    def reads(self, kind: MediaKind | None) -> bool:
        """Whether a body of this kind may tell what its head did not."""
        return kind is not None and self.needs_body and any(step.where == kind for step in self.steps)

    def find(
        self, noted: Mapping[bytes, bytes], passed: Sequence[bytes], kind: MediaKind | None, first: bytes
    ) -> str | None:
        """The id by all rules; `first` is the beginning of the body, decoded, cut anywhere. Never raises.

        An id that the cut goes through is none. A member whose name is spelt with JSON escapes is not found; of
        members with the same name the first counts. JSON may be in UTF-16 or UTF-32 too (RFC 4627 §3).
        """
        if kind == "json":
            first = json_text(first)
        hints = self.hints[kind]
        if hints is not None:
            for hint in hints:
                if hint in first:
                    break
            else:  # most bodies, at the least price
                return self.find_in_head(noted, passed)
        part = first[:BODY_PART]
        json = JsonScanner(part, self.tops) if kind == "json" else None
        for step in self.steps:
            if step.where == "header":
                found = _in_head(step.field, noted, passed)
            elif step.where == kind:
                found = _in_body(step, part, json)
            else:
                continue
            if found is not None:
                return found
        return None


def _before(steps: tuple[CompiledRule, ...], kind: MediaKind | None) -> tuple[CompiledRule, ...]:
    bound = next((at for at, step in enumerate(steps) if step.where == kind), len(steps))
    return tuple(step for step in steps[:bound] if step.where == "header")


def _hints(steps: tuple[CompiledRule, ...], kind: MediaKind | None) -> tuple[bytes, ...] | None:
    needles = [step.needles for step in steps if step.where == kind]
    return tuple(needle for some in needles for needle in some) if all(needles) else None


def _in_head(field: bytes, noted: Mapping[bytes, bytes], passed: Sequence[bytes]) -> str | None:
    value = noted.get(field)
    if value is None and field != INSTANCE_ID:
        width = len(field)
        lines = (line for line in passed if line[width : width + 1] == b":" and line[:width].lower() == field)
        value = b",".join(line[width + 1 :] for line in lines)
    if not value:
        return None
    text = value.decode("latin-1")
    return _settled(text) if "," not in text else next(filter(None, map(_settled, text.split(","))), None)


def _in_body(step: CompiledRule, part: bytes, json: JsonScanner | None) -> str | None:
    if step.needles and not any(needle in part for needle in step.needles):
        return None
    texts = in_xml(part, step.element) if json is None else json.find(step.path)
    return next(filter(None, map(_settled, texts)), None)


def _settled(text: str) -> str | None:
    """The text as an id, if it looks like one."""
    word = text.strip(" \t\r\n")
    return word if ID.fullmatch(word) else None
