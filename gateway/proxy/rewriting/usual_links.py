"""Replace the URLs of our upstreams that have their usual spelling: one split of a text finds all of them.

A name before a link decides about it most often. The bytes that decide are remembered, and so are the last links with
them: what repeats in a body is replaced without a look at each link.
"""

from collections.abc import Callable
from itertools import accumulate, islice, pairwise
from typing import TypeVar

from gateway.proxy.rewriting.contexts import LINK_CONTEXT, MAX_URL, UrlContext, UrlSpan, decide_path
from gateway.proxy.rewriting.decoded_url import Edit
from gateway.proxy.rewriting.literals import NEIGHBOURS, LiteralSearch

NAME_CONTEXT = 10
"""Bytes before a link that most often decide: few, so that they are mostly the same."""
NAME_BORDERS = b" \t\r\n<,{["
"""Bytes before the name of a member, key, attribute or element."""
MAX_REPEATED = 4
"""Links with different bytes before them that are remembered."""
LEARNED_FROM = 16  # links
MIN_LEARNED = 4 * 1024
"""Bytes of a text with links to remember: few follow a shorter one."""
TRIALS = 4
"""Times that remembered links may not be all links of a text."""
SLASH = b"/"[0]
URL_ENDS = (b'"', b"<", b"\n")
MAX_CACHED = 1024  # per body

V = TypeVar("V")


class Memo(dict[bytes, V]):
    """Remembers what a function returns for the bytes that repeat in a body."""

    def __init__(self, function: Callable[[bytes], V]) -> None:
        super().__init__()
        self._function = function

    def __missing__(self, key: bytes) -> V:
        if len(self) >= MAX_CACHED:
            self.clear()
        value = self[key] = self._function(key)
        return value


