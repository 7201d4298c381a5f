"""The image: built with the Dockerfile, then run by a real Docker daemon as the README and compose.yaml do.

Run by `make test-deploy`, as root. A Debian stands for the official image of Python, which only a registry has.
"""

import json
import re
import shlex
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import gateway
from tests.deploy.daemon import PYTHON, Daemon, wait_for
from tests.deploy.manifests import IMAGE_USER
from tests.fakes.process import ROOT
from tests.fakes.waiting import TIME_LIMIT

MAX_BYTES = 150_000_000
CONFINED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
IMPORT_ALL = """
import importlib, pkgutil, gateway, argon2, jinja2, uvloop, opentelemetry.proto
for module in pkgutil.walk_packages(gateway.__path__, "gateway."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""
TRUST = "import ssl; print(len(ssl.create_default_context().get_ca_certs()) > 100)"
METRICS = ("curl", "--silent", "http://127.0.0.1:9090/metrics")
IN_FLIGHT = re.compile(rb'(?m)^oic_gateway_requests_in_flight{route="orders"} 1(\.0)?$')
STATUS = "print(*(line for line in open('/proc/1/status') if line.startswith(('Cap', 'NoNewPrivs', 'Uid'))))"
COMPOSE = ("compose", "--project-name", "test")


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Start a daemon with the images that the Dockerfile and compose.yaml name, and build the image."""
    folder = tmp_path_factory.mktemp("docker")
    with Daemon(folder) as daemon:
        daemon.make_base_images(tmp_path_factory.mktemp("base"))
        daemon.docker("build", "--build-arg", "PYTHON=base", "--tag", "oic-gateway", ".")
        yield daemon


def readme_command(config: Path, secrets: Path) -> list[str]:
    """Return the README's command that runs the image, with other folders."""
    [line] = re.findall(r"(?m)^docker run .*$", (ROOT / "README.md").read_text(encoding="utf-8"))
    line = line.replace('"$PWD/', f'"{config}/').replace("-v /run/secrets:", f"-v {secrets}:")
    return shlex.split(line.replace("docker run ", "docker run --name readme ", 1))


def is_healthy(daemon: Daemon, name: str) -> bool:
    """Return whether the health check of a container has passed."""
    return bool(daemon.docker("ps", "--quiet", "--filter", f"name=^{name}$", "--filter", "health=healthy"))


def test_image_is_small_and_holds_nothing_else(daemon: Daemon) -> None:
    facts = daemon.inspect("image", "oic-gateway")
    assert facts["Size"] <= MAX_BYTES
    assert len(facts["RootFS"]["Layers"]) == 1
    programs = ("usr/bin", "usr/sbin", "usr/local/bin", "usr/local/sbin")
    listing = (
        "import pathlib, sys; print(*sorted(p.name for d in sys.argv[1:] for p in pathlib.Path('/', d).glob('*')))"
    )
    found = daemon.docker("run", "--rm", "--entrypoint", "python", "oic-gateway", "-c", listing, *programs)
    assert found.split() == ["python", "python3", f"python{PYTHON}"]
    named = daemon.docker(
        "run", "--rm", "--entrypoint", "python", "oic-gateway", "-c", listing, "var/lib/dpkg/status.d"
    )
    assert {"base-files", "ca-certificates", "libc6", "libssl3t64", "libsqlite3-0", "tzdata"} <= set(named.split())


def test_image_declares_what_it_is(daemon: Daemon) -> None:
    facts = daemon.inspect("image", "oic-gateway")["Config"]
    assert facts["User"] == f"{IMAGE_USER}:{IMAGE_USER}"
    assert facts["Healthcheck"]["Test"] == ["CMD", "oic-gateway", "probe"]
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in facts["Labels"].items()}
    assert (labels["title"], labels["licenses"]) == ("oic-gateway", "Apache-2.0")
    assert daemon.docker("run", "--rm", "oic-gateway", "--version") == f"oic-gateway {gateway.__version__}\n"


def test_every_module_works_in_the_image(daemon: Daemon) -> None:
    for code, output in ((IMPORT_ALL, ""), (TRUST, "True\n")):
        assert daemon.docker("run", "--rm", *CONFINED, "--entrypoint", "python", "oic-gateway", "-c", code) == output


