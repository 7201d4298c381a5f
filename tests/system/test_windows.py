"""Windows is not supported, and the program reports this in one line."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.process import ROOT

# What Windows does not have. A module that is None in sys.modules raises ImportError.
AS_ON_WINDOWS = """
import sys
sys.platform = "win32"
for name in ("fcntl", "grp", "pwd", "resource", "termios", "tty", "uvloop"):
    sys.modules[name] = None
"""


@pytest.mark.parametrize("start", ["import runpy; runpy.run_module('gateway')", "from gateway.cli.main import main"])
def test_start_on_windows_names_the_supported_ways(start: str) -> None:
    command = [sys.executable, "-c", AS_ON_WINDOWS + start]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    expected = "oic-gateway does not run on Windows. Run it in WSL 2, or as a container in Docker or Podman.\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", expected)


@pytest.mark.parametrize("name", ["README.md", "docs/packages.md"])
def test_documents_state_that_windows_is_unsupported(name: str) -> None:
    assert "Windows is not supported" in Path(ROOT, name).read_text(encoding="utf-8")
