"""The Python that runs the measured gateway: an optimised build, which costs 10 to 20 % less.

Distributions build theirs with profile guided optimisation, version managers mostly do not. If the Python of this
environment is not optimised, the system's is used, in an environment of its own with the packages of requirements.lock.
BENCH_PYTHON names another interpreter.
"""

import json
import os
import subprocess
import sys
from functools import cache
from typing import NamedTuple

from bench.peers import VENV
from bench.stage import HERE, BenchFailed

ENVIRONMENT = VENV / "gateway"
SYSTEM = "/usr/bin/python3"
_LOCK = HERE.parent / "requirements.lock"
_FACTS = """
import json, platform, sys, sysconfig
config = sysconfig.get_config_var("CONFIG_ARGS") or ""
optimised = "--enable-optimizations" in config or sys.base_prefix == "/usr"
print(json.dumps([platform.python_version(), optimised, sys.base_prefix, list(sys.version_info[:2])]))
"""
_OLDEST = (3, 11)


class Interpreter(NamedTuple):
    """A Python: its program, release, prefix, and whether its build is optimised."""

    program: str
    release: str
    prefix: str
    is_optimised: bool
    is_supported: bool

    def __str__(self) -> str:
        build = "an optimised build" if self.is_optimised else "NOT an optimised build: costs 10 to 20 % more"
        return f"Python {self.release} of {self.prefix} ({build})"


@cache
def interpreter() -> Interpreter:
    """Return the Python that is measured. Raise BenchFailed if BENCH_PYTHON is none."""
    if named := os.environ.get("BENCH_PYTHON"):
        if (found := _inspect(named)) is None:
            raise BenchFailed(f"BENCH_PYTHON: cannot run `{named}`")
        return found
    own = _inspect(sys.executable)
    assert own is not None
    system = None if own.is_optimised else _inspect(SYSTEM)
    return system if system and system.is_supported and system.is_optimised else own


def _inspect(program: str) -> Interpreter | None:
    try:
        done = subprocess.run([program, "-c", _FACTS], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    release, is_optimised, prefix, version = json.loads(done.stdout)
    return Interpreter(program, release, prefix, is_optimised, tuple(version) >= _OLDEST)


def python(*arguments: str) -> tuple[str, ...]:
    """Return a command of the measured Python, with this project and the packages that it needs."""
    return ("/usr/bin/env", f"PYTHONPATH={HERE.parent}", str(ENVIRONMENT / "bin" / "python"), *arguments)


def install_interpreter() -> None:
    """Make the environment of the measured Python unless it is there. Raise BenchFailed if pip fails."""
    chosen = interpreter()
    print(f"bench: the gateway runs on {chosen}", file=sys.stderr)
    _install_packages(chosen)
    # As pip does when it installs the gateway: with PYTHONDONTWRITEBYTECODE, each start would compile all modules.
    subprocess.run(python("-m", "compileall", "-q", str(HERE.parent / "gateway")), check=True)


def _install_packages(chosen: Interpreter) -> None:
    done = ENVIRONMENT / ".installed"
    wanted = f"{chosen.program} {chosen.release}\n{_LOCK.read_text()}"
    if done.exists() and done.read_text() == wanted:
        return
    print(f"bench: installing its packages into {ENVIRONMENT.relative_to(HERE.parent)}, once ...", file=sys.stderr)
    pip = [sys.executable, "-m", "pip", "--python", str(ENVIRONMENT), "install", "-qq", "--disable-pip-version-check"]
    try:
        subprocess.run([chosen.program, "-m", "venv", "--without-pip", "--clear", ENVIRONMENT], check=True)
        subprocess.run([*pip, "--only-binary", ":all:", "--require-hashes", "--requirement", _LOCK], check=True)
    except (OSError, subprocess.CalledProcessError) as cause:
        raise BenchFailed(f"the packages of the gateway could not be installed ({cause})") from None
    done.write_text(wanted)
