"""Peers and tools, installed if missing: nginx and wrk of Debian, and the PyPI packages of requirements-peers.txt.

The latter go into a separate environment, `.venv-bench`, with hashes; nothing else is downloaded.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from bench.stage import BenchFailed

VENV = Path(__file__).parents[1] / ".venv-bench"
REQUIREMENTS = Path(__file__).parent / "requirements-peers.txt"
TOOLS = ("nginx", "wrk", "taskset")
PACKAGES = ("nginx-light", "wrk", "util-linux")


def peer(program: str) -> str:
    """Return the path of a peer's program, installed or not."""
    return str(VENV / "bin" / program)


def install_tools() -> None:
    """Install missing packages of Debian. Raise BenchFailed with the manual steps if that fails."""
    as_root = () if os.geteuid() == 0 else ("sudo", "--non-interactive")
    for command in (["update", "-qq"], ["install", "-qq", "--no-install-recommends", "-y", *PACKAGES]):
        if not all(map(shutil.which, TOOLS)):
            try:
                subprocess.run([*as_root, "apt-get", *command], check=True)
            except (OSError, subprocess.CalledProcessError):
                break
    if not all(map(shutil.which, TOOLS)):
        raise BenchFailed(f"{', '.join(TOOLS)} are needed; by hand: apt-get install {' '.join(PACKAGES)}")


def install_peers() -> None:
    """Create `.venv-bench` unless it matches the current requirements. Raise BenchFailed if pip fails."""
    done = VENV / ".installed"
    wanted = REQUIREMENTS.read_text()
    if done.exists() and done.read_text() == wanted:
        return
    print(f"bench: installing the peers into {VENV.name}, once ...", file=sys.stderr)
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    try:
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        subprocess.run([*pip, "--require-hashes", "--requirement", REQUIREMENTS], check=True)
    except (OSError, subprocess.CalledProcessError) as cause:
        raise BenchFailed(f"the peers could not be installed ({cause}); try --contenders gateway,nginx") from None
    done.write_text(wanted)
