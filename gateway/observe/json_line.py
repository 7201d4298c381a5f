"""A document as one JSON line, whatever its texts hold: the floor under the record and under events."""

import re
from typing import Any

import msgspec

# JSON may carry these raw, yet some reader takes them for an end of line (NEL, LS, PS), some terminal for orders (C1).
_UNRULY = re.compile(rb"\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]")


_encode = msgspec.json.Encoder().encode


def json_line(document: dict[str, Any] | msgspec.Struct) -> bytes:
    """`document` as UTF-8 JSON and exactly one line feed, at its end. Never raises for texts, numbers and their nests.

    Lone surrogates (bytes of a target that are not UTF-8) come out spelt in ASCII, backslash first.
    """
    try:
        raw = _encode(document)
    except (TypeError, UnicodeError, ValueError, RecursionError):
        raw = _encode(_sound(document if isinstance(document, dict) else _as_dict(document)))
    return raw + b"\n" if raw.isascii() else _UNRULY.sub(_escape, raw) + b"\n"


def escape_surrogates(text: str) -> str:
    """`text` with each lone surrogate spelt out, so that it is valid UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def _as_dict(document: msgspec.Struct) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(document).items() if value is not msgspec.UNSET}


def _sound(value: Any) -> Any:
    """`value` made of nothing but what JSON knows; a stranger becomes its `str`, too big a number as well."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int) and -(2**63) <= value < 2**64:
        return value
    if isinstance(value, dict):
        return {escape_surrogates(str(key)): _sound(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_sound(item) for item in value]
    return escape_surrogates(str(value))


def _escape(match: re.Match[bytes]) -> bytes:
    return f"\\u{ord(match[0].decode()):04x}".encode()
