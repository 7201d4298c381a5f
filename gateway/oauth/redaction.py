"""Foreign texts made fit for a log: no secret in any encoding, one line, bounded. Pure.

An identity domain may quote the secret that it refuses: as it is, escaped for HTML, JSON or a URL, in base64 or hex,
cut, or with blanks in it. So a text that shares a run of characters with a secret is not shown at all, whatever the
encoding: the escapes are undone, what may be base64 or hex is decoded, and the results are compared. The error code
remains.
"""

import html
import re
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator
from typing import AnyStr, Generic
from urllib.parse import unquote

from gateway.content.foreign_text import printable_line

STRUCK = "***"
WITHHELD = "(not shown: it repeats a part of a secret)"
MOST_READ = 1000
"""Characters of a foreign text that are looked at: each step below costs a multiple of them."""
SHORTEST_RUN = 8  # characters that a text and a secret may not share
SHORTEST_SPREAD_RUN = 12  # the same, of letters and digits alone: words share more of them by chance
SHORTEST_DECODED_RUN = 5  # bytes; eight characters of base64 or hex tell no more than six
MOST_VIEWS = 12  # of one text with its escapes undone in one order or another

_DOTTED = re.compile(r"[\w.-]{9,}")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{8,}")
_HEX = re.compile(r"[0-9A-Fa-f]{8,}")
_HEX_SEPARATORS = re.compile(r"[\s:,.-]|0x|\\x")
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})|(.))", re.DOTALL)


def safe_text(text: str, *, hidden: Iterable[str] = (), limit: int = 200) -> str:
    """A foreign text without the secrets `hidden` and without JWTs: one line of printable ASCII, bounded."""
    secrets = sorted({secret for secret in hidden if secret}, key=len, reverse=True)
    text = text[:MOST_READ]
    for secret in secrets:
        text = text.replace(secret, STRUCK)
    folded = _Runs((secret.casefold() for secret in secrets), SHORTEST_RUN)
    spread = _Runs(map(_alphanumeric, secrets), SHORTEST_SPREAD_RUN)
    decoded = _Runs((secret.encode("utf-8", "replace") for secret in secrets), SHORTEST_DECODED_RUN)
    for view in _views(text) if secrets else ():
        if view.casefold() in folded or _alphanumeric(view) in spread or b"\n".join(_decoded(view)) in decoded:
            return WITHHELD
    return printable_line(strike_jwts(text), limit)


def strike_jwts(text: str) -> str:
    """`text` with each run that looks like a JWT, or the beginning of one, replaced (RFC 7519: base64url of `{"`)."""
    return _DOTTED.sub(lambda run: STRUCK if "eyJ" in run[0] else run[0], text) if "eyJ" in text else text


class _Runs(Generic[AnyStr]):
    """All runs of `length` in secrets; of a shorter secret, the whole. A text is in it that holds one of them."""

    def __init__(self, secrets: Iterable[AnyStr], length: int) -> None:
        known = [secret for secret in secrets if secret]
        self._length = length
        self._short: list[AnyStr] = [secret for secret in known if len(secret) < length]
        self._runs: set[AnyStr] = {run for secret in known for run in self._of(secret)}

    def __contains__(self, text: AnyStr) -> bool:
        return any(run in self._runs for run in self._of(text)) or any(secret in text for secret in self._short)

    def _of(self, text: AnyStr) -> Iterator[AnyStr]:
        return (text[start : start + self._length] for start in range(len(text) - self._length + 1))


def _views(text: str) -> list[str]:
    """The text, and all that it becomes when escapes are undone."""
    undo: tuple[Callable[[str], str], ...] = (html.unescape, unquote, _unescaped, lambda each: each.replace("+", " "))
    views = [text]
    for view in views:  # grows meanwhile
        views.extend(other for other in {step(view) for step in undo} if other not in views)
        if len(views) >= MOST_VIEWS:
            break
    return views


def _decoded(view: str) -> Iterator[bytes]:
    """What stands in the text as base64 or hex, from any character on: it may be cut, broken or within a word."""
    for text in {view, re.sub(r"\s", "", view)}:
        for run in _BASE64.findall(text.replace("-", "+").replace("_", "/")):
            yield from (b64decode(run[start : start + (len(run) - start) // 4 * 4]) for start in range(4))
    for run in _HEX.findall(_HEX_SEPARATORS.sub("", view)):
        yield from (bytes.fromhex(run[start : start + (len(run) - start) // 2 * 2]) for start in range(2))


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda one: chr(int(one[1] or one[2], 16)) if one[1] or one[2] else one[3], text)


def _alphanumeric(text: str) -> str:
    return "".join(letter for letter in text.casefold() if letter.isalnum())
