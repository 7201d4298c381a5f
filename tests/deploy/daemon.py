"""A Docker daemon of its own, in namespaces of its own: whatever it mounts, connects or starts ends with it.

It has no network but its own bridges, and so no registry. The images that a Dockerfile starts from are made of Debian's
packages, with the wheels of the locks inside (`make test-deploy` fetches both).
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any, Self

from tests.fakes.process import ROOT
from tests.fakes.waiting import TIME_LIMIT

DEBIAN = Path(sys.prefix) / "deploy" / "trixie.tar"
"""A Debian with Python, busybox, and the Compose and Buildx plugins of Docker."""
PYTHON = "3.13"
"""Python's version in that Debian, and in the image."""
PLUGINS = "./usr/libexec/docker/cli-plugins"
LOCKS = ("requirements.lock", "requirements-otel.lock", "requirements-build.lock")
BASE = """
FROM debian AS tree
COPY wheels /wheels
RUN rm -r /usr/libexec/docker /usr/lib/python3*/EXTERNALLY-MANAGED && ln -s python3 /usr/bin/python \\
 && PYTHONPATH="$(echo /wheels/pip-*.whl)" python3 -m pip install --quiet --no-index --find-links /wheels \\
    --root-user-action ignore pip \\
 && printf '[global]\\nno-index = true\\nfind-links = /wheels\\n' >/etc/pip.conf \\
 && find / -xdev -name __pycache__ -prune -exec rm -r {} +
FROM scratch
COPY --from=tree / /
"""
BUSYBOX = """
FROM scratch
COPY --from=debian /usr/bin/busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
"""


class DockerFailed(AssertionError):
    """A command of Docker ended with another status than expected; the message is its output."""


def wait_for(condition: Callable[[], Any]) -> None:
    """Repeat a question to another process until its answer is true."""
    end = monotonic() + TIME_LIMIT
    while not condition():
        assert monotonic() < end, "the condition has not become true"


class Daemon:
    """A running Docker daemon; its files are in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._group = f"oic-gateway-test-{os.getpid()}"
        self._variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "DOCKER_CONFIG": str(folder / "client"),
            "DOCKER_HOST": f"unix://{folder}/docker.sock",
            "DOCKER_BUILDKIT": "1",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start the daemon, and wait until it answers."""
        missing = [name for name in ("dockerd", "docker", "containerd", "runc", "unshare") if not shutil.which(name)]
        assert not missing, f"cannot test the image: {', '.join(missing)} not found; run `make test-deploy`"
        assert os.geteuid() == 0, "cannot start a Docker daemon: root is needed"
        plugins = self._folder / "client" / "cli-plugins"
        plugins.mkdir(parents=True)
        subprocess.run(["tar", "-xf", DEBIAN, "-C", plugins, "--strip-components=5", PLUGINS], check=True)
        data, state = self._folder / "data", self._folder / "state"
        data.mkdir()
        start = (
            f"ip link set lo up && mount -t tmpfs tmpfs {data} && exec dockerd --host {self._variables['DOCKER_HOST']}"
            f" --data-root {data} --exec-root {state} --pidfile {state}.pid --cgroup-parent /{self._group}"
        )
        spaces = ("--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(["unshare", *spaces, "sh", "-c", start], stdout=log, stderr=log)
        wait_for(self._answers)
        return self

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            message = f"dockerd has ended:\n{(self._folder / 'log').read_text()}"
            raise AssertionError(message)
        return subprocess.run(["docker", "info"], env=self._variables, capture_output=True, check=False).returncode == 0

    def __exit__(self, *_: object) -> None:
        """Remove the containers and stop the daemon; the kernel removes its mounts and interfaces."""
        assert self._process is not None
        try:
            if containers := self.docker("ps", "--all", "--quiet").split():
                self.docker("rm", "--force", *containers)
            os.kill(self.pid, signal.SIGTERM)
            self._process.wait(TIME_LIMIT)
        finally:
            self._process.kill()
            self._process.wait()
            for folder in Path("/sys/fs/cgroup").glob(f"**/{self._group}"):
                for group in sorted(path for path in folder.rglob("*") if path.is_dir())[::-1]:
                    group.rmdir()
                folder.rmdir()

    @property
    def pid(self) -> int:
        """The process of the daemon, the first in its namespaces."""
        assert self._process is not None
        return int(Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()[0])

    def docker(self, *arguments: str | Path, folder: Path = ROOT, stdin: bytes = b"", status: int = 0) -> str:
        """Run a command of the client to its end; return its output."""
        ended = subprocess.run(
            ["docker", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=self._variables,
            input=stdin,
            timeout=5 * TIME_LIMIT,
            check=False,
        )
        if ended.returncode != status:
            message = f"{arguments}: status {ended.returncode}\n{ended.stdout.decode()}"
            raise DockerFailed(message)
        return ended.stdout.decode()

    def inspect(self, kind: str, name: str) -> dict[str, Any]:
        """Return the facts of a container or an image."""
        [facts] = json.loads(self.docker(kind, "inspect", name))
        return dict(facts)

    @contextmanager
    def started(self, command: Sequence[str], folder: Path = ROOT) -> Iterator[subprocess.Popen[bytes]]:
        """Run a command of a shell's user, such as `docker run …`, in the block."""
        with subprocess.Popen(command, cwd=folder, env=self._variables, stdout=subprocess.PIPE) as process:
            try:
                yield process
            finally:
                with suppress(ProcessLookupError):
                    process.kill()

    def inside(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a command in the network of the daemon's host."""
        return subprocess.Popen(["nsenter", f"--net=/proc/{self.pid}/ns/net", *command], stdout=subprocess.PIPE)

    def make_base_images(self, folder: Path) -> None:
        """Make `base`, which stands for Python's official image, and `busybox:1.37`."""
        self.docker("import", DEBIAN, "debian")
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--only-binary", ":all:", "--no-deps")
        target = ("--python-version", PYTHON, "--dest", str(folder / "wheels"))
        locks = [argument for lock in LOCKS for argument in ("--requirement", str(ROOT / lock))]
        subprocess.run([*pip, *target, "--require-hashes", *locks], check=True)
        subprocess.run([*pip, *target, "pip"], check=True)
        self.docker("build", "--tag", "base", "--file", "-", folder, stdin=BASE.encode())
        self.docker("build", "--tag", "busybox:1.37", "-", stdin=BUSYBOX.encode())
