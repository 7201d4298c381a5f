"""Encode a document as one JSON line, for any texts in it. Records and events use it."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

# Valid in JSON, but some programs read them as line ends (NEL, LS, PS), and terminals as commands (C1).
_LINE_BREAKING = re.compile(rb"\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]")


_encoder = msgspec.json.Encoder()
_encode, _encode_lines = _encoder.encode, _encoder.encode_lines


def json_line(document: dict[str, Any] | msgspec.Struct) -> bytes:
    """Return `document` as UTF-8 JSON that ends with the only line feed. Never raise for nested texts and numbers.

    Lone surrogates, which represent bytes that are not UTF-8, are written as escapes with a backslash.
    """
    try:
        raw = _encode(document)
    except (TypeError, UnicodeError, ValueError, RecursionError):
        raw = _encode(_to_json_types(document if isinstance(document, dict) else _as_dict(document)))
    return raw + b"\n" if raw.isascii() else _LINE_BREAKING.sub(_escape, raw) + b"\n"


def json_lines(documents: Sequence[msgspec.Struct]) -> list[bytes]:
    """Return each document as `json_line` does. Many at once cost less."""
    try:
        raw = _encode_lines(documents)
    except (TypeError, UnicodeError, ValueError, RecursionError):
        return [json_line(document) for document in documents]
    return (raw if raw.isascii() else _LINE_BREAKING.sub(_escape, raw)).splitlines(keepends=True)


def escape_surrogates(text: str) -> str:
    """Return `text` with each lone surrogate escaped, so that it is valid UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def _as_dict(document: msgspec.Struct) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(document).items() if value is not msgspec.UNSET}


def _to_json_types(value: Any) -> Any:
    """Return `value` with JSON types only: other objects and large integers are replaced by their `str`."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int) and -(2**63) <= value < 2**64:
        return value
    if isinstance(value, dict):
        return {escape_surrogates(str(key)): _to_json_types(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_to_json_types(item) for item in value]
    return escape_surrogates(str(value))


def _escape(match: re.Match[bytes]) -> bytes:
    return f"\\u{ord(match[0].decode()):04x}".encode()
