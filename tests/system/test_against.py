"""`check --against`: what differs from another file, or from what a gateway runs, and what that requires."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.sandbox import Sandbox
from tests.fakes.process import gateway, run
from tests.system.scene import SECRETS, settings, written

SECRET = "tiger-in-a-header"


def folder(path: Path, document: dict[str, Any]) -> Path:
    path.mkdir()
    (path / "ca.pem").write_text("", encoding="utf-8")
    return written(path, document)


async def test_two_files_are_compared_key_by_key(tmp_path: Path, sandbox: Sandbox) -> None:
    before = settings(sandbox, drain="5s")
    after = settings(sandbox, limits={"fields": 64})
    after["routes"][0]["methods"] = ["GET"]
    after["routes"][1]["name"] = "neu"
    old, new = folder(tmp_path / "old", before), folder(tmp_path / "new", after)
    ended = await run("check", new, "--against", str(old), **SECRETS)
    assert (ended.status, ended.err) == (1, "")
    assert ended.out.splitlines() == [
        f"{new}: OK: 9 routes, 1 credential",
        "added limits.fields",
        "added routes.neu",
        "added routes.orders.methods",
        "removed drain",
        "removed routes.echo",
        "restart needed: limits.fields",
    ]
    ended = await run("check", "--json", new, "--against", str(old), **SECRETS)
    document = json.loads(ended.out)
    assert (ended.status, document["ok"]) == (1, True)
    assert document["difference"]["restart_needed"] == ["limits.fields"]


async def test_the_folder_of_a_file_is_no_difference(tmp_path: Path, sandbox: Sandbox) -> None:
    document = settings(sandbox, state={"path": "state.db", "keys": [{"file": "key"}]})
    files = [folder(tmp_path / name, document) for name in ("old", "new")]
    for file in files:
        (file.parent / "key").write_text("0123456789abcdef" * 4, encoding="utf-8")
        (file.parent / "key").chmod(0o600)
    ended = await run("check", files[0], "--against", str(files[1]), **SECRETS)
    assert (ended.status, ended.out.splitlines()[1:]) == (0, ["no difference"])


@pytest.mark.parametrize(("workers", "admin"), [(1, "127.0.0.1:0"), (2, "127.0.0.1:0"), (1, "unix:{folder}/admin")])
async def test_a_running_gateway_is_compared_without_its_values(
    tmp_path: Path, sandbox: Sandbox, workers: int, admin: str
) -> None:
    document = settings(sandbox, workers=workers, admin=admin.format(folder=tmp_path), log={"level": "info"})
    document["routes"][0]["headers"] = {"set": {"X-Key": SECRET}}
    document["state"] = {"path": "state.db", "keys": [{"env": "STATE_KEY"}]}
    secrets = SECRETS | {"STATE_KEY": "0123456789abcdef" * 4}
    running = folder(tmp_path / "running", document)
    document["routes"][0]["headers"] = {"set": {"X-Key": "other"}}
    document["credentials"]["person"] = document["credentials"]["app"] | {"grant": "authorization_code"}
    document["routes"][1]["credential"] = "person"
    candidate = folder(tmp_path / "candidate", document | {"log": {"level": "debug"}})
    async with gateway(running, **secrets) as gate:
        url = gate.admin if gate.admin.startswith("unix:") else f"http://{gate.admin}/"
        same = await run("check", running, "--against", url, **secrets)
        assert (same.status, same.out.splitlines()[-1]) == (0, "no difference")
        status, _, body = await gate.get("/configuration", address=gate.admin)
        assert status == 200
        for value in (SECRET, sandbox.client_id, "state.db", str(tmp_path), sandbox.token_url):
            assert value.encode() not in body
        other = await run("check", candidate, "--against", url, **secrets)
        assert (other.status, other.err) == (1, "")
        assert other.out.splitlines()[1:] == [
            "added credentials.person",
            "added log.level",
            "changed routes.echo.credential",
            "restart needed: log.level",
            f"sign-in needed: person; run `oic-gateway login person -c {candidate}`",
        ]
        # A setting that waits for a restart does not run yet.
        written(tmp_path / "running", document | {"log": {"level": "debug"}})
        assert (await gate.get("/reload", method="POST", address=gate.admin))[0] == 200
        other = await run("check", candidate, "--against", url, **secrets)
        assert other.out.splitlines()[1:] == ["added log.level", "restart needed: log.level"]


@pytest.mark.parametrize(
    ("against", "status", "message"),
    [
        ("http://127.0.0.1:1", 69, "no gateway responds at 127.0.0.1:1"),
        ("unix:/nowhere/admin", 69, "no gateway responds at unix:/nowhere/admin"),
        ("https://127.0.0.1:1", 2, "--against needs a file, or the admin port of a gateway"),
        ("http://[", 2, "--against needs a file, or the admin port of a gateway"),
        ("nowhere.yaml", 78, "nowhere.yaml: does not exist"),
    ],
)
async def test_what_cannot_be_compared_is_an_error(
    tmp_path: Path, sandbox: Sandbox, against: str, status: int, message: str
) -> None:
    ended = await run("check", written(tmp_path, settings(sandbox)), "--against", against, **SECRETS)
    assert (ended.status, ended.out) == (status, "")
    assert message in ended.err


async def test_another_server_is_no_gateway(tmp_path: Path, sandbox: Sandbox) -> None:
    url = sandbox.token_url.removesuffix("/oauth2/v1/token")
    ended = await run("check", written(tmp_path, settings(sandbox)), "--against", url, **SECRETS)
    assert ended.status == 69
    assert "does not describe its configuration (4" in ended.err
