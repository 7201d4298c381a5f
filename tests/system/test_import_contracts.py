"""The import contracts of pyproject.toml hold, report violations, and every module can be imported alone."""

import re
import shutil
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

from tests.fakes.process import ROOT

LINT = Path(sys.executable).with_name("lint-imports")

# Run in one fresh interpreter. Modules stay loaded once each of them, and all that they import, was imported alone; all
# others are forgotten before the next import. The first import of everything gives the order: what a module needs
# comes before it.
IMPORT_ALONE = """
import importlib, sys

def forget(kept):
    for loaded in [name for name in sys.modules if name.partition(".")[0] == "gateway" and name not in kept]:
        del sys.modules[loaded]

class Order:
    finished = []
    def find_spec(self, name, path=None, target=None):
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if name.partition(".")[0] != "gateway" or spec is None:
            return None
        execute = spec.loader.exec_module
        def exec_module(module):
            execute(module)
            self.finished.append(name)
        spec.loader.exec_module = exec_module
        return spec

names = sys.argv[1:]
sys.meta_path.insert(0, Order())
for name in names:
    importlib.import_module(name)
sys.meta_path.pop(0)
ordered = [name for name in Order.finished if name in names]
assert sorted(ordered) == sorted(names)
tried, proven = set(), set()
for name in ordered:
    forget(proven)
    importlib.import_module(name)
    tried.add(name)
    loaded = {loaded for loaded in sys.modules if loaded.partition(".")[0] == "gateway"}
    if loaded <= tried:
        proven |= loaded
"""

VIOLATIONS = [
    ("proxy/routing.py", "import time", "Pure modules", "gateway.proxy.routing -> time"),
    ("http/response_parser.py", "import asyncio", "Pure modules", "gateway.http.response_parser -> asyncio"),
    ("oauth/lifetime.py", "import random", "Pure modules", "gateway.oauth.lifetime -> random"),
    ("oic/instance_id.py", "import logging", "Pure modules", "gateway.oic.instance_id -> logging"),
    (
        "config/resolved.py",
        "import gateway.config.secrets",
        "Pure modules",
        "config.resolved -> gateway.config.secrets",
    ),
    (
        "http/pool.py",
        "import gateway.oauth.token_source",
        "HTTP on the wire knows no policy",
        "http.pool -> gateway.oauth",
    ),
    (
        "http/server.py",
        "import gateway.proxy.forward",
        "HTTP on the wire knows no policy",
        "http.server -> gateway.proxy",
    ),
    (
        "oauth/token_source.py",
        "import gateway.proxy.headers",
        "point downwards",
        "token_source -> gateway.proxy.headers",
    ),
    ("oauth/token_source.py", "import gateway.observe.log", "know nothing of the log", "source -> gateway.observe.log"),
    ("admin/admin_server.py", "import gateway.config.model", "point downwards", "admin_server -> gateway.config.model"),
    ("observe/log.py", "import gateway.history.query", "point downwards", "log -> gateway.history.query"),
    ("sandbox/sandbox_server.py", "import gateway.errors", "The sandbox imports nothing", "server -> gateway.errors"),
    ("checks/run.py", "import gateway.sandbox", "Only the verb imports the sandbox", "checks.run -> gateway.sandbox"),
    ("checks/run.py", "import gateway.proxy.forward", "Only the running gateway calls", "run -> gateway.proxy.forward"),
    ("proxy/routing.py", "import gateway.oic.urls", "Only the request pipeline", "routing -> gateway.oic.urls"),
    (
        "oauth/client_auth.py",
        "import gateway.oauth.grants",
        "ring of imports",
        "No cycles are allowed in gateway.oauth.",
    ),
]
"""For each violation: the module, its new line, a part of the name of the contract, a part of its report."""


def modules() -> list[str]:
    paths = sorted((ROOT / "gateway").rglob("*.py"))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths]
    return [name for name in names if name != "gateway.__main__"]  # importing it runs the program


def lint(folder: Path) -> tuple[int, str]:
    done = subprocess.run([LINT, "--no-cache", "--no-logo"], cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def copy_to(folder: Path) -> None:
    shutil.copytree(ROOT / "gateway", folder / "gateway", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)


def test_import_contracts_hold() -> None:
    code, text = lint(ROOT)
    assert code == 0, text


def test_each_contract_reports_its_violations(tmp_path: Path) -> None:
    copy_to(tmp_path)
    for module, line, *_ in VIOLATIONS:
        with (tmp_path / "gateway" / module).open("a") as file:
            file.write(f"\n{line}\n")
    code, text = lint(tmp_path)
    assert code == 1, text
    sections = list(pairwise(re.split(r" -{4,}(?: -+)? ", text)))  # each name of a contract, and its report
    for module, line, contract, report in VIOLATIONS:
        assert any(contract in name and report in content for name, content in sections), (module, line, text)


def test_a_new_module_without_a_layer_is_reported(tmp_path: Path) -> None:
    copy_to(tmp_path)
    (tmp_path / "gateway" / "cellar.py").write_text('"""A module of no layer."""\n')
    code, text = lint(tmp_path)
    assert code == 1
    assert "cellar" in text


def test_contracts_name_only_modules_that_exist() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    named = {name for contract in contracts for name in re.findall(r"gateway(?:\.\w+)+", repr(contract))}
    assert sorted(named - {*modules(), "gateway.__main__"}) == []


def test_http_may_import_only_the_packages_below_policy() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [forbidden] = [contract["forbidden_modules"] for contract in contracts if contract["id"] == "wire"]
    allowed = {"http", "errors", "network", "system", "content", "content.untrusted_text", "content.pieces"}
    folders = (ROOT / "gateway", ROOT / "gateway" / "content")
    children = {name.removeprefix("gateway.") for folder in folders for name in modules() if is_child(name, folder)}
    assert children - allowed == {name.removeprefix("gateway.") for name in forbidden}


def is_child(name: str, folder: Path) -> bool:
    parent = ".".join(folder.relative_to(ROOT).parts)
    return name.rpartition(".")[0] == parent


def test_every_module_can_be_imported_alone() -> None:
    command = [sys.executable, "-W", "error", "-c", IMPORT_ALONE, *modules()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
