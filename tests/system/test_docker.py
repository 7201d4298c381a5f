"""The image and the composition: what can be proved of them without an engine."""

import asyncio
import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.cli.sandbox import inline_config
from gateway.sandbox import Sandbox
from tests.fakes.process import run_command

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    lines = (line.partition(" ") for line in text.splitlines() if line.strip())
    return [(word, rest.strip()) for word, _, rest in lines]


def copied() -> list[str]:
    """What is copied from this folder, not from the other stage."""
    lines = [rest.split() for word, rest in instructions() if word == "COPY" and not rest.startswith("--from")]
    return [source for line in lines for source in line[:-1]]


def image_setting(word: str) -> str:
    """The last one counts."""
    return [rest for name, rest in instructions() if name == word][-1]


def is_sent(path: str) -> bool:
    """Return whether the last line of .dockerignore that matches the path or a folder of it lets it through."""
    sent, parts = True, path.split("/")
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        if line.startswith("#") or not line:
            continue
        leading = ["/".join(parts[: length + 1]) for length in range(len(parts))]
        candidates = parts if pattern.startswith("**/") else leading
        if any(fnmatch.fnmatchcase(candidate, pattern.removeprefix("**/")) for candidate in candidates):
            sent = line.startswith("!")
    return sent


def composition() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return content


def test_hadolint_finds_nothing() -> None:
    done = subprocess.run([BIN / "hadolint", "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_all_that_is_copied_exists_and_reaches_the_engine() -> None:
    sources = copied()
    assert "gateway" in sources
    assert "requirements.lock" in sources
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert [source for source in sources if not is_sent(source)] == []
    assert [source for source in sources if is_git_ignored(source)] == []
    assert is_sent("gateway/proxy/forward.py")


@pytest.mark.parametrize("path", [".git/config", ".venv/bin/python", "gateway/__pycache__", "tests", "deploy/systemd"])
def test_nothing_else_reaches_the_engine(path: str) -> None:
    assert not is_sent(path)


def test_the_image_is_installed_from_hashes_only() -> None:
    installs = [
        part for word, rest in instructions() if word == "RUN" for part in rest.split("&&") if " install" in part
    ]
    assert len(installs) == 3
    assert [part for part in installs if "--require-hashes" not in part and "--no-index" not in part] == []


def test_base_image_is_pinned_by_digest() -> None:
    arguments = dict(rest.split("=", 1) for word, rest in instructions() if word == "ARG")
    bases = [rest.split()[0] for word, rest in instructions() if word == "FROM"]
    assert bases == ["${PYTHON}", "scratch"]
    assert re.fullmatch(r"python:[\w.-]+@sha256:[0-9a-f]{64}", arguments["PYTHON"])


def test_final_image_has_no_installer_and_runs_unprivileged() -> None:
    words = instructions()
    last = max(index for index, (word, _) in enumerate(words) if word == "FROM")
    assert [word for word, _ in words[last:] if word == "RUN"] == []  # no shell, and a read-only root keeps no bytecode
    assert [rest for word, rest in words[:last] if word == "RUN" and "compileall" in rest]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", image_setting("USER"))
    assert image_setting("STOPSIGNAL") == "SIGTERM"
    assert "PYTHONDONTWRITEBYTECODE=1" in image_setting("ENV").split()


def test_the_wheel_of_the_image_holds_the_whole_gateway(tmp_path: Path) -> None:
    for source in copied():
        original = ROOT / source
        if original.is_dir():
            shutil.copytree(original, tmp_path / source, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(original, tmp_path)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index"]
    subprocess.run([*pip, "wheel", *offline, "--no-build-isolation", "-w", "wheel", "."], cwd=tmp_path, check=True)
    wheel = next((tmp_path / "wheel").iterdir())
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "gateway").rglob("*.py")}
    assert modules == {str(path.relative_to(site)) for path in (site / "gateway").rglob("*.py")}
    environ = {**os.environ, "PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"}
    code = "import gateway.cli.main; print(gateway.__file__); gateway.cli.main.main(['schema'])"
    told_by = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert told_by.stdout.startswith(f"{site}/gateway/__init__.py\n{{")


async def test_the_entry_point_and_the_health_check_are_verbs_that_run() -> None:
    entry = json.loads(image_setting("ENTRYPOINT"))
    probe = json.loads(image_setting("HEALTHCHECK").partition("CMD ")[2])
    assert entry == probe[:1] == ["oic-gateway"]
    for arguments in (["--version"], [*json.loads(image_setting("CMD")), "--help"], [*probe[1:], "--help"]):
        done = await asyncio.create_subprocess_exec(BIN / entry[0], *arguments, stdout=subprocess.PIPE)
        out, _ = await done.communicate()
        assert done.returncode == 0
        assert b"oic-gateway" in out


async def test_the_composition_is_good_and_calls_the_sandbox(tmp_path: Path) -> None:
    content = composition()
    config = ROOT / content["configs"]["gateway"]["file"]
    secret = ROOT / content["secrets"]["oic-client-secret"]["file"]
    text = config.read_text()
    assert "/run/secrets/oic-client-secret" in text
    assert secret.read_text().strip() == Sandbox().client_secret
    async with Sandbox() as sandbox:
        # The ports of the composition may be taken here.
        text = text.replace("http://127.0.0.1:8181", sandbox.origin).replace(
            "/run/secrets/oic-client-secret", str(secret)
        )
        (tmp_path / "gateway.yaml").write_text(text)
        check = [sys.executable, "-m", "gateway", "check", "--live", "-c", str(tmp_path / "gateway.yaml")]
        done = await asyncio.create_subprocess_exec(*check, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        out, _ = await done.communicate()
        assert done.returncode == 0, out.decode()
        assert yaml.safe_load(text)["credentials"]["orders-app"]["scope"] in inline_config(sandbox)


async def test_the_sandbox_is_healthy_while_it_answers() -> None:
    kind, program, *arguments = composition()["services"]["sandbox"]["healthcheck"]["test"]
    assert (kind, program) == ("CMD", "python")  # the image has no shell
    async with Sandbox() as sandbox:
        arguments = [argument.replace("http://127.0.0.1:8181", sandbox.origin) for argument in arguments]
        assert (await run_command(sys.executable, *arguments))[0] == 0
    assert (await run_command(sys.executable, *arguments))[0] == 1


def test_a_caller_in_the_network_uses_an_allowed_host_name() -> None:
    content = composition()
    line = " ".join(content["services"]["legacy"]["command"])
    called = re.search(r"http://(\w+):(\d+)(/\w+/)", line)
    assert called is not None
    config = yaml.safe_load((ROOT / content["configs"]["gateway"]["file"]).read_text())
    assert called[1] in content["services"]
    assert config["listen"].endswith(f":{called[2]}")
    assert called[3] in [route["path"] for route in config["routes"]]


@pytest.mark.parametrize("name", ["gateway", "sandbox"])
def test_containers_have_no_rights(name: str) -> None:
    service = composition()["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_a_stop_of_the_composition_waits_longer_than_the_drain() -> None:
    grace = composition()["services"]["gateway"]["stop_grace_period"]
    assert int(grace.removesuffix("s")) > 330


def is_git_ignored(path: str) -> bool:
    return subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT, check=False).returncode == 0
