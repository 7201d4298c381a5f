"""Tokens and calls on a small volume: the history gives way, tokens always find room."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.history.free_space import Volume
from gateway.sandbox import Sandbox, Switches
from tests.fakes.process import ROOT, Process, request, run
from tests.fakes.waiting import TIME_LIMIT
from tests.system.scene import SECRETS, Settings, settings, written
from tests.system.test_signin import KEY, Scene, signed_in

SIZE = 3 * 1024 * 1024
_AS_ROOT = () if os.geteuid() == 0 else ("--map-root-user",)


def with_volume(folder: Path) -> tuple[str, ...]:
    """Runs a command that alone sees a small volume at this folder."""
    script = f'mount -t tmpfs -o size={SIZE} tmpfs "$1" && shift && exec "$@"'
    return "unshare", "--mount", *_AS_ROOT, "--", "sh", "-c", script, "sh", str(folder)


def on_volume(folder: Path, sandbox: Sandbox, workers: int) -> tuple[Path, Path]:
    """The configuration, and the folder of its volume."""
    key, volume = folder / "key", folder / "volume"
    key.write_text("0123456789abcdef" * 4, encoding="ascii")
    volume.mkdir()
    state: Settings = {"path": str(volume / "state.db"), "keys": [{"file": str(key)}], "timeout": "5s"}
    return written(folder, settings(sandbox, workers=workers, state=state)), volume


async def call_often(gate: Process, count: int) -> None:
    caller = await gate.caller()
    for _ in range(count):
        await caller.send(request("/orders/"))
        async with asyncio.timeout(TIME_LIMIT):
            assert (await caller.reply())[0] == 200


def fill(folder: Path) -> Path:
    """Takes the last byte of a volume."""
    file = folder / "filler"
    with file.open("ab", buffering=0) as filler:
        for size in (65536, 4096, 1):
            try:
                while True:
                    filler.write(b"x" * size)
            except OSError:
                continue
    return file


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_full_volume_drops_history_and_no_token(tmp_path: Path, sandbox: Sandbox, workers: int) -> None:
    file, volume = on_volume(tmp_path, sandbox, workers)
    checked = await run("check", "-c", file, under=with_volume(volume), **SECRETS)
    assert checked.status == 0
    assert "state.path: warning: has room for 1 MiB of calls on its volume" in checked.err
    async with Process("serve", "-c", file, **SECRETS).under(with_volume(volume)) as gate:
        await gate.wait_started()
        seen = Path(f"/proc/{gate.pid}/root{volume}")
        await asyncio.gather(*(call_often(gate, 500) for _ in range(5)))
        await gate.until_answer("/instances", lambda document: 0 < int(str(document["kept"])) < 2500)
        assert gate.events("history-removed") == []
        assert (await gate.ask("/usage"))[1]["messages"] == 2500  # and so it is written
        filler = fill(seen)
        await gate.wait_for_events("history-removed")
        await gate.wait_for_events("history-down")
        assert (await gate.ask("/usage"))[1]["messages"] == 2500
        fill(seen)
        sandbox.revoke_all()
        await call_often(gate, 1)
        assert (await gate.ask("/status"))[1]["store"]["ok"]
        assert gate.events("store-down") == []
        filler.unlink()
        await call_often(gate, 1)
        await gate.wait_for_events("history-up")
        await call_often(gate, 1)
        await gate.until_answer("/instances", lambda document: int(str(document["kept"])) >= 1)
        assert (await gate.ask("/usage"))[1]["messages"] == 2503


@contextmanager
def volume_of_its_own(folder: Path, size: int) -> Iterator[tuple[tuple[str, ...], Path]]:
    """What runs a command that sees a small volume at this folder, and where the volume is seen from here."""
    script = f'mount -t tmpfs -o size={size} tmpfs "$1" && echo && exec sleep infinity'
    holder = subprocess.Popen(
        ["unshare", "--mount", *_AS_ROOT, "--", "sh", "-c", script, "sh", str(folder)], stdout=subprocess.PIPE
    )
    with holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"\n"
            user = ("--user", "--preserve-credentials") if _AS_ROOT else ()
            inside = ("nsenter", "--target", str(holder.pid), "--mount", *user, f"--wd={ROOT}", "--")
            yield inside, Path(f"/proc/{holder.pid}/root{folder}")
        finally:
            holder.kill()


async def test_a_sign_in_survives_on_a_full_volume(tmp_path: Path, closed_port: int) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    async with Sandbox(switches=Switches(rotate_refresh_tokens=True)) as sandbox:
        scene = Scene(tmp_path, sandbox, closed_port)
        state = {"path": str(volume / "state.db"), "keys": [{"env": "STATE_KEY"}], "timeout": "5s"}
        file, impatient = scene.file(state=state), scene.file("impatient.yaml", state, token_wait="100ms")
        with volume_of_its_own(volume, 16 * 1024 * 1024) as (inside, seen):
            await signed_in(file, under=inside)
            async with Process("serve", "-c", file, **KEY).under(inside) as gate:
                await gate.wait_started()
                await asyncio.gather(*(call_often(gate, 100) for _ in range(5)))
                for _ in range(3):  # each token uses up the refresh token of the one before
                    fill(seen)
                    sandbox.revoke_all()
                    await asyncio.gather(*(call_often(gate, 20) for _ in range(5)))
                assert gate.events("store-down") == []
            grants = [request.form["grant_type"] for request in sandbox.token_requests]
            assert grants == ["authorization_code", *["refresh_token"] * 3]
            fill(seen)
            sandbox.revoke_all()
            async with Process("serve", "-c", impatient, **KEY).under(inside) as gate:
                await gate.wait_started()
                [down] = await gate.wait_for_events("store-down")
                assert down["message"].endswith("; its volume is full: make room")
                assert (await gate.get("/orders/"))[0] == 503
                assert len(sandbox.token_requests) == 4  # none is used whose successor could not be kept
                (seen / "filler").unlink()
                await gate.wait_for_events("store-up")
                await gate.until_status("/orders/", 200)


STORE = """
import asyncio, sys
from pathlib import Path
from gateway.oauth.clock import SystemClock
from gateway.oauth.stores.file import FileBackend
from tests.system.test_full_volume import fill