class UsualLinks:
    """Replaces the usual links of one body."""

    def __init__(
        self, context_type: type[UrlContext], literals: LiteralSearch, new_beginning: Callable[[bytes], bytes]
    ) -> None:
        self._context_type = context_type
        self._literals = literals
        self._new = Memo(new_beginning)
        self._decided = Memo(context_type.decide_in_text)
        self._identifier = context_type.identifier
        self._references = Memo(decide_path)
        self._repeated: dict[bytes, bytes] = {}
        self._places: list[bytes] = []  # what replaces them, if that contains a place of a URL too
        self._trials = TRIALS
        self.changed = False
        """Whether some output differs from its source."""

    def forget(self) -> None:
        """Forget the links that repeated, before a part of the body with others."""
        self._repeated = {}

    def replace(self, window: bytes, data: bytes, *, final: bool) -> tuple[list[bytes], int, list[Edit]]:
        """Return the output up to the last link in its usual spelling, if there are no other URLs before it; else the
        edits of these links, the last one first. The window has the bytes before the data.
        """
        before = window[-LINK_CONTEXT:]
        if self._identifier and (data if self._repeated else window + data).lower().find(self._identifier) >= 0:
            self._identifier, self._repeated = b"", {}
            self._decided = Memo(self._context_type.decide_before)
        if self._repeated and (out := self._replace_repeated(window, data)):
            return out
        parts = self._literals.split_links(before + data)
        if len(parts) == 1 or len(parts[0]) < len(before):
            return [], 0, []
        decided, named_by, is_element = self._decided, self._context_type.named_by, self._context_type.is_element
        answers = self._decide_elements(parts)
        answers = [
            answer or (decided if old[0] != SLASH else self._references)[part[-NAME_CONTEXT:]]
            for part, old, answer in zip(parts[::2], parts[1::2], answers, strict=False)
        ]
        for number in [number for number, answer in enumerate(answers) if answer is None]:
            part, old, after = parts[2 * number : 2 * number + 3]
            before_link = part[-LINK_CONTEXT:]
            if old[0] == SLASH:
                answers[number] = self._references[before_link]
            else:
                answer = decided[before_link] if part[-1:] in named_by else None
                answers[number] = True if answer is None and is_element(before_link, after) else answer
        if None in answers:
            answers = self._ask_context(parts, answers, window, data, final=final)
        del parts[2 * len(answers) :]
        links = [self._new[old] if answer else old for old, answer in zip(parts[1::2], answers, strict=True)]
        if not links or self._has_others(window, b"\0".join(parts[::2])):
            return [], 0, _link_edits(parts, links, len(window) - len(before))
        if len(data) >= MIN_LEARNED:
            self._learn(parts, links)
        position = sum(map(len, parts)) - len(before)
        self.changed = self.changed or links != parts[1::2]
        parts[0] = parts[0][len(before) :]
        parts[1::2] = links
        return [b"".join(parts)], position, []

    def _decide_elements(self, parts: list[bytes]) -> list[bool | None]:
        """Return True for the links of an array that are between others, None for all other links."""
        between, count = self._context_type.between_elements, len(parts) // 2
        if between is None or count <= 2 or between.fullmatch(parts[count - count % 2]) is None:
            return [None] * count
        is_between = map(between.fullmatch, parts[2:-1:2])
        inner = [
            True if before and after and old[0] != SLASH else None
            for (before, after), old in zip(pairwise(is_between), parts[3::2], strict=False)
        ]
        return [None, *inner, None]

    def _replace_repeated(self, window: bytes, data: bytes) -> tuple[list[bytes], int, list[Edit]] | None:
        """Replace the links that were in the text before, if they are all that there are. None if there may be others.

        A text without dot segments needs no look at the rest of each path, if its last URL has ended.
        """
        before, end = window[-LINK_CONTEXT:], max(map(data.rfind, URL_ENDS)) + 1
        text = before + data[:end]
        if not self._literals.has_dot_segment(text):
            out = text
            for old, new in self._repeated.items():
                out = out.replace(old, new) if new != old else out
            rest = out
            for place in self._places:
                rest = rest.replace(place, b"\0")
            if rest is not text and out.startswith(before) and not self._has_others(window, rest):
                self.changed = self.changed or out != text
                return [out[len(before) :]], end, []
        self._trials -= 1
        self._repeated = {}
        return None

    def _learn(self, parts: list[bytes], links: list[bytes]) -> None:
        """Remember the last links with the bytes before them, if those decide."""
        repeated = {}
        for before, old, new in islice(zip(parts[-2::-2], parts[::-2], reversed(links), strict=True), LEARNED_FROM):
            name = self._shortest_name(before[-LINK_CONTEXT:])
            if not name or not self._literals.is_whole_prefix(old):
                return
            repeated[name + old] = name + new
        if self._trials and len(repeated) <= MAX_REPEATED:
            self._repeated = repeated
            self._places = [*filter(self._literals.find, repeated.values())]

    def _shortest_name(self, before: bytes) -> bytes:
        """Return the last bytes that decide about a link, whatever is before them."""
        starts = (start for start in range(len(before) - 1, -1, -1) if before[start] in NAME_BORDERS)
        names = (before[start:] for start in starts)
        return next((name for name in names if self._decided[name] is not None), b"")

    def _ask_context(
        self, parts: list[bytes], answers: list[bool | None], window: bytes, data: bytes, *, final: bool
    ) -> list[bool | None]:
        """Return the answers for links, up to the first one that needs more bytes."""
        context = self._context_type(window + data, final=final)
        ends = [*accumulate(map(len, parts), initial=max(0, len(window) - LINK_CONTEXT))]
        for number, answer in enumerate(answers):
            if answer is None:
                start = ends[2 * number + 1]
                is_path = parts[2 * number + 1][0] == SLASH
                url = UrlSpan(start, ends[2 * number + 2], start + MAX_URL, is_path, is_path)
                answers[number] = context.should_rewrite(url)
                if answers[number] is None:
                    return answers[:number]
        return answers

    def _has_others(self, window: bytes, data: bytes) -> bool:
        """Return whether there are places of other URLs behind the window."""
        return bool(self._literals.find(window[-NEIGHBOURS:] + data))


def _link_edits(parts: list[bytes], new: list[bytes], position: int) -> list[Edit]:
    """Return the edits of links in the odd parts of a text that begins at a position, the last one first."""
    edits = []
    for before, old, link in zip(parts[::2], parts[1::2], new, strict=False):
        start = position + len(before)
        position = start + len(old)
        edits.append(Edit(start, position, link))
    return edits[::-1]
