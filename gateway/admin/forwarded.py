"""Decides whether a proxy passed a request on: then its peer is the proxy, and not the person or the program. Pure."""

from collections.abc import Container
from typing import Final

_FIELDS: Final = (
    "Forwarded",
    "Via",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Proto",
    "X-Forwarded-Server",
    "X-Real-IP",
    "CF-Connecting-IP",
    "True-Client-IP",
)


def is_forwarded(fields: Container[str], version: tuple[int, int]) -> bool:
    """Return whether a request with these fields (a mapping that ignores case) and this HTTP version came through a
    proxy. No browser uses HTTP/1.0, and nginx does unless it is configured otherwise.

    A proxy that uses HTTP/1.1 and adds no field cannot be recognised.
    """
    return version < (1, 1) or any(name in fields for name in _FIELDS)
