"""The law of the house: it is kept, it bites, and every module can be imported alone."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINT = Path(sys.executable).with_name("lint-imports")

# Run in one fresh interpreter: what others hold loaded of the gateway is forgotten before each import.
ALONE = """
import importlib, sys
for name in sys.argv[1:]:
    for loaded in [known for known in sys.modules if known.partition(".")[0] == "gateway"]:
        del sys.modules[loaded]
    importlib.import_module(name)
"""


def modules() -> list[str]:
    paths = sorted((ROOT / "gateway").rglob("*.py"))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths]
    return [name for name in names if name != "gateway.__main__"]  # it runs


def lint(folder: Path) -> tuple[int, str]:
    done = subprocess.run([LINT, "--no-cache", "--no-logo"], cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, " ".join((done.stdout + done.stderr).split())


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "gateway", tmp_path / "gateway", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_law_is_kept(copy: Path) -> None:
    assert lint(copy)[0] == 0


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("proxy/routing.py", "import time", "Pure modules"),
        ("http/response_parser.py", "import asyncio", "Pure modules"),
        ("oauth/lifetime.py", "import random", "Pure modules"),
        ("oic/instance_id.py", "import logging", "Pure modules"),
        ("config/resolved.py", "from gateway.config.secrets import Secrets", "Pure modules"),
        ("http/pool.py", "from gateway.oauth.token_source import TokenSource", "HTTP on the wire knows no policy"),
        ("http/server.py", "from gateway.proxy.forward import Forward", "HTTP on the wire knows no policy"),
        ("oauth/token_source.py", "from gateway.proxy.headers import retry_after", "Imports point downwards only"),
        ("oauth/token_source.py", "from gateway.observe.log import say", "know nothing of the log and the metrics"),
        ("admin/admin_server.py", "from gateway.config.model import Config", "Imports point downwards only"),
        ("observe/log.py", "from gateway.errors import GatewayError", "Imports point downwards only"),
        ("sandbox/sandbox_server.py", "from gateway.errors import GatewayError", "The sandbox imports nothing else"),
        ("checks/run.py", "from gateway.sandbox import Sandbox", "Only the verb imports the sandbox"),
        ("checks/run.py", "from gateway.proxy.forward import Forward", "Only the running gateway calls"),
        ("proxy/routing.py", "from gateway.oic.urls import Url", "Only the request pipeline knows"),
        ("oauth/client_auth.py", "from gateway.oauth.grants import build", "ring of imports"),
    ],
)
def test_the_law_bites(copy: Path, module: str, line: str, broken: str) -> None:
    with (copy / "gateway" / module).open("a") as file:
        file.write(f"\n{line}\n")
    code, text = lint(copy)
    assert code == 1, text
    assert re.search(rf"{broken}((?!KEPT|BROKEN).)*BROKEN", text), text


def test_a_new_room_needs_a_floor(copy: Path) -> None:
    (copy / "gateway" / "cellar.py").write_text('"""Below."""\n')
    code, text = lint(copy)
    assert code == 1
    assert "cellar" in text


def test_every_module_that_the_law_names_is_there() -> None:
    law = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    named = {name for contract in law for name in re.findall(r"gateway(?:\.\w+)+", repr(contract))}
    assert sorted(named - {*modules(), "gateway.__main__"}) == []


def test_every_module_can_be_imported_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ALONE, *modules()], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
