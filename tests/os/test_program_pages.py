"""The pages of libraries that only the start used are released, and none that a process has changed."""

import subprocess
import sys

from gateway.system.program_pages import _unchanged_files
from tests.fakes.process import ROOT

# Of a library: code, a page that the dynamic linker has changed, one in swap, a writable one. Of no file; of data.
MAPPINGS = b"""\
7f0000001000-7f0000002000 r-xp 00000000 fe:00 12 /usr/lib/a library.so
Rss: 4 kB
Anonymous:             0 kB
Swap:                  0 kB
VmFlags: rd ex mr mw me
7f0000002000-7f0000003000 r--p 00001000 fe:00 12 /usr/lib/a library.so
Anonymous:             4 kB
Swap:                  0 kB
7f0000003000-7f0000004000 r--p 00002000 fe:00 12 /usr/lib/a library.so
Anonymous:             0 kB
Swap:                  4 kB
7f0000004000-7f0000005000 rw-p 00003000 fe:00 12 /usr/lib/a library.so
Anonymous:             0 kB
Swap:                  0 kB
7f0000005000-7f0000006000 r-xp 00000000 00:00 0 [vdso]
Anonymous:             0 kB
Swap:                  0 kB
7f0000006000-7f0000007000 r--p 00000000 fe:00 13 /usr/lib/locale/C.utf8/LC_CTYPE
Anonymous:             0 kB
Swap:                  0 kB
"""
RELEASE = """
import re, ssl
from pydantic_core import SchemaValidator
from pathlib import Path
from gateway.system.program_pages import release_program_pages

def resident():
    return int(re.search(r"RssFile:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

before = resident()
release_program_pages()
print(resident() < before - 1024)
print(SchemaValidator({"type": "int"}).validate_python("12"), ssl.create_default_context().verify_mode.name)
"""


def test_only_mappings_that_are_as_in_their_file_are_released() -> None:
    found = [*_unchanged_files(MAPPINGS)]
    assert found == [(0x7F0000001000, 0x7F0000002000), (0x7F0000006000, 0x7F0000007000)]


def test_nothing_is_released_where_changed_pages_are_not_counted() -> None:
    assert [*_unchanged_files(MAPPINGS.replace(b"4 kB", b"0 kB"))] == []


def test_libraries_work_after_their_pages_are_released() -> None:
    command = [sys.executable, "-c", RELEASE]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n12 CERT_REQUIRED\n"
