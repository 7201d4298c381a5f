"""Releases the memory pages of programs and libraries that only the start needed (Linux)."""

import contextlib
import ctypes
import mmap
import re
from collections.abc import Iterator
from pathlib import Path

_MAPPINGS = Path("/proc/self/smaps")


def release_program_pages() -> None:
    """Release the pages of files that are mapped for reading or execution. Most of the validators of pydantic and of
    OpenSSL is used at the start only. Nothing is lost: a page that is used again comes from the system's page cache,
    in a microsecond. Call it while no thread loads a library.
    """
    with contextlib.suppress(OSError, AttributeError):  # only Linux has the list and the constant
        advise = ctypes.CDLL(None).madvise
        for start, end in _unchanged_files(_MAPPINGS.read_bytes()):
            advise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED)


def _unchanged_files(mappings: bytes) -> Iterator[tuple[int, int]]:
    """Yield start and end of the read-only mappings that have the content of their file. A page that the dynamic linker
    has changed exists only in the memory of this process (`Anonymous`), or in its swap: such mappings stay.
    """
    if not re.search(rb"^Anonymous: +[1-9]", mappings, re.MULTILINE):
        return  # an emulated system that does not count them, such as that of qemu-user
    # A mapping begins with a line of its addresses, permissions and path. Those of its properties have a capital.
    pattern = rb"^(\w+)-(\w+) r-[-x]p \S+ \S+ \S+ +/.*\n(?:[A-Z].*\n)*?Anonymous: +0 kB\n(?:[A-Z].*\n)*?Swap: +0 kB\n"
    for found in re.finditer(pattern, mappings, re.MULTILINE):
        yield int(found[1], 16), int(found[2], 16)
