"""`watch: true`: a change of the files reloads once; `include`: files of teams, read together."""

import signal
from pathlib import Path
from typing import Any

import pytest

from gateway.sandbox import Sandbox
from gateway.sandbox.clients import DEFAULT_SECRET
from tests.fakes.process import gateway, run
from tests.system.scene import SECRETS, credential, route, settings, written


def team(folder: Path, sandbox: Sandbox, name: str, **more: Any) -> Path:
    """Write the file of a team with one route; return it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "secret").write_text(DEFAULT_SECRET, encoding="utf-8")
    (folder / "secret").chmod(0o600)
    app = credential(sandbox.token_url, scope=sandbox.scope) | {"client_secret": {"file": "secret"}}
    own = route(name, sandbox.upstream("ORDERS"), path=f"/{folder.name}/{name}/", credential=f"{name}-app")
    return written(folder, {"credentials": {f"{name}-app": app}, "routes": [own]} | more, f"{name}.yaml")


@pytest.mark.parametrize("workers", [1, 2])
async def test_changed_files_reload_and_broken_ones_are_logged_once(
    tmp_path: Path, sandbox: Sandbox, workers: int
) -> None:
    team(tmp_path / "teams/a", sandbox, "one")
    include = [{"files": "teams/a/*.yaml", "path": "/a/", "owner": "team-a"}]
    file = written(tmp_path, settings(sandbox, watch=True, include=include, workers=workers))
    async with gateway(file, **SECRETS) as gate:
        assert (await gate.get("/a/one/"))[0] == 200
        second = team(tmp_path / "teams/a", sandbox, "two")  # a new file
        [line] = await gate.wait_for_events("reloaded")
        assert (line["trigger"], line["changes"]) == ("watch", ["added credentials.two-app", "added routes.two"])
        assert (await gate.get("/a/two/"))[0] == 200
        second.write_text("routes: {}\n", encoding="utf-8")
        [line] = await gate.wait_for_events("reload-refused")
        assert f"{second}:1: routes: must be a list" in line["message"]
        assert line["message"].endswith("(owner: team-a)")
        assert (await gate.get("/a/two/"))[0] == 200
        second.unlink()
        lines = await gate.wait_for_events("reloaded", 2)
        assert lines[1]["changes"] == ["removed credentials.two-app", "removed routes.two"]
        assert (await gate.get("/a/two/"))[0] == 404
        assert len(gate.events("reload-refused")) == 1
        process = (await gate.ask("/status"))[1]["process"]["configuration"]
        assert [Path(one["path"]).name for one in process["files"]] == ["gateway.yaml", "one.yaml"]
        written(tmp_path, settings(sandbox, include=include, workers=workers))  # switches the watch off
        await gate.wait_for_events("reloaded", 3)
        written(tmp_path, settings(sandbox, include=include, workers=workers, drain="9s"))
        gate.signal(signal.SIGHUP)
        lines = await gate.wait_for_events("reloaded", 4)
        assert [line["trigger"] for line in lines] == ["watch", "watch", "watch", "signal"]


async def test_a_swapped_config_map_reloads(tmp_path: Path, sandbox: Sandbox) -> None:
    """As the kubelet does it: files are links to `..data`, which becomes a link to another folder."""
    for name, more in (("..1", {}), ("..2", {"hosts": ["gw.example.com"]})):
        (tmp_path / name).mkdir()
        written(tmp_path / name, settings(sandbox, watch=True, **more))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "gateway.yaml").symlink_to("..data/gateway.yaml")
    async with gateway(tmp_path / "gateway.yaml", **SECRETS) as gate:
        (tmp_path / "..data_tmp").symlink_to("..2")
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")
        [line] = await gate.wait_for_events("reloaded")
        assert (line["trigger"], line["changes"]) == ("watch", ["added hosts"])


async def test_watch_can_be_switched_on_by_a_reload(tmp_path: Path, sandbox: Sandbox) -> None:
    file = written(tmp_path, settings(sandbox))
    async with gateway(file, **SECRETS) as gate:
        written(tmp_path, settings(sandbox, watch=True))
        gate.signal(signal.SIGHUP)
        await gate.wait_for_events("reloaded")
        file.unlink()
        [line] = await gate.wait_for_events("reload-refused")
        assert "does not exist" in line["message"]
        written(tmp_path, settings(sandbox, watch=True, drain="9s"))
        lines = await gate.wait_for_events("reloaded", 2)
        assert lines[1]["changes"] == ["added drain"]


async def test_check_counts_and_names_included_files(tmp_path: Path, sandbox: Sandbox) -> None:
    broken = team(tmp_path / "teams/a", sandbox, "one")
    include = [{"files": "teams/a/*.yaml", "owner": "team-a"}]
    file = written(tmp_path, settings(sandbox, include=include))
    ended = await run("check", file, **SECRETS)
    assert (ended.status, ended.err) == (0, "")
    assert ended.out == f"{file}: OK: 10 routes, 2 credentials, 1 included file\n"
    broken.write_text("routes: 3\n", encoding="utf-8")
    ended = await run("check", file, **SECRETS)
    assert ended.status == 78
    assert f"{broken}:1: routes: must be a list" in ended.err
    assert "(owner: team-a)" in ended.err
    ended = await run("check", "--json", file, **SECRETS)
    assert ended.status == 78
    assert "team-a" in ended.out


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_copied_credential_gets_no_token_of_the_main_file(
    tmp_path: Path, sandbox: Sandbox, workers: int
) -> None:
    """Client id and scope are no secrets: a team that copies them must prove itself with a secret of its own."""
    team(tmp_path / "teams/a", sandbox, "one")
    (tmp_path / "teams/a/secret").write_text("wrong", encoding="utf-8")
    state = {"path": str(tmp_path / "state.db"), "keys": [{"env": "STATE_KEY"}]}
    include = [{"files": "teams/a/*.yaml", "owner": "team-a"}]
    file = written(tmp_path, settings(sandbox, include=include, state=state, workers=workers))
    async with gateway(file, **SECRETS, STATE_KEY="0123456789abcdef" * 4) as gate:
        assert (await gate.get("/orders/"))[0] == 200
        status, _, body = await gate.get("/a/one/")
        assert (status, b"token-refused" in body) == (502, True), body
        assert (await gate.get("/orders/"))[0] == 200
    async with gateway(file, **SECRETS, STATE_KEY="0123456789abcdef" * 4) as gate:  # the token is in the store
        assert (await gate.get("/a/one/"))[0] == 502
        assert (await gate.get("/orders/"))[0] == 200
