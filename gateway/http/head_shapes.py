"""Pure: heads whose field names were seen before are read in one match.

A peer sends the same field names in the same order, with other values. A `HeadShape` is a pattern of such heads: it
accepts a part of what `fields` accepts, and sorts the fields in the same way. All other heads are read line by line.
Only names are kept, with the values of the fields that decide the framing, which are part of the shape.
"""

import re
from collections.abc import Callable, Collection, Sequence
from operator import itemgetter
from typing import Generic, TypeVar

import msgspec

from gateway.http.fields import FieldRules

ANY_VALUE = rb"[\t -~\x80-\xff]*+"  # RFC 9110 §5.5
TRIMMED_VALUE = rb" (?![ \t])(%b)(?<![ \t])" % ANY_VALUE
LENGTH = rb" ([0-9]{1,18}+)"
MAX_SHAPES = 64
QUICKLY_LEARNED = 32
"""The shapes that are learned at their second head; a pattern takes milliseconds to compile."""
LEARNING_INTERVAL = 256
"""Heads of unknown shape per further shape: peers that often change their names must not occupy the process."""

H = TypeVar("H")
Match = re.Match[bytes]


class HeadShape(msgspec.Struct, Generic[H], frozen=True):
    """The heads with the same names in the same order, and the same framing."""

    template: H
    """What holds for all of them: a head without values."""
    names: list[bytes]
    """Names as spelled; whole lines of the fields that decide the framing."""
    match: Callable[[bytes], Match | None]
    """Matches a whole head, with its end, at the beginning of the bytes. Group 1 is the first of the first line."""
    get_forwarded: Callable[[Match], tuple[bytes, ...]]
    """Returns the forwarded lines of a match, adjacent ones joined if the shapes are `joined`; the next ones return
    known values and deferred lines: together, what `fields.sort_fields` returns.
    """
    length_group: int
    """The group of the Content-Length; 0 without one."""
    known_keys: tuple[bytes, ...]
    get_known: Callable[[Match], tuple[bytes, ...]]
    deferred_keys: tuple[bytes, ...]
    get_deferred: Callable[[Match], tuple[bytes, ...]]


ShapeKey = tuple[bytes, int]
"""What finds the shape of a head: bytes of its first line, and its number of line ends."""


class HeadShapes(dict[ShapeKey, HeadShape[H]]):
    """The latest shape by key, of one kind of peer; bounded. `latest` is that of the last head that was found by its
    key: most heads have the shape of the one before, and need no key.
    """

    def __init__(
        self, rules: FieldRules, *, framing: Collection[bytes], consumed: Collection[bytes] = (), joined: bool = False
    ) -> None:
        """`framing` are the known fields, in lower case, whose values belong to the shape. `consumed` are those that
        only the parser acts on: they are not among the known values. `joined`: adjacent forwarded lines are one value.
        """
        super().__init__()
        self._rules = rules
        self._framing = framing
        self._consumed = consumed
        self._joined = joined
        self.latest: HeadShape[H] | None = None
        self._candidates: dict[ShapeKey, list[bytes]] = {}
        self._unknown = self._learn_from = self._learned = 0

    def find_match(self, key: ShapeKey, data: bytes) -> Match | None:
        """Return the match of the head that begins the bytes with the shape of its key, which becomes the latest."""
        shape = self.get(key)
        if shape is None or (match := shape.match(data)) is None:
            return None
        self.latest = shape
        return match

    def learn(self, key: ShapeKey, first_line: bytes, lines: Sequence[bytes], template: H) -> None:
        """Note a head that no shape has read. Its shape is learned when a second one follows for the same key.

        `first_line` is the pattern of the first line, `template` what all heads of the shape have in common.
        """
        self._unknown += 1
        if self._unknown < self._learn_from:
            return
        names = [self._name(line) for line in lines]
        if (known := self.get(key)) is not None and known.names == names:
            return
        if self._candidates.get(key) != names:
            if len(self._candidates) >= MAX_SHAPES:
                self._candidates.clear()
            self._candidates[key] = names
            return
        if len(self) >= MAX_SHAPES:
            self.clear()
        self[key] = self._compile(first_line, lines, names, template)
        self._learned += 1
        if self._learned >= QUICKLY_LEARNED:
            self._learn_from = self._unknown + LEARNING_INTERVAL

    def _name(self, line: bytes) -> bytes:
        name = line.partition(b":")[0]
        return line if self._is_framing(name) else name

    def _is_framing(self, name: bytes) -> bool:
        rule = self._rules[name]
        return rule is not None and rule.key in self._framing

    def _compile(self, first_line: bytes, lines: Sequence[bytes], names: list[bytes], template: H) -> HeadShape[H]:
        parts, groups = [first_line], re.compile(first_line).groups
        forwarded: list[int] = []
        known: dict[bytes, int] = {}
        deferred: list[tuple[bytes, int]] = []
        is_possible, was_forwarded = True, False
        for line in lines:
            name, _, value = line.partition(b":")
            rule = self._rules[name]
            is_forwarded, is_deferred = rule is None or rule.is_forwarded, rule is not None and rule.is_deferred
            part, follows = re.escape(name) + b":", is_forwarded and was_forwarded and self._joined
            was_forwarded = is_forwarded
            if (is_forwarded and not follows) or is_deferred:
                groups += 1
            whole = groups
            if rule is not None and rule.is_known:
                groups += 1
                is_possible &= rule.key not in known  # repeated values are joined
                known[rule.key] = groups
                part += self._value_pattern(rule.key, value)
            else:
                part += ANY_VALUE
            if follows:
                parts[-1] = b"%b\r\n%b)" % (parts[-1][:-1], part)
                continue
            if is_forwarded:
                forwarded.append(whole)
            elif rule is not None and is_deferred:
                deferred.append((rule.key, whole))
            parts.append(b"(%b)" % part if is_forwarded or is_deferred else part)
        values = {key: number for key, number in known.items() if key not in self._consumed}
        if not is_possible:
            parts = [b"(?!)"]
        return HeadShape(
            template,
            names,
            re.compile(rb"\r\n".join([*parts, b"", b""])).match,
            _group_getter(forwarded),
            known.get(b"content-length", 0),
            tuple(values),
            _group_getter([*values.values()]),
            tuple(key for key, _ in deferred),
            _group_getter([number for _, number in deferred]),
        )

    def _value_pattern(self, key: bytes, value: bytes) -> bytes:
        if key in self._framing:
            blank = b" " if value.startswith(b" ") else b""
            return blank + b"(" + re.escape(value.strip(b" \t")) + b")"
        return LENGTH if key == b"content-length" else TRIMMED_VALUE


def _group_getter(numbers: Sequence[int]) -> Callable[[Match], tuple[bytes, ...]]:
    """Return the function that returns these groups of a match."""
    if not numbers:
        return lambda _: ()
    if len(numbers) > 1:
        return itemgetter(*numbers)
    number = numbers[0]
    return lambda match: (match[number],)
