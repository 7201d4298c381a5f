"""The offline bundle: built, then installed without network and run.

Run by `make test-deploy`. `unshare` takes the network away: as root, or with a user namespace.
"""

import asyncio
import os
import re
import signal
import sys
import tarfile
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

import gateway
from tests.fakes.process import ROOT, run_command
from tests.fakes.waiting import TIME_LIMIT

WITHOUT_NETWORK = ("unshare", "--net", *(() if os.geteuid() == 0 else ("--map-root-user",)))
VARIABLES = {"PATH": os.environ["PATH"], "PIP_INDEX_URL": "http://127.0.0.1:9/"}
CONFIG = """
listen: "unix:{folder}/gateway"
admin: "unix:{folder}/admin"
credentials:
  app: {{token_url: "https://idcs.example/oauth2/v1/token", client_id: a, client_secret: {{env: SECRET}}, scope: s}}
routes:
  - {{name: orders, path: /orders/, credential: app, upstream: "https://oic.example/ic/api/integration/v1/flows/rest/A/1.0/"}}
"""


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the bundle once; the packages come from the registry."""
    folder = tmp_path_factory.mktemp("bundle")
    built = asyncio.run(_build(folder))
    assert built.parent == folder
    return built


async def _build(folder: Path) -> Path:
    process = await asyncio.create_subprocess_exec(
        sys.executable, ROOT / "deploy" / "bundle" / "build.py", folder, stdout=PIPE, stderr=PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return Path(out.decode().strip())


@pytest.fixture
def bundle(archive: Path, tmp_path: Path) -> Path:
    """Unpack the bundle."""
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    return tmp_path / archive.name.removesuffix(".tar.gz")


async def install(bundle: Path, *arguments: str | Path, cwd: Path = ROOT) -> tuple[int, str]:
    """Run the installer without network; return its status and output."""
    command = (*WITHOUT_NETWORK, bundle / "install.sh", *arguments)
    status, out, err = await run_command(*command, cwd=cwd, env=VARIABLES)
    return status, out.decode() + err.decode()


def replace_fact(bundle: Path, key: str, value: str) -> None:
    """Change a fact of the target that the installer reads."""
    file = bundle / "bundle"
    file.write_text(re.sub(rf"(?m)^{key}=.*$", f"{key}={value}", file.read_text()))


async def test_bundle_installs_and_serves_without_network(bundle: Path, tmp_path: Path) -> None:
    status, output = await install(bundle, "--prefix", "the prefix", cwd=tmp_path)
    assert status == 0, output
    program = tmp_path / "the prefix" / "bin" / "oic-gateway"
    assert f"installed: {program} (oic-gateway {gateway.__version__}" in output
    (tmp_path / "gateway.yaml").write_text(CONFIG.format(folder=tmp_path))
    process = await asyncio.create_subprocess_exec(
        *(*WITHOUT_NETWORK, program, "serve", tmp_path / "gateway.yaml"), env={"SECRET": "s" * 20}, cwd="/", stdout=PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(TIME_LIMIT):
        while b'"started"' not in (line := await process.stdout.readline()):
            assert line, "the gateway has not started"
        process.send_signal(signal.SIGTERM)
        await process.stdout.read()
        assert await process.wait() == 0
    python = program.resolve().with_name("python")
    modules = "uvloop, jinja2, argon2, opentelemetry.proto, gateway"
    code = f"import {modules}; print(gateway.__file__)"
    status, out, _ = await run_command(python, "-I", "-c", code, cwd=tmp_path)
    assert (status, out.decode().startswith(f"{tmp_path}/the prefix/lib/")) == (0, True)


async def test_bundle_installed_again_keeps_what_is_there(bundle: Path, tmp_path: Path) -> None:
    prefix = tmp_path / "prefix"
    assert (await install(bundle, f"--prefix={prefix}"))[0] == 0
    older = prefix / "lib" / "oic-gateway-0.0.1"
    older.mkdir()
    complete = prefix / "lib" / f"oic-gateway-{gateway.__version__}" / ".complete"
    before = complete.stat().st_mtime_ns
    (prefix / "bin" / "oic-gateway").unlink()
    assert (await install(bundle, f"--prefix={prefix}"))[0] == 0
    assert (complete.stat().st_mtime_ns, older.exists()) == (before, True)
    assert (prefix / "bin" / "oic-gateway").resolve().is_file()


async def test_damaged_bundle_installs_nothing(bundle: Path, tmp_path: Path) -> None:
    wheel = next((bundle / "wheels").glob("oic_gateway-*.whl"))
    wheel.write_bytes(wheel.read_bytes() + b"\0")
    status, output = await install(bundle, "--prefix", tmp_path / "prefix")
    assert (status, wheel.name in output, "files of the bundle are damaged or missing" in output) == (1, True, True)
    assert not (tmp_path / "prefix").exists()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("PYTHON", "3.99", "this bundle is for CPython 3.99"),
        ("MACHINE", "vax", "Linux vax"),
        ("GLIBC", "9.0", "needs glibc 9.0 or newer, this system has glibc"),
    ],
)
async def test_other_system_is_refused_by_name(
    bundle: Path, tmp_path: Path, key: str, value: str, message: str
) -> None:
    replace_fact(bundle, key, value)
    status, output = await install(bundle, "--prefix", tmp_path / "prefix", "--python", sys.executable)
    assert (status, message in output) == (1, True), output
    assert not (tmp_path / "prefix").exists()


@pytest.mark.parametrize("arguments", [[], ["--prefix"], ["--prefix", "/x", "extra"]])
async def test_wrong_command_line_is_refused(bundle: Path, arguments: list[str]) -> None:
    status, output = await install(bundle, *arguments)
    assert (status, "see ./install.sh --help" in output) == (2, True)
