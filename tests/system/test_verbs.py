"""The verbs that ask, print and end: `token`, `probe`, `schema`, `sandbox`, `--version`; test_signin has two more."""

import json
import signal
import sys
from pathlib import Path

import pytest

from gateway import __version__
from gateway.sandbox import Sandbox, Switches
from tests.fakes.process import ROOT, Process, gateway, run
from tests.system.scene import SECRETS, settings, written


async def test_token_prints_a_token_that_opens_oic(tmp_path: Path, sandbox: Sandbox) -> None:
    ended = await run("token", "app", "-c", written(tmp_path, settings(sandbox)), **SECRETS)
    assert ended.status == 0
    [token] = ended.out.splitlines()
    assert token.count(".") == 2
    assert len(sandbox.token_requests) == 1


async def test_token_claims_decodes_it(tmp_path: Path) -> None:
    async with Sandbox(switches=Switches(token_lifetime=600)) as sandbox:
        ended = await run("token", "--claims", "app", "-c", written(tmp_path, settings(sandbox)), **SECRETS)
    claims = json.loads(ended.out)
    assert ended.status == 0
    assert claims["client_id"] == sandbox.client_id
    assert claims["aud"] + claims["scope"] == sandbox.scope
    assert 580 < claims["expires_in_s"] <= 600


async def test_token_of_an_unknown_name_lists_those_that_there_are(tmp_path: Path, sandbox: Sandbox) -> None:
    ended = await run("token", "ap", "-c", written(tmp_path, settings(sandbox)), **SECRETS)
    assert (ended.status, ended.out) == (78, "")
    assert "no credential is called ap; there are: app" in ended.err


async def test_token_that_is_refused_says_why(tmp_path: Path, sandbox: Sandbox) -> None:
    ended = await run("token", "app", "-c", written(tmp_path, settings(sandbox)), APP_SECRET="wrong-secret")
    assert (ended.status, ended.out) == (69, "")
    assert "invalid_client" in ended.err
    assert "→" in ended.err
    assert "wrong-secret" not in ended.err


async def test_probe_tells_ready_from_not(tmp_path: Path, sandbox: Sandbox) -> None:
    file = written(tmp_path, settings(sandbox))
    async with gateway(file, **SECRETS) as gate:
        ready = await run("probe", "--admin", gate.admin)
        assert (ready.status, ready.out) == (0, "ready\n")
        by_variable = await run("probe", OIC_GATEWAY_ADMIN=gate.admin)
        assert by_variable.status == 0
        probed = written(tmp_path, settings(sandbox, admin=gate.admin), "probe.yaml")
        by_file = await run("probe", "-c", probed)  # without the secret, which a health check need not have
        assert by_file.status == 0, by_file.err
    gone = await run("probe", "--admin", gate.admin, "--timeout", "1")
    assert gone.status == 1
    assert gate.admin in gone.out


async def test_probe_says_which_credential_has_no_token(tmp_path: Path, sandbox: Sandbox) -> None:
    async with gateway(written(tmp_path, settings(sandbox)), APP_SECRET="wrong-secret") as gate:
        ended = await run("probe", "--admin", gate.admin)
    assert ended.status == 1
    assert ended.out.startswith("unready; app: invalid_client")


async def test_check_speaks_to_machines_too(tmp_path: Path, sandbox: Sandbox) -> None:
    ended = await run("check", "--json", "-c", written(tmp_path, settings(sandbox)), **SECRETS)
    assert (ended.status, json.loads(ended.out), ended.err) == (0, {"ok": True, "findings": []}, "")
    assert not sandbox.token_requests


async def test_schema_is_the_one_that_is_shipped() -> None:
    ended = await run("schema")
    assert ended.status == 0
    assert ended.out == (ROOT / "config" / "schema.json").read_text(encoding="utf-8")
    assert json.loads(ended.out)["type"] == "object"


async def test_sandbox_prints_a_configuration_that_check_accepts(tmp_path: Path) -> None:
    async with Process("sandbox", "--listen", "127.0.0.1:0") as box:
        await box.until(lambda: b"/hello/" in box.out and box.out.endswith(b"credential: sandbox\n"))
        file = tmp_path / "sandbox.yaml"
        file.write_bytes(box.out)
        [secret] = [row.split("'")[1] for row in box.told().splitlines() if "export OIC_SANDBOX_SECRET" in row]
        ended = await run("check", "--live", "-c", file, OIC_SANDBOX_SECRET=secret)
        assert ended.status == 0, ended.out + ended.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_sandbox_ends_well_at_a_signal(number: signal.Signals) -> None:
    async with Process("sandbox", "--listen", "127.0.0.1:0") as box:
        await box.until(lambda: b"/hello/" in box.out)
        box.signal(number)
        assert await box.ended() == 0


async def test_the_version_is_told() -> None:
    ended = await run("--version")
    assert (ended.status, ended.out) == (0, f"oic-gateway {__version__}\n")


async def test_help_names_every_verb() -> None:
    ended = await run("--help")
    assert ended.status == 0
    for verb in ("serve", "check", "token", "login", "logout", "init", "sandbox", "probe", "instances", "schema"):
        assert f"    {verb}" in [line[: 4 + len(verb)] for line in ended.out.splitlines()]


async def test_a_misspelt_verb_is_a_usage_error() -> None:
    ended = await run("serv")
    assert ended.status == 2
    assert "invalid choice" in ended.err


def test_the_installed_command_is_the_same_program() -> None:
    assert (Path(sys.executable).parent / "oic-gateway").exists()
