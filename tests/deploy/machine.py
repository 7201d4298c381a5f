"""A Debian 12 that is booted: systemd is its first process, in namespaces and in a control group of its own.

It has no network but its own loopback. It needs the unified hierarchy of control groups (cgroup2), mounted anywhere.
"""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

from tests.deploy.daemon import wait_for
from tests.fakes.waiting import TIME_LIMIT

BOOTABLE = Path(sys.prefix) / "deploy" / "bootable.tar"
"""A Debian with systemd, Python and curl."""
BOOT = """
ip link set lo up
hostname machine
mount --bind "$0" "$0"
cd "$0"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty dev
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
pivot_root . mnt
umount -l /mnt
mount --make-rshared /
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /sbin/init
"""
"""The last mount is shared as on a real machine: systemd moves the credentials of a service into its namespace."""


def run(*command: str | Path, status: int = 0) -> str:
    """Run a command to its end; return its output."""
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert ended.returncode == status, f"{command}: status {ended.returncode}\n{ended.stdout}"
    return ended.stdout


def cgroup_hierarchy() -> Path:
    """Return where the unified hierarchy of control groups is mounted."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    folders = [Path(mount[1]) for mount in mounts if mount[2] == "cgroup2"]
    assert folders, "cannot boot a Debian: no cgroup2 is mounted; mount one: mount -t cgroup2 cgroup2 /mnt"
    return folders[0]


class Machine:
    """A running Debian whose root is a folder."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._group = Path()

    def __enter__(self) -> Self:
        """Boot, and wait until all services have started."""
        missing = [name for name in ("unshare", "nsenter", "pivot_root", "ip") if not shutil.which(name)]
        assert not missing, f"cannot boot a Debian: {', '.join(missing)} not found; install util-linux and iproute2"
        assert os.geteuid() == 0, "cannot boot a Debian: root is needed"
        assert BOOTABLE.exists(), f"cannot boot a Debian: `{BOOTABLE}` is missing; run `make test-deploy`"
        self._group = cgroup_hierarchy() / f"oic-gateway-machine-{os.getpid()}"
        self.root.mkdir()
        run("tar", "--extract", "--file", BOOTABLE, "--directory", self.root)
        self._group.mkdir()
        enter = 'echo $$ >"$1/cgroup.procs"; exec unshare --cgroup --net --uts --ipc --mount --pid --fork --kill-child'
        command = ("sh", "-ec", f'{enter} sh -ec "$2" "$0"', self.root, self._group, BOOT)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait_for(self._is_booted)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _is_booted(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the boot has ended:\n{self._log.read_text()}"
        if not (pid := self._first_process()) or Path(f"/proc/{pid}/comm").read_text() != "systemd\n":
            return False
        command = self.inside("systemctl", "is-system-running")
        return subprocess.run(command, capture_output=True, check=False).stdout.strip() in {b"running", b"degraded"}

    def _first_process(self) -> int:
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return int(children[0]) if children else 0

    def __exit__(self, *_: object) -> None:
        """Kill the first process: the kernel ends all others, and removes mounts and interfaces."""
        assert self._process is not None
        if self._process.poll() is None and (pid := self._first_process()):
            os.kill(pid, signal.SIGKILL)
        else:
            self._process.kill()
        self._process.wait(TIME_LIMIT)
        for group in sorted(path for path in self._group.rglob("*") if path.is_dir())[::-1]:
            group.rmdir()
        self._group.rmdir()
        shutil.rmtree(self.root)

    def inside(self, *command: str) -> list[str]:
        """Return the command that runs a command in the machine."""
        return ["nsenter", f"--target={self._first_process()}", "--all", *command]

    def run(self, *command: str, status: int = 0) -> str:
        """Run a command in the machine to its end; return its output."""
        return run(*self.inside(*command), status=status)

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command in the machine."""
        return subprocess.Popen(self.inside(*command), stdout=subprocess.PIPE, text=True)

    def systemctl(self, *arguments: str, status: int = 0) -> str:
        """Run a command of systemctl; return its output."""
        return self.run("systemctl", *arguments, status=status)

    def property(self, unit: str, name: str) -> str:
        """Return a property of a unit as systemd has it now."""
        return self.systemctl("show", "--value", "--property", name, unit).strip()