async def main():
    folder = Path(sys.argv[1])
    shelf = FileBackend(folder / "state.db", clock=SystemClock())
    await shelf.write("first", b"1" * 3000, seconds=None)
    fill(folder)
    for number in range(300):
        await shelf.write("first", b"%d" % number * 900, seconds=3600 if number % 2 else None)
        assert await shelf.claim("turn", owner=str(number), seconds=0.0)
    assert await shelf.read("first") == b"299" * 900

asyncio.run(main())
"""


def test_an_entry_is_replaced_on_a_full_volume(tmp_path: Path) -> None:
    ended = subprocess.run(
        [*with_volume(tmp_path), sys.executable, "-c", STORE, str(tmp_path)], cwd=ROOT, capture_output=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, b"")


CALLS = """
import sys
from pathlib import Path
from gateway.history.free_space import volume_of
from gateway.history.history_file import HistoryFile
from gateway.history.interface import HistoryLimits
from tests.history.call_lines import call_line

path = Path(sys.argv[1]) / "history"
history_file = HistoryFile(path)
limits = HistoryLimits(calls=None, keep=1e9, size=1 << 19)
for batch in range(100):
    history_file.append([call_line(100 * batch + number, reason="x" * 400) for number in range(100)])
    while history_file.prune(limits, 0):
        pass
    assert path.with_name("history-wal").stat().st_size <= volume_of(path).reserve
    assert history_file.has_room()
"""


def test_the_log_of_a_history_fits_into_a_small_volume(tmp_path: Path) -> None:
    ended = subprocess.run(
        [*with_volume(tmp_path), sys.executable, "-c", CALLS, str(tmp_path)], cwd=ROOT, capture_output=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("total", "free", "is_short", "can_start"),
    [
        (1 << 30, 4 << 20, False, False),
        (1 << 30, (4 << 20) - 1, True, False),
        (1 << 30, 9 << 20, False, True),
        (4 << 20, (1 << 20) - 1, True, False),
        (4 << 20, 3 << 20, False, True),
    ],
)
def test_the_reserve_is_four_mebibytes_or_a_quarter(total: int, free: int, is_short: bool, can_start: bool) -> None:  # noqa: FBT001
    volume = Volume(total, free)
    assert (volume.is_short, volume.can_start) == (is_short, can_start)
