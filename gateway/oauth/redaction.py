"""Makes a foreign text safe for a log: no secret in any encoding, one line, bounded. Pure.

An identity domain may quote the secret that it refuses: plain, escaped for HTML, JSON or a URL, in base64 or hex,
truncated, or with blanks in it. So a text that shares a run of characters with a secret is not shown at all: escapes
are undone, possible base64 or hex is decoded, and the results are compared. The error code remains.
"""

import html
import re
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator
from typing import AnyStr, Generic
from urllib.parse import unquote

from gateway.content.foreign_text import printable_line

MASK = "***"
WITHHELD = "(not shown: it repeats a part of a secret)"
MAX_LENGTH = 1000
"""Characters of a foreign text that are examined: each step below costs a multiple of them."""
SHORTEST_RUN = 8  # characters that a text and a secret may not share
SHORTEST_SPREAD_RUN = 12  # of letters and digits alone: words share longer runs by chance
SHORTEST_DECODED_RUN = 5  # bytes; eight characters of base64 or hex hold at most six
MAX_VIEWS = 12  # of one text with its escapes undone in some order

_DOTTED = re.compile(r"[\w.-]{9,}")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{8,}")
_HEX = re.compile(r"[0-9A-Fa-f]{8,}")
_HEX_SEPARATORS = re.compile(r"[\s:,.-]|0x|\\x")
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})|(.))", re.DOTALL)


def safe_text(text: str, *, hidden: Iterable[str] = (), limit: int = 200) -> str:
    """Return a foreign text without the secrets `hidden` and without JWTs: one line of printable ASCII, bounded."""
    secrets = sorted({secret for secret in hidden if secret}, key=len, reverse=True)
    text = text[:MAX_LENGTH]
    for secret in secrets:
        text = text.replace(secret, MASK)
    folded = _SecretRuns((secret.casefold() for secret in secrets), SHORTEST_RUN)
    spread = _SecretRuns(map(_alphanumeric, secrets), SHORTEST_SPREAD_RUN)
    decoded = _SecretRuns((secret.encode("utf-8", "replace") for secret in secrets), SHORTEST_DECODED_RUN)
    for view in _decoded_views(text) if secrets else ():
        if (
            view.casefold() in folded
            or _alphanumeric(view) in spread
            or b"\n".join(_decode_base64_runs(view)) in decoded
        ):
            return WITHHELD
    return printable_line(mask_jwts(text), limit)


def mask_jwts(text: str) -> str:
    """Replace each run that looks like a JWT, or the start of one (RFC 7519: base64url of `{"`)."""
    return _DOTTED.sub(lambda run: MASK if "eyJ" in run[0] else run[0], text) if "eyJ" in text else text


class _SecretRuns(Generic[AnyStr]):
    """All runs of `length` in secrets, or a whole shorter secret. It contains each text that includes one of them."""

    def __init__(self, secrets: Iterable[AnyStr], length: int) -> None:
        known = [secret for secret in secrets if secret]
        self._length = length
        self._short: list[AnyStr] = [secret for secret in known if len(secret) < length]
        self._runs: set[AnyStr] = {run for secret in known for run in self._of(secret)}

    def __contains__(self, text: AnyStr) -> bool:
        return any(run in self._runs for run in self._of(text)) or any(secret in text for secret in self._short)

    def _of(self, text: AnyStr) -> Iterator[AnyStr]:
        return (text[start : start + self._length] for start in range(len(text) - self._length + 1))


def _decoded_views(text: str) -> list[str]:
    """Return the text, and every text that results from undoing escapes."""
    undo: tuple[Callable[[str], str], ...] = (html.unescape, unquote, _unescaped, lambda each: each.replace("+", " "))
    views = [text]
    for view in views:  # the list grows in the loop
        views.extend(other for other in {step(view) for step in undo} if other not in views)
        if len(views) >= MAX_VIEWS:
            break
    return views


def _decode_base64_runs(view: str) -> Iterator[bytes]:
    """Yield what the text contains as base64 or hex from any character on: it may be cut, broken or inside a word."""
    for text in {view, re.sub(r"\s", "", view)}:
        for run in _BASE64.findall(text.replace("-", "+").replace("_", "/")):
            yield from (b64decode(run[start : start + (len(run) - start) // 4 * 4]) for start in range(4))
    for run in _HEX.findall(_HEX_SEPARATORS.sub("", view)):
        yield from (bytes.fromhex(run[start : start + (len(run) - start) // 2 * 2]) for start in range(2))


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda one: chr(int(one[1] or one[2], 16)) if one[1] or one[2] else one[3], text)


def _alphanumeric(text: str) -> str:
    return "".join(letter for letter in text.casefold() if letter.isalnum())
