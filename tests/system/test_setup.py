"""What a newcomer meets first: the verbs of the Makefile, the lock files, the environment they are installed in."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = sorted(ROOT.glob("requirements*.lock"))
LOCK_NAMES = [f"requirements{part}.lock" for part in ("-build", "-dev", "-docs", "-oci", "-otel", "")]
VERBS = {
    *"help demo test coverage test-clients test-browsers test-deploy check fix serve".split(),
    *"bench bench-quick soak fuzz schema docs package bundle deb notes lock clean screenshots vendor".split(),
}


def make(*arguments: str, cwd: Path = ROOT, **environ: str) -> "subprocess.CompletedProcess[str]":
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=cwd,
        env=inherited | environ,
        capture_output=True,
        text=True,
        check=False,
    )


def pins(lock: Path) -> dict[str, str]:
    found = re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)", lock.read_text(), flags=re.MULTILINE)
    return {name.lower().replace("_", "-"): version for name, version in found}


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A folder with the Makefile and what its environment is made from, small enough to be made in a moment."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in LOCK_NAMES:
        shutil.copy(ROOT / "requirements-build.lock", tmp_path / name)
    (tmp_path / "pyproject.toml").touch()
    return tmp_path


def test_make_lists_every_target_in_a_line() -> None:
    lines = make().stdout.splitlines()
    assert {line.split()[1] for line in lines} == VERBS
    assert all(len(line) <= 120 and re.fullmatch(r"  make [\w-]+ +\w.+", line) for line in lines)


def test_the_documents_name_only_verbs_that_exist() -> None:
    text = "".join(path.read_text() for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
    assert set(re.findall(r"\bmake ([a-z]+)\b(?=[ `\n]*(?:#|`|$))", text, flags=re.MULTILINE)) <= VERBS


def test_an_old_python_is_reported_in_a_line(fresh: Path) -> None:
    done = make("test", "PYTHON=", cwd=fresh)
    assert done.returncode != 0
    assert "Python 3.11 or newer is needed: apt-get install python3 python3-venv" in done.stderr
    assert not (fresh / ".venv").exists()


def test_a_python_without_ensurepip_is_reported_in_a_line(fresh: Path) -> None:
    # As Debian's without python3-venv: no ensurepip.
    python = fresh / "python-without-ensurepip"
    python.write_text(
        f"#!/bin/sh\nexec {sys.executable} -c \"import sys; sys.modules['ensurepip'] = None; import ensurepip\"\n"
    )
    python.chmod(0o755)
    done = make("test", f"PYTHON={python}", cwd=fresh)
    assert done.returncode != 0
    assert "apt-get install python3-venv" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (fresh / ".venv").exists()


def test_make_installs_only_after_a_change(fresh: Path) -> None:
    stamps = {".runtime": "requirements.lock", ".installed": "requirements-dev.lock", ".oci": "requirements-oci.lock"}
    (fresh / ".venv").mkdir()
    for stamp, lock in stamps.items():
        assert make("--question", f".venv/{stamp}", cwd=fresh).returncode == 1
        (fresh / ".venv" / stamp).touch()
        assert make("--question", f".venv/{stamp}", cwd=fresh).returncode == 0
        os.utime(fresh / lock, (2**32, 2**32))
        assert make("--question", f".venv/{stamp}", cwd=fresh).returncode == 1
        os.utime(fresh / lock, (0, 0))


def test_the_demo_needs_no_tools_of_developers(fresh: Path) -> None:
    commands = make("--dry-run", "demo", cwd=fresh).stdout
    assert "--requirement requirements.lock" in commands
    assert "requirements-dev.lock" not in commands
    assert "requirements-oci.lock" not in commands


def test_locks_are_hashed_and_name_no_host() -> None:
    assert [lock.name for lock in LOCKS] == LOCK_NAMES
    for lock in LOCKS:
        text = lock.read_text()
        assert "://" not in text
        assert len(re.findall(r"^\S+==", text, flags=re.MULTILINE)) == len(
            re.findall(r"^\S.*\\\n    --hash=sha256:[0-9a-f]{64}", text, flags=re.MULTILINE)
        )


def test_locks_of_the_tests_name_no_host() -> None:
    """Those of npm too: a lock with `resolved` or `funding` contains addresses."""
    locks = [*ROOT.glob("tests/**/package-lock.json"), *ROOT.glob("tests/**/requirements.txt")]
    assert len(locks) >= 6, locks
    assert [
        lock for lock in locks if re.search(r"\w://|--(?:extra-)?index-url", lock.read_text(encoding="utf-8"))
    ] == []


def test_the_locks_agree_and_contain_every_dependency() -> None:
    build, dev, docs, oci, otel, run = (pins(lock) for lock in LOCKS)
    assert run.items() <= dev.items()
    assert {name for lock in (oci, otel) for name in run.keys() & lock.keys() if run[name] != lock[name]} == set()
    assert build.items() <= dev.items()
    content = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = content["project"]
    extras, groups = project["optional-dependencies"], content["dependency-groups"]
    wanted = [(run, project["dependencies"] + extras["console"]), (docs, groups["docs"])]
    wanted += [(lock, extras[name]) for name, lock in (("dev", dev), ("oci", oci), ("otel", otel))]
    for lock, packages in wanted:
        names = {re.split(r"[\[<>=; ]", line)[0].lower() for line in packages}
        assert sorted(names - lock.keys()) == []
    assert groups["build"] == content["build-system"]["requires"]


def test_the_environment_is_the_locked_one() -> None:
    wanted = pins(ROOT / "requirements-dev.lock")
    have = {dist.name.lower().replace("_", "-"): dist.version for dist in metadata.distributions()}
    assert {name: have[name] for name in wanted if name in have and have[name] != wanted[name]} == {}
    assert "oic-gateway" in have


def test_the_check_of_a_change_is_a_script_that_calls_both() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    lines = script.read_text().splitlines()
    assert lines[-1] == "make test"
    assert {"set -euo pipefail", "make check &", "checks=$!", 'wait "$checks"'} <= set(lines)
