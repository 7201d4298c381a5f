"""The Debian package that the tests of a chroot and of a booted machine install."""

import sys
from pathlib import Path

import pytest

from tests.deploy.machine import run
from tests.fakes.process import ROOT

DEPLOY = ROOT / "deploy"


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the package once, from a bundle for Debian's Python."""
    folder = tmp_path_factory.mktemp("package")
    run(sys.executable, DEPLOY / "bundle" / "build.py", folder)
    [bundle] = folder.glob("*.tar.gz")
    run(DEPLOY / "debian" / "build.sh", bundle, folder)
    [package] = folder.glob("*.deb")
    return package
