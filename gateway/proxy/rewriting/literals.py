"""Search a text for what all of our URLs contain: the host of an upstream, or the beginning of an upstream's path.

A body contains few hosts that are ours, and most contain none. Their names are searched as they are, in a text in lower
case: that is much faster than a search for URLs. Only a text with escapes of plain letters, which are rare, is searched
for slashes.
"""

import re
from collections.abc import Collection, Iterator
from itertools import chain
from typing import NamedTuple

from gateway.proxy.rewriting.decoded_url import MAX_ESCAPE, MAX_START, UrlSyntax

SEARCHED = 16 * 1024
"""Bytes that are searched at a time: in short texts, CPython searches for a literal without a bad worst case."""
MANY_HOSTS = 8
"""If a domain has more hosts of ours than this, a text with its name is searched for slashes."""
MANY_OPENINGS = 2
"""What may be before a path is searched with it if there are not more of them than this."""
SEGMENT = re.compile(r"/([a-z0-9._~-]*)")
IN_HOST = rb"a-z0-9.\-_~@"
LETTERS = b"[]abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~"


class Literal(NamedTuple):
    """A text that some of our URLs contain, in lower case."""

    text: bytes
    patterns: tuple[re.Pattern[bytes], ...]
    """Find it in suitable places. Their group is empty and behind the slashes of the URL."""
    is_escaped: bool = False
    """It contains an escape."""


class LiteralSearch:
    """Finds the places where URLs of known hosts may be."""

    def __init__(self, syntax: UrlSyntax, hosts: Collection[str], paths: Collection[str]) -> None:
        """Take the hosts of all upstreams, and the paths of those that a URL without a host belongs to."""
        self._syntax = syntax
        self._literals = [*_host_literals(sorted(hosts), syntax), *_path_literals(paths, syntax)]
        self._plain = [literal for literal in self._literals if not literal.is_escaped]
        self._in_host = LETTERS + syntax.marks
        self._alphabet = self._in_host + b":/"
        self._not_first = bytes(byte for byte in self._alphabet if byte not in syntax.first)
        longest = max((len(text) for text in (*hosts, *paths)), default=0)
        self._reach = MAX_START + MAX_ESCAPE * longest

    def find(self, text: bytes) -> list[re.Pattern[bytes]]:
        """Return patterns that find all places in a text in lower case; none if there are none. The group of a pattern
        is empty and behind the slashes of a URL.
        """
        syntax = self._syntax
        if self._may_be_escaped(text):
            return [syntax.slashes] if syntax.slashes.search(text) else []
        literals = self._literals if syntax.escape_start in text else self._plain
        found = [literal.patterns for literal in literals if _contains(text, literal.text)]
        return [pattern for pattern in dict.fromkeys(chain(*found)) if pattern.search(text)]

    def open_end(self, text: bytes, position: int = 0) -> int:
        """Return the offset, not before `position`, from which a text may be the beginning of a URL whose host is not
        complete.
        """
        syntax, size = self._syntax, len(text)
        low = max(position, size - self._reach)
        window = text[low:]
        run = window[len(window.rstrip(self._alphabet)) :].lstrip(self._not_first)
        if not run:
            return size
        first = max(size - len(run), text.rfind(b"/") - MAX_ESCAPE)  # a host contains no slash
        for match in syntax.slashes.finditer(text, first):
            after = match.end()
            if text[after:].strip(self._in_host):  # the host has ended
                continue
            begin = syntax.start.search(text, max(low, after - MAX_START), after)
            if begin is not None:
                return begin.start()
        window = text[max(low, size - MAX_START) :]
        return size - len(window[len(window.rstrip(syntax.tail)) :].lstrip(self._not_first))

    def is_clear(self, text: bytes) -> bool:
        """Return whether no URL of ours begins or ends in a text, whatever follows. No URL is open before it."""
        return self.open_end(text) == len(text) and not self.find(text.lower())

    def _may_be_escaped(self, text: bytes) -> bool:
        syntax = self._syntax
        return (
            syntax.escape_start in text
            and (b"/" in text or b"%2f" in text or any(slash in text for slash in syntax.coded_slashes))
            and syntax.escapes.search(text) is not None
        )


def _contains(text: bytes, literal: bytes) -> bool:
    more = SEARCHED + len(literal)
    return any(text.find(literal, start, start + more) >= 0 for start in range(0, len(text), SEARCHED))


def _host_literals(names: list[str], syntax: UrlSyntax) -> Iterator[Literal]:
    """Yield what the hosts of a domain have in common, which is searched first, and their names."""
    if any(":" in name for name in names):  # an IPv6 address has brackets and colons, which may be encoded
        yield Literal(b"", (syntax.slashes,))
        return
    domains: dict[str, list[str]] = {}
    for name in names:
        domains.setdefault(".".join(name.split(".")[-2:]), []).append(name)
    for hosts in domains.values():
        common = _common_prefix([name[::-1] for name in hosts])[::-1]
        patterns = tuple(map(_host_pattern, hosts)) if len(hosts) <= MANY_HOSTS else (syntax.slashes,)
        yield Literal(common.encode(), patterns)


def _host_pattern(name: str) -> re.Pattern[bytes]:
    host = re.escape(name.encode())
    return re.compile(rb"()%b(?![%b])(?<=[/f;]%b)" % (host, IN_HOST, host))


def _path_literals(paths: Collection[str], syntax: UrlSyntax) -> Iterator[Literal]:
    """Yield the first segment that all paths have, behind a slash in each encoding; empty if they have none."""
    if not paths:
        return
    segment = SEGMENT.match(_common_prefix([f"{path.lower()}/" for path in paths]))
    name = segment[1].encode() if segment else b""
    begin = re.escape(name)
    before = b"|".join(b"(?<=%b/%b)" % (re.escape(before), begin) for before in syntax.before_path)
    pattern = re.compile(rb"/()%b(?:%b)" % (begin, before))
    if len(syntax.before_path) <= MANY_OPENINGS:
        yield from (Literal(before + b"/" + name, (pattern,)) for before in syntax.before_path)
    else:
        yield Literal(b"/" + name, (pattern,))
    for slash in syntax.coded_slashes:
        yield Literal(slash + name, (re.compile(re.escape(slash) + b"()" + begin),), is_escaped=True)


def _common_prefix(texts: list[str]) -> str:
    first, last = min(texts), max(texts)
    size = next((size for size, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), None)
    return first if size is None else first[:size]