def test_readme_command_runs_and_drains(daemon: Daemon, tmp_path: Path) -> None:
    config, secrets = tmp_path / "config", tmp_path / "secrets"
    config.mkdir()
    secrets.mkdir()
    text = (ROOT / "demo" / "container.yaml").read_text(encoding="utf-8")
    (config / "gateway.yaml").write_text(text.replace("listen: 0.0.0.0:8080", "listen: 127.0.0.1:8080"))
    shutil.copy(ROOT / "demo" / "sandbox-secret", secrets / "oic-client-secret")
    tmp_path.chmod(0o755)
    sandbox = ("sandbox", "--set", "reply_delay=5")
    daemon.docker("run", "--detach", "--name", "slow", "--network", "host", *CONFINED, "oic-gateway", *sandbox)
    with daemon.started(readme_command(config, secrets)) as running:
        wait_for(lambda: is_healthy(daemon, "readme"))
        call = daemon.inside("curl", "--silent", "--include", "http://127.0.0.1:8080/orders/")
        wait_for(lambda: IN_FLIGHT.search(daemon.inside(*METRICS).communicate(timeout=TIME_LIMIT)[0]))
        running.send_signal(signal.SIGTERM)
        response, _ = call.communicate(timeout=TIME_LIMIT)
        assert running.wait(TIME_LIMIT) == 0
    assert response.startswith(b"HTTP/1.1 200")
    assert b"x-oracle-ics-instance-id" in response
    daemon.docker("rm", "--force", "slow")


def test_sandbox_runs_on_a_read_only_root(daemon: Daemon) -> None:
    daemon.docker("run", "--detach", "--name", "sandbox", "--network", "none", *CONFINED, "oic-gateway", "sandbox")
    try:
        wait_for(lambda: "credential: sandbox" in daemon.docker("logs", "sandbox"))
        daemon.docker("stop", "sandbox")
        assert daemon.inspect("container", "sandbox")["State"]["ExitCode"] == 0
    finally:
        daemon.docker("rm", "--force", "sandbox")
    folder = ("sandbox", "--folder", "/files")
    output = daemon.docker("run", "--rm", "--network", "none", *CONFINED, "oic-gateway", *folder, status=69)
    assert "/files" in output
    assert "Read-only file system" in output


def test_compose_file_works_as_it_is(daemon: Daemon) -> None:
    daemon.docker(*COMPOSE, "build", "--build-arg", "PYTHON=base")
    try:
        daemon.docker(*COMPOSE, "up", "--wait")
        wait_for(lambda: "x-oracle-ics-instance-id" in daemon.docker(*COMPOSE, "logs", "legacy"))
        assert [name for name in ("gateway", "sandbox") if not is_healthy(daemon, f"test-{name}-1")] == []
        status = daemon.docker("exec", "test-gateway-1", "python", "-c", STATUS)
        assert set(re.findall(r"Cap\w+:\s*([0-9a-f]+)", status)) == {"0000000000000000"}
        assert re.findall(r"(?:NoNewPrivs|Uid):\s*(\d+)", status) == [str(IMAGE_USER), "1"]
        daemon.docker(*COMPOSE, "stop", "gateway", "sandbox")
        for service in ("gateway", "sandbox"):
            state = daemon.inspect("container", f"test-{service}-1")["State"]
            assert (service, state["ExitCode"], state["OOMKilled"]) == (service, 0, False)
    finally:
        daemon.docker(*COMPOSE, "down")


def test_release_is_for_both_machine_types_with_sbom(daemon: Daemon) -> None:
    file = ("--file", "deploy/image/docker-bake.hcl")
    output = daemon.docker("buildx", "bake", *file, "--print", "--progress", "quiet")
    target = json.loads(output)["target"]["release"]
    assert target["platforms"] == ["linux/amd64", "linux/arm64"]
    assert [kind.partition(",")[0] for kind in target["attest"]] == ["type=provenance", "type=sbom"]
    assert {f"org.opencontainers.image.{name}" for name in ("version", "revision", "source")} == set(target["labels"])
