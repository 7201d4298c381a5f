"""A container with a read-only root, a user id that no passwd entry has, and no HOME: nothing there can be written."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.sandbox import DEFAULT_SECRET
from tests.fakes.process import Process, run
from tests.system.scene import written

# Every mount becomes read-only, save those of /proc: a user namespace is described there.
_CONFINE = """
while read -r _ place _; do
  case "$place" in /proc*) ;; *) mount -o remount,bind,ro "$place" 2>/dev/null ;; esac
done </proc/self/mounts
for place in /tmp /var/tmp /dev/shm .; do
  if touch "$place/writable" 2>/dev/null; then rm "$place/writable"; echo "$place can be written" >&2; exit 99; fi
done
unset HOME
exec unshare --map-user=54321 --map-group=54321 -- "$@"
"""
_AS_ROOT = () if os.geteuid() == 0 else ("--map-root-user",)
SECRET = {"OIC_SANDBOX_SECRET": DEFAULT_SECRET}
READ_ONLY = ("unshare", "--mount", *_AS_ROOT, "--", "sh", "-c", _CONFINE, "sh")


async def printed(sandbox: Process) -> Any:
    """Waits for the configuration that a sandbox prints."""
    await sandbox.until(lambda: b"path: /hello/" in sandbox.out and sandbox.out.endswith(b"credential: sandbox\n"))
    return yaml.safe_load(bytes(sandbox.out))


@pytest.mark.parametrize("workers", [1, 2])
async def test_sandbox_and_gateway_need_no_writable_folder(tmp_path: Path, workers: int) -> None:
    async with Process("sandbox", "--listen", "127.0.0.1:0").under(READ_ONLY) as sandbox:
        ports = {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0"}
        file = written(tmp_path, {**await printed(sandbox), **ports, "workers": workers})
        async with Process("serve", "-c", file, **SECRET, TMPDIR="/nowhere").under(READ_ONLY) as gateway:
            await gateway.wait_started()
            assert (await gateway.get("/orders/"))[0] == 200
            probed = await run("probe", "--admin", gateway.admin, under=READ_ONLY)
        assert probed.status == 0, probed
        checked = await run("check", "--live", "-c", file, under=READ_ONLY, **SECRET)
    assert (checked.status, checked.err) == (0, "")


async def test_sandbox_speaks_https_without_a_writable_folder() -> None:
    certificate = ("--set", "certificate=untrusted")
    async with Process("sandbox", "--listen", "127.0.0.1:0", *certificate).under(READ_ONLY) as sandbox:
        assert (await printed(sandbox))["routes"][0]["upstream"].startswith("https://127.0.0.1:")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--mistake", "role-missing"),
            "cannot create a temporary folder for the files that the printed configuration",
        ),
        (("--set", "certificate=trusted"), "name a writable folder with --folder, or set TMPDIR to one"),
        (("--folder", "/somewhere/else"), "cannot use /somewhere: Read-only file system; name another folder with"),
    ],
)
async def test_sandbox_names_the_folder_that_it_cannot_have(options: tuple[str, ...], message: str) -> None:
    ended = await run("sandbox", "--listen", "127.0.0.1:0", *options, under=READ_ONLY)
    assert ended.status == 69
    assert message in ended.err
    assert "127.0.0.1" not in ended.err
    assert ended.err.count("\n") == 1
