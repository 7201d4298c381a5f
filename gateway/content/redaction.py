"""Makes a foreign text safe for a log: without secrets in any encoding, one line, bounded. Pure.

An identity domain may quote the secret that it refuses: plain, escaped for HTML, JSON or a URL, in base64 or hex,
truncated, or with blanks in it. So escapes are undone, possible base64 or hex is decoded, and a text that shares a run
of characters with a secret is not shown at all. The error code is still shown.
"""

import html
import re
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator
from typing import AnyStr, Generic
from urllib.parse import unquote

from gateway.content.untrusted_text import printable_line

MASK = "***"
WITHHELD = "(not shown: it repeats a part of a secret)"
MAX_LENGTH = 1000
"""Characters of a foreign text that are examined: the cost of each step below is proportional to them."""
SHORTEST_RUN = 8  # characters that a text and a secret may not share
SHORTEST_ALPHANUMERIC_RUN = 12  # of letters and digits alone: ordinary words share longer runs by chance
SHORTEST_DECODED_RUN = 5  # bytes; eight characters of base64 or hex hold at most six
MAX_VIEWS = 12  # of one text with its escapes undone in some order

_DOTTED = re.compile(r"[\w.-]{9,}")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{8,}")
_HEX = re.compile(r"[0-9A-Fa-f]{8,}")
_HEX_SEPARATORS = re.compile(r"[\s:,.-]|0x|\\x")
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})|(.))", re.DOTALL)


def safe_text(text: str, *, secret_texts: Iterable[str] = (), limit: int = 200) -> str:
    """Return a foreign text without `secret_texts` and JWTs: one line of printable ASCII, bounded."""
    secrets = sorted({secret for secret in secret_texts if secret}, key=len, reverse=True)
    text = text[:MAX_LENGTH]
    for secret in secrets:
        text = text.replace(secret, MASK)
    plain_runs = _SecretRuns((secret.casefold() for secret in secrets), SHORTEST_RUN)
    alphanumeric_runs = _SecretRuns(map(_alphanumeric, secrets), SHORTEST_ALPHANUMERIC_RUN)
    decoded_runs = _SecretRuns((secret.encode("utf-8", "replace") for secret in secrets), SHORTEST_DECODED_RUN)
    for view in _decoded_views(text) if secrets else ():
        if (
            view.casefold() in plain_runs
            or _alphanumeric(view) in alphanumeric_runs
            or b"\n".join(_decode_base64_runs(view)) in decoded_runs
        ):
            return WITHHELD
    return printable_line(mask_jwts(text), limit)


def mask_jwts(text: str) -> str:
    """Replace each run that looks like a JWT, or the start of one (RFC 7519: base64url of `{"`)."""
    return _DOTTED.sub(lambda run: MASK if "eyJ" in run[0] else run[0], text) if "eyJ" in text else text


class _SecretRuns(Generic[AnyStr]):
    """All runs of `length` characters of the secrets, and shorter secrets as a whole. `text in runs` is whether the
    text includes one of them.
    """

    def __init__(self, secrets: Iterable[AnyStr], length: int) -> None:
        known = [secret for secret in secrets if secret]
        self._length = length
        self._short: list[AnyStr] = [secret for secret in known if len(secret) < length]
        self._runs: set[AnyStr] = {run for secret in known for run in self._iter_runs(secret)}

    def __contains__(self, text: AnyStr) -> bool:
        return any(run in self._runs for run in self._iter_runs(text)) or any(secret in text for secret in self._short)

    def _iter_runs(self, text: AnyStr) -> Iterator[AnyStr]:
        return (text[start : start + self._length] for start in range(len(text) - self._length + 1))


def _decoded_views(text: str) -> list[str]:
    """Return the text, and every text that results from undoing escapes."""
    decoders: tuple[Callable[[str], str], ...] = (
        html.unescape,
        unquote,
        _undo_backslashes,
        lambda each_text: each_text.replace("+", " "),
    )
    views = [text]
    for view in views:  # the list grows in the loop
        views.extend(other for other in {decode(view) for decode in decoders} if other not in views)
        if len(views) >= MAX_VIEWS:
            break
    return views


def _decode_base64_runs(view: str) -> Iterator[bytes]:
    """Yield what the text contains in base64 or hex, from each start: the code may be truncated, or inside a word."""
    for text in {view, re.sub(r"\s", "", view)}:
        for run in _BASE64.findall(text.replace("-", "+").replace("_", "/")):
            yield from (b64decode(run[start : start + (len(run) - start) // 4 * 4]) for start in range(4))
    for run in _HEX.findall(_HEX_SEPARATORS.sub("", view)):
        yield from (bytes.fromhex(run[start : start + (len(run) - start) // 2 * 2]) for start in range(2))


def _undo_backslashes(text: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1] or match[2], 16)) if match[1] or match[2] else match[3], text)


def _alphanumeric(text: str) -> str:
    return "".join(letter for letter in text.casefold() if letter.isalnum())
