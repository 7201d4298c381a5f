"""Pipes in place of files: named in errors, and never what stops the gateway."""

import asyncio
import base64
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from gateway.sandbox import DEFAULT_SECRET, Sandbox
from tests.fakes.process import gateway, run
from tests.system.scene import SECRETS, settings, written


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


async def test_a_pipe_as_configuration_ends_the_start(pipe: Path) -> None:
    ended = await run("serve", "-c", pipe)
    assert ended.status == 78
    assert "is not a regular file" in ended.err


@pytest.mark.parametrize("key", ["client_secret", "ca"])
async def test_a_pipe_as_secret_or_certificate_ends_the_start(
    tmp_path: Path, pipe: Path, sandbox: Sandbox, key: str
) -> None:
    document: dict[str, Any] = settings(sandbox)
    document["credentials"]["app"] |= (
        {"client_secret": {"file": str(pipe)}} if key != "ca" else {"tls": {"ca": str(pipe)}}
    )
    ended = await run("serve", "-c", written(tmp_path, document), **SECRETS)
    assert ended.status == 78
    assert str(pipe) in ended.err
    assert "not a regular file" in ended.err


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_pipe_as_configuration_fails_only_the_reload(tmp_path: Path, sandbox: Sandbox, workers: int) -> None:
    file = written(tmp_path, settings(sandbox, workers=workers))
    async with gateway(file, **SECRETS) as gate:
        file.unlink()
        os.mkfifo(file)
        gate.signal(signal.SIGHUP)
        [event] = await gate.wait_for_events("reload-refused")
        assert "is not a regular file" in event["message"]
        assert (await gate.get("/orders/"))[0] == 200


async def test_a_pipe_as_secret_fails_only_its_credential(tmp_path: Path, sandbox: Sandbox) -> None:
    secret = tmp_path / "secret"
    secret.write_text(DEFAULT_SECRET, encoding="utf-8")
    document = settings(sandbox)
    document["credentials"]["app"]["client_secret"] = {"file": str(secret)}
    async with gateway(written(tmp_path, document)) as gate:
        secret.unlink()
        os.mkfifo(secret)
        status, _, _ = await gate.get("/orders/")
        assert status in {502, 503}
        _, readiness = await gate.ask("/readyz")
        assert "not a regular file" in str(readiness)
        secret.unlink()
        secret.write_text(DEFAULT_SECRET, encoding="utf-8")
        await gate.until_status("/orders/", 200)


# The interpreter runs this at its start: once the folder has a pipe `hang`, opening a database hangs on it.
HANGING = """
import os, sys

def on_event(event, arguments):
    folder = os.environ["FOLDER"]
    if event == "sqlite3.connect" and os.path.exists(f"{folder}/hang"):
        open(f"{folder}/hanging", "w").close()
        open(f"{folder}/hang").read()

sys.addaudithook(on_event)
"""


@pytest.mark.parametrize(("file", "workers"), [("state", 1), ("history", 1), ("history", 2)])
async def test_a_stop_does_not_wait_for_a_volume_that_hangs(
    tmp_path: Path, sandbox: Sandbox, file: str, workers: int
) -> None:
    (tmp_path / "sitecustomize.py").write_text(HANGING, encoding="ascii")
    (tmp_path / "key").write_text(base64.b64encode(bytes(32)).decode(), encoding="ascii")
    path = tmp_path / "state.db"
    state = {"path": str(path), "keys": [{"file": str(tmp_path / "key")}]}
    document = written(tmp_path, settings(sandbox, workers=workers, state=state))
    async with gateway(document, **SECRETS, PYTHONPATH=str(tmp_path), FOLDER=str(tmp_path)) as gate:
        assert (await gate.get("/orders/"))[0] == 200
        os.mkfifo(tmp_path / "hang")
        if file == "state":
            path.unlink()  # it is opened again at the next use
        questions = [asyncio.create_task(gate.ask("/instances")) for _ in range(3 if file == "history" else 0)]
        while not (tmp_path / "hanging").exists():
            await gate.ask("/livez")
        gate.signal(signal.SIGTERM)
        assert await gate.wait_group_exit() == 0
        await asyncio.gather(*questions, return_exceptions=True)
