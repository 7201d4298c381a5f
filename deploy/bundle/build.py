# ruff: noqa: INP001 - a script, no package
"""Build the offline bundle: `python deploy/bundle/build.py`, or `make bundle`.

A folder in a tar archive: the wheels of the locks and of this project, an installer and SHA256SUMS. It is for the
version of Python and the machine type of the Python that runs this script.
"""

import hashlib
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "requirements-otel.lock")
INSTALLER = ROOT / "deploy" / "bundle"
BESIDE = ("LICENSE", "CHANGELOG.md", "config/gateway.example.yaml", *LOCKS)
PACKAGER = INSTALLER / "requirements.txt"
"""pip for the target, whose Python may come without one."""
LEGACY_TAGS = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
"""Minimum glibc of the tags that do not name it (PEP 600)."""


def needed_glibc(names: list[str]) -> str:
    """Return the oldest glibc on which all of these wheels can be installed."""
    needed = [min(versions) for name in names if (versions := glibc_versions(name))]
    return ".".join(map(str, max(needed, default=(2, 17))))


def glibc_versions(name: str) -> list[tuple[int, int]]:
    """Return the minimum glibc of each platform tag in the name of a wheel."""
    tags = name.removesuffix(".whl").rpartition("-")[2]
    named = [(int(major), int(minor)) for major, minor in re.findall(r"manylinux_(\d+)_(\d+)_", tags)]
    return named + [version for tag, version in LEGACY_TAGS.items() if f"{tag}_" in tags]


def remove_markers(lock: str) -> str:
    """Return a lock without environment markers: 3.11.2 needs a package that 3.11.3 and newer do not need."""
    return re.sub(r"(?m) ; [^\\\n]*", " ", lock)


def run(*command: str | Path) -> None:
    """Run a command in the project's folder; end with its status if it fails."""
    if status := subprocess.run(command, cwd=ROOT, check=False).returncode:  # noqa: S603 - no shell
        sys.exit(status)


def collect_wheels(folder: Path, scratch: Path) -> str:
    """Download the wheels of the locks and build the project's own; return its version."""
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    locks: list[str | Path] = []
    for lock in (*map(ROOT.joinpath, LOCKS), PACKAGER):
        unmarked = scratch / lock.name
        unmarked.write_text(remove_markers(lock.read_text(encoding="utf-8")), encoding="utf-8")
        locks += ["--requirement", unmarked]
    run(*pip, "download", "--only-binary", ":all:", "--require-hashes", "--no-deps", "--dest", folder, *locks)
    uv = Path(sys.executable).with_name("uv")
    run(uv, "build", "--quiet", "--no-build-isolation", "--python", sys.executable, "--out-dir", scratch)
    [wheel] = scratch.glob("*.whl")
    shutil.copy(wheel, folder)
    return wheel.name.split("-")[1]


def write_hashes(folder: Path) -> None:
    """Write SHA256SUMS over all files of a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(folder)}\n" for file in files]
    (folder / "SHA256SUMS").write_text("".join(lines), encoding="ascii")


def build(folder: Path) -> Path:
    """Build the bundle in `folder`; return the archive."""
    python, machine = "{}.{}".format(*sys.version_info), platform.machine()
    with tempfile.TemporaryDirectory() as temporary:
        content = Path(temporary) / "content"
        wheels = content / "wheels"
        wheels.mkdir(parents=True)
        scratch = Path(temporary) / "scratch"
        scratch.mkdir()
        version = collect_wheels(wheels, scratch)
        for name in BESIDE:
            shutil.copy(ROOT / name, content)
        shutil.copy(INSTALLER / "install.sh", content)
        shutil.copytree(ROOT / "deploy" / "systemd", content / "systemd")
        glibc = needed_glibc([wheel.name for wheel in wheels.iterdir()])
        facts = {"VERSION": version, "PYTHON": python, "MACHINE": machine, "GLIBC": glibc}
        (content / "bundle").write_text("".join(f"{key}={value}\n" for key, value in facts.items()), encoding="ascii")
        write_hashes(content)
        name = f"oic-gateway-{version}-python{python}-linux-{machine}"
        folder.mkdir(parents=True, exist_ok=True)
        archive = folder / f"{name}.tar.gz"
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(content, name, filter=anonymous)
    return archive


def anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leave out who built the archive."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry


if __name__ == "__main__":
    sys.stdout.write(f"{build(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / 'dist'))}\n")
