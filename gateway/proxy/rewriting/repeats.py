"""Replace URLs that repeat one that was decided, in one substitution.

A body with thousands of links has few beginnings of them: `"href":"https://acme.example/ic/api` before different paths.
If the bytes before a URL and the beginning of its path decide it, all URLs with the same bytes have the same decision.
"""

import re
from functools import lru_cache
from typing import NamedTuple

MIN_REPEATS = 8  # before a rule is used: a short body is not worth the pattern
MAX_RULES = 8
MAX_COUNTED = 64  # beginnings of URLs per body
MAX_SIZE = 400  # bytes of a rule

# The rest of a path, without escapes and without what may be a dot segment, within the bytes that a URL may have; first
# the usual one, without any dot. And what certainly ends it.
_CHARACTERS = rb"A-Za-z0-9_~!$()*+,;=@|-"
PATH_REST = rb"(?=\\?/)(?:[/%b]{1,1000}+(?![.%%\\])|(?:(?:\\?/(?!\.)|%%(?!2[5eE]))[.%b]{0,100}+){1,60})" % (
    _CHARACTERS,
    _CHARACTERS,
)
PATH_END = rb'[?#"<> \t\r\n]'


class Rule(NamedTuple):
    """The replacement of all URLs with the same beginning."""

    before: bytes
    """The bytes before the URL, if they matter."""
    old: bytes
    """The beginning of the URL, up to a slash of its path."""
    new: bytes
    end: bytes
    """A pattern for what follows `old`."""


class RepeatedUrls:
    """Learns rules from the URLs of one body, and replaces the URLs that repeat them."""

    def __init__(self) -> None:
        self._counts: dict[Rule, int] = {}
        self._rules: tuple[Rule, ...] = ()
        self._is_new = False
        self.reach = 0
        """Bytes before a URL that its rule needs."""

    @property
    def is_learning(self) -> bool:
        """Return whether further rules are wanted."""
        return len(self._counts) < MAX_COUNTED and len(self._rules) < MAX_RULES

    def learn(self, rule: Rule, text: bytes, end: int) -> None:
        """Count a rule that was true for a URL in a text, which continues at `end` behind `old`."""
        count = self._counts.get(rule, 0) + 1
        if count == 1 and (len(rule.before) + len(rule.old) > MAX_SIZE or not _compile(rule.end).match(text, end)):
            return
        self._counts[rule] = count
        if count == MIN_REPEATS:
            self._rules += (rule,)
            self._is_new = True
            self.reach = max(self.reach, len(rule.before))

    def has_new_rule(self) -> bool:
        """Return whether a rule was learned since the last call."""
        is_new, self._is_new = self._is_new, False
        return is_new

    def split(self, text: bytes) -> tuple[list[bytes], list[bytes]]:
        """Return the texts between the URLs that follow a rule, and the new beginnings of these URLs with the bytes
        before them.
        """
        if not self._rules:
            return [text], []
        parts = _pattern(self._rules).split(text)
        new = {rule.before + rule.old: rule.before + rule.new for rule in self._rules}
        return parts[::2], [new[part] for part in parts[1::2]]


@lru_cache(maxsize=64)
def _compile(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(pattern)


@lru_cache(maxsize=256)
def _pattern(rules: tuple[Rule, ...]) -> re.Pattern[bytes]:
    """Return a pattern that begins with literals, which are searched quickly."""
    begin = (b"%b(?=%b)" % (re.escape(rule.before + rule.old), rule.end) for rule in rules)
    return re.compile(b"(%b)" % b"|".join(begin))
