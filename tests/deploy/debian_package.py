"""The Debian package: built with Debian's tools, then installed, upgraded and purged in a chroot of Debian 12.

Run by `make test-deploy`, as root and with Debian 12's own Python.
"""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import gateway
from tests.deploy.machine import run
from tests.fakes.process import ROOT

BASE = Path(sys.prefix) / "deploy" / "debian.tar"
DEPLOY = ROOT / "deploy"
CONFIG = Path("etc/oic-gateway/gateway.yaml")


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """Unpack a Debian with Python and nothing else."""
    root = tmp_path / "root"
    root.mkdir()
    run("tar", "--extract", "--file", BASE, "--directory", root)
    yield root
    shutil.rmtree(root)


def install(root: Path, package: Path) -> str:
    shutil.copy(package, root / "new.deb")
    return run("chroot", root, "dpkg", "--force-confdef", "--force-confold", "--install", "/new.deb")


def build_newer(package: Path, tmp_path: Path) -> Path:
    """Return the same package as a newer version with another default configuration."""
    content = tmp_path / "newer"
    run("dpkg-deb", "--raw-extract", package, content)
    control = content / "DEBIAN" / "control"
    version = f"Version: {gateway.__version__}"
    control.write_text(control.read_text().replace(version, f"{version}+newer"))
    with (content / CONFIG).open("a") as file:
        file.write("# changed by the package\n")
    run("dpkg-deb", "--root-owner-group", "-Znone", "--build", content, tmp_path / "newer.deb")
    return tmp_path / "newer.deb"


def test_lintian_finds_nothing_in_the_package(package: Path) -> None:
    assert run("lintian", "--allow-root", "--fail-on", "error,warning", package) == ""


def test_package_installs_upgrades_and_leaves_nothing(package: Path, root: Path, tmp_path: Path) -> None:
    install(root, package)
    version = run("chroot", root, "oic-gateway", "--version")
    assert version == f"oic-gateway {gateway.__version__}\n"
    program = "import uvloop, jinja2, argon2, opentelemetry.proto, gateway.cli.serve"
    run("chroot", root, "/opt/oic-gateway/bin/python", "-I", "-c", program)
    unit = (root / "lib/systemd/system/oic-gateway.service").read_text()
    assert unit == (DEPLOY / "systemd" / "oic-gateway.service").read_text()
    secret = root / "etc/oic-gateway/client-secret"
    secret.write_text("a-client-secret-of-the-test")
    problems = run("chroot", root, "oic-gateway", "check", f"/{CONFIG}", status=78)
    assert [line for line in problems.splitlines() if "credentials.orders-app.client_secret" not in line] == []

    (root / CONFIG).write_text("# changed by the administrator\n")
    install(root, build_newer(package, tmp_path))
    assert (root / CONFIG).read_text() == "# changed by the administrator\n"
    assert "changed by the package" in (root / f"{CONFIG}.dpkg-dist").read_text()
    assert run("chroot", root, "oic-gateway", "--version") == version

    (root / "var/lib/private/oic-gateway").mkdir(parents=True)
    run("chroot", root, "dpkg", "--remove", "oic-gateway")
    assert (root / CONFIG).exists()
    assert not (root / "opt/oic-gateway").exists()
    run("chroot", root, "dpkg", "--purge", "oic-gateway")
    left = [root / path for path in ("etc/oic-gateway", "var/lib/private/oic-gateway", "usr/bin/oic-gateway")]
    assert [path for path in left if path.exists() or path.is_symlink()] == []
