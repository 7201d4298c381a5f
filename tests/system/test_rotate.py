"""`rotate` as a real process: the sandbox ends the old secret at once, and holds its response where a test needs it."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.sandbox import RegisteredClient, Sandbox, Switches
from tests.fakes.process import CompletedVerb, Process, gateway, run
from tests.fakes.waiting import TIME_LIMIT, wait_until
from tests.system.scene import Settings, settings, written

KEY = {"STATE_KEY": "0123456789abcdef" * 4}
MODE = 0o640


class Scene:
    """A configuration whose credential `app` reads its secret from a file."""

    def __init__(self, folder: Path, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.secrets = folder / "secrets"
        self.secrets.mkdir()
        self.secret_file = self.secret("secret")
        self.state = folder / "state"
        self.state.mkdir()
        self.document = settings(sandbox)
        self.document["state"] = {
            "path": str(self.state / "state.db"),
            "keys": [{"env": "STATE_KEY"}],
            "timeout": "20s",
        }
        self.app["renew"] = {"refused_every": "10ms"}
        self.app["client_secret"] = {"file": str(self.secret_file)}
        self._folder = folder

    @property
    def app(self) -> Settings:
        app: Settings = self.document["credentials"]["app"]
        return app

    def secret(self, name: str) -> Path:
        file = self.secrets / name
        file.write_text(f"{self.sandbox.client_secret}\n", encoding="utf-8")
        file.chmod(MODE)
        return file

    def file(self) -> Path:
        return written(self._folder, self.document)

    async def rotate(self, *more: str) -> CompletedVerb:
        result = await run("rotate", *more, "-c", self.file(), "app", **KEY)
        assert self.sandbox.client_secret not in result.out + result.err
        return result

    @asynccontextmanager
    async def rotating(self) -> AsyncIterator[Process]:
        """A `rotate` that a test kills or holds."""
        async with Process("rotate", "-c", self.file(), "app", **KEY) as process:
            yield process
            assert self.sandbox.client_secret not in process.output_text()

    async def renew_token(self, process: Process) -> None:
        """Let OIC refuse all tokens, and wait until a gateway has obtained one with the present secret."""
        assert {line["status"] for line in await process.wait_for_records()} == {200}
        self.sandbox.revoke_all()

        async def is_answered() -> bool:
            return (await process.get("/orders/"))[0] == 200

        await wait_until(is_answered)

    def has_secret(self) -> bool:
        return self.secret_file.read_text(encoding="utf-8") == f"{self.sandbox.client_secret}\n"

    def has_cut(self) -> bool:
        calls = self.sandbox.secret_requests
        return len(calls) > 0 and calls[-1].is_done


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with Sandbox(switches=Switches(application_administrator=True)) as sandbox:
        yield Scene(tmp_path, sandbox)


async def until(condition: Callable[[], bool]) -> None:
    async def is_met() -> bool:
        await asyncio.sleep(0)
        return condition()

    await wait_until(is_met)


async def arrived(journal: Any, count: int) -> None:
    async with asyncio.timeout(TIME_LIMIT):
        await journal.reached(count)


async def test_rotate_writes_a_new_secret_that_the_gateway_uses(scene: Scene) -> None:
    former = scene.sandbox.client_secret
    async with gateway(scene.file(), **KEY) as process:
        assert (await process.get("/orders/"))[0] == 200
        result = await scene.rotate()
        assert (result.status, result.err) == (0, "")
        assert str(scene.secret_file) in result.out
        assert scene.sandbox.client_secret != former
        assert scene.has_secret()
        assert scene.secret_file.stat().st_mode & 0o7777 == MODE
        assert [*scene.secrets.iterdir()] == [scene.secret_file]
        await scene.renew_token(process)


def hold_first_token(switches: Switches) -> None:
    switches.token_gate = asyncio.Event()


def hold_before_cut(switches: Switches) -> None:
    switches.cut_gate = asyncio.Event()


def hold_new_secret(switches: Switches) -> None:
    switches.secret_gate = asyncio.Event()


@pytest.mark.parametrize("hold", [hold_first_token, hold_before_cut, hold_new_secret])
async def test_rotate_killed_while_it_waits_can_be_repeated(scene: Scene, hold: Callable[[Switches], None]) -> None:
    sandbox = scene.sandbox
    scene.app["token_wait"] = "60s"
    async with gateway(scene.file(), **KEY) as process:
        assert (await process.get("/orders/"))[0] == 200
        hold(sandbox.switches)
        async with scene.rotating() as killed:
            if hold is hold_first_token:
                await arrived(sandbox.token_requests, 2)
            else:
                await arrived(sandbox.secret_requests, 1)
            if hold is hold_new_secret:
                await until(scene.has_cut)
            killed.signal(signal.SIGKILL)
            await killed.ended()
        sandbox.switches.token_gate = sandbox.switches.cut_gate = sandbox.switches.secret_gate = None
        assert scene.has_cut() == (not scene.has_secret()) == (hold is hold_new_secret)
        assert (await process.get("/orders/"))[0] == 200  # with the token that it has
        result = await scene.rotate()
        assert (result.status, result.err) == (0, "")
        assert scene.has_secret()
        assert [*scene.secrets.iterdir()] == [scene.secret_file]
        await scene.renew_token(process)


async def test_rotate_killed_before_it_verifies_has_written_the_secret(scene: Scene) -> None:
    switches = scene.sandbox.switches
    gate = switches.secret_gate = asyncio.Event()
    async with scene.rotating() as killed:
        await until(scene.has_cut)
        switches.token_gate = asyncio.Event()
        before = scene.sandbox.token_requests.total
        gate.set()
        await arrived(scene.sandbox.token_requests, before + 1)
        killed.signal(signal.SIGKILL)
        await killed.ended()
    switches.token_gate = switches.secret_gate = None
    assert scene.has_secret()
    assert (await run("token", "--force", "-c", scene.file(), "app", **KEY)).status == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_rotate_is_not_stopped_after_the_cut(scene: Scene, number: signal.Signals) -> None:
    gate = scene.sandbox.switches.secret_gate = asyncio.Event()
    async with scene.rotating() as process:
        await until(scene.has_cut)
        process.signal(number)
        gate.set()
        assert await process.ended() == 0, process.output_text()
    assert scene.has_secret()


async def test_a_lost_response_is_requested_again(scene: Scene) -> None:
    scene.sandbox.switches.lost_secrets = 1
    assert (await scene.rotate()).status == 0
    assert scene.has_secret()
    assert scene.sandbox.secret_requests.total == 2


async def test_rotate_can_be_repeated_if_no_new_secret_arrived(scene: Scene) -> None:
    scene.sandbox.switches.lost_secrets = 3
    failed = await scene.rotate()
    assert failed.status == 69
    assert "the old secret has ended, and no new one has arrived" in failed.err
    assert (await scene.rotate()).status == 0
    assert scene.has_secret()


async def test_a_secret_that_cannot_be_put_in_place_stays_beside_it(scene: Scene) -> None:
    gate = scene.sandbox.switches.secret_gate = asyncio.Event()
    async with scene.rotating() as process:
        await until(scene.has_cut)
        scene.secret_file.unlink()
        scene.secret_file.mkdir()
        gate.set()
        assert await process.ended() == 69
    [kept] = [file for file in scene.secrets.iterdir() if file.is_file()]
    assert kept.read_text(encoding="utf-8").strip() == scene.sandbox.client_secret
    assert kept.stat().st_mode & 0o7777 == 0o600
    assert f"it is in {kept}, with mode 0600" in process.output_text()


async def test_a_secret_whose_folder_is_gone_is_kept_with_the_state(scene: Scene) -> None:
    gate = scene.sandbox.switches.secret_gate = asyncio.Event()
    async with scene.rotating() as process:
        await until(scene.has_cut)
        for file in scene.secrets.iterdir():
            file.unlink()
        scene.secrets.rmdir()
        gate.set()
        assert await process.ended() == 69
    [kept] = [file for file in scene.state.iterdir() if not file.name.startswith("state.db")]
    assert kept.read_text(encoding="utf-8").strip() == scene.sandbox.client_secret
    assert kept.stat().st_mode & 0o7777 == 0o600
    assert str(kept) in process.output_text()


async def test_all_credentials_of_the_application_get_the_secret(scene: Scene) -> None:
    other = scene.secret("other")
    scene.document["credentials"]["api"] = scene.app | {
        "client_secret": [{"env": "MISSING"}, {"file": str(other)}],
        "scope": scene.sandbox.api_scope,
    }
    assert (await run("rotate", "-c", scene.file(), "app", MISSING="wrong", **KEY)).status == 0
    assert scene.has_secret()
    assert other.read_bytes() == scene.secret_file.read_bytes()


def team_file(scene: Scene, folder: Path) -> Path:
    """Write the file of a team whose credential declares the client of `app`. Return the file of its secret."""
    team = folder / "team"
    team.mkdir()
    secret = team / "secret"
    secret.write_text("of-the-team", encoding="utf-8")
    secret.chmod(0o600)
    written(team, {"credentials": {"theirs": scene.app | {"client_secret": {"file": "secret"}}}}, "team.yaml")
    scene.document["include"] = [{"files": "team/*.yaml", "owner": "team-b"}]
    return secret


async def test_a_team_with_the_same_client_stops_the_rotation(scene: Scene, tmp_path: Path) -> None:
    secret = team_file(scene, tmp_path)
    former = scene.sandbox.client_secret
    result = await scene.rotate()
    assert result.status == 78
    assert "the same client as theirs (owner team-b), which would be cut off" in result.err
    assert "--cut-off-others" in result.err
    assert scene.sandbox.client_secret == former
    assert secret.read_text(encoding="utf-8") == "of-the-team"
    assert [*secret.parent.glob(".*")] == []


async def test_a_team_never_gets_the_new_secret(scene: Scene, tmp_path: Path) -> None:
    secret = team_file(scene, tmp_path)
    result = await scene.rotate("--cut-off-others")
    assert (result.status, result.err) == (0, "")
    assert "Credentials theirs still have the old secret" in result.out
    assert scene.has_secret()
    assert secret.read_text(encoding="utf-8") == "of-the-team"
    assert [*secret.parent.glob(".*")] == []


async def test_a_killed_rotation_names_only_a_new_secret(scene: Scene) -> None:
    del scene.document["state"]  # so that no token for the API is left
    for number, content in enumerate(["", "\0" * 4096, scene.sandbox.client_secret, "half\0\0"]):
        (scene.secrets / f".secret.rotation-{number}").write_text(content, encoding="utf-8")
    scene.sandbox.rotate_secret("a-new-one")
    result = await scene.rotate()
    assert (result.status, "Regenerate the secret in the console" in result.err) == (69, True), result.err
    new = scene.secrets / ".secret.rotation-new"
    new.write_text("a-new-one", encoding="utf-8")
    result = await scene.rotate()
    assert f"Move it into place: `mv {new} {scene.secret_file}`" in result.err


async def test_by_names_the_application_that_may_administer(scene: Scene) -> None:
    scene.sandbox.clients["admin"] = RegisteredClient(secret="of-the-administrator")
    admin = scene.secrets / "admin"
    admin.write_text("of-the-administrator", encoding="utf-8")
    scene.document["credentials"]["admin"] = scene.app | {"client_id": "admin", "client_secret": {"file": str(admin)}}
    assert (await scene.rotate("--by", "admin")).status == 0
    assert scene.has_secret()
    assert admin.read_text(encoding="utf-8") == "of-the-administrator"
    assert scene.sandbox.token_requests[-2].client_id == "admin"


async def test_without_the_role_nothing_is_changed(scene: Scene) -> None:
    scene.sandbox.switches.application_administrator = False
    result = await scene.rotate()
    assert result.status == 69
    assert "nothing was changed" in result.err
    assert "Application Administrator" in result.err
    assert [*scene.secrets.iterdir()] == [scene.secret_file]
    assert scene.has_secret()


async def test_a_file_that_cannot_be_replaced_ends_before_any_request(scene: Scene) -> None:
    scene.app["client_secret"] = {"file": "/proc/sys/kernel/hostname"}
    result = await scene.rotate()
    assert result.status == 69
    assert "nothing was changed: /proc/sys/kernel/hostname cannot be replaced" in result.err
    assert scene.sandbox.token_requests.total == 0


async def test_one_rotation_at_a_time(scene: Scene) -> None:
    gate = scene.sandbox.switches.cut_gate = asyncio.Event()
    async with scene.rotating() as process:
        await arrived(scene.sandbox.secret_requests, 1)
        result = await scene.rotate()
        assert (result.status, "another process changes the secret" in result.err) == (69, True)
        gate.set()
        assert await process.ended() == 0
    assert scene.has_secret()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"client_secret": {"env": "APP_SECRET"}}, "only `file` can be"),
        ({"grant": "authorization_code", "client_auth": "none", "client_secret": None}, "has no client secret"),
    ],
)
async def test_a_secret_that_is_not_in_a_file_is_a_configuration_error(
    scene: Scene, changes: Settings, problem: str
) -> None:
    scene.app.update(changes)
    scene.document["credentials"]["app"] = {key: value for key, value in scene.app.items() if value is not None}
    result = await run("rotate", "-c", scene.file(), "app", APP_SECRET="x", **KEY)
    assert (result.status, problem in result.err) == (78, True), result.err
    assert scene.sandbox.token_requests.total == 0
