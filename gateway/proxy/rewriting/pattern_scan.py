"""Search a text for many patterns at once: a scan of Hyperscan costs nearly the same whatever the text is."""

from collections.abc import Callable
from functools import lru_cache

from hyperscan import HS_FLAG_CASELESS, HS_FLAG_DOTALL, HS_FLAG_SINGLEMATCH, HS_MODE_BLOCK, Database, ScanTerminated

Scan = Callable[..., None]
"""Takes a text, a function, 0 and a context. It calls the function for each pattern that the text contains, with the
number of the pattern, three other facts and the context. If the function returns True, the scan ends there."""


@lru_cache(maxsize=64)
def compile_scan(patterns: tuple[bytes, ...], first: int = 0) -> Scan:
    r"""Compile patterns for a scan, in any letter case. Their numbers begin with `first`.

    The syntax is that of `re`, without assertions other than `^` and `\Z`. A pattern has less than 16,000 bytes.
    One thread may scan at a time, and no function that a scan calls.
    """
    database = Database(mode=HS_MODE_BLOCK)
    database.compile(
        expressions=[pattern.replace(rb"\Z", rb"\z") for pattern in patterns],
        ids=range(first, first + len(patterns)),
        elements=len(patterns),
        flags=HS_FLAG_CASELESS | HS_FLAG_DOTALL | HS_FLAG_SINGLEMATCH,
    )
    return database.scan


def append_number(number: int, _start: int, _end: int, _flags: int, numbers: list[int]) -> None:
    """Append the number of a pattern that a scan finds to the context of the scan."""
    numbers.append(number)


def is_found(scan: Scan, text: bytes) -> bool:
    """Return whether a text contains any pattern of a scan."""
    try:
        scan(text, lambda *_: True)
    except ScanTerminated:
        return True
    return False
