"""The commands that print and exit: `token`, `probe`, `schema`, `sandbox`, `help`, `version`, `completion`."""

import argparse
import json
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway import __version__
from gateway.cli.commands import COMMANDS, make_parser, parse
from gateway.cli.completion import bash_script, zsh_script
from gateway.cli.options import name_file
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
    assert "there is no credential ap; did you mean app?; the credentials are app" in ended.err


async def test_a_refused_token_is_explained(tmp_path: Path, sandbox: Sandbox) -> None:
    ended = await run("token", "app", "-c", written(tmp_path, settings(sandbox)), APP_SECRET="wrong-secret")
    assert (ended.status, ended.out) == (69, "")
    assert "invalid_client" in ended.err
    assert "→" in ended.err
    assert "wrong-secret" not in ended.err


async def test_probe_distinguishes_ready_from_not_ready(tmp_path: Path, sandbox: Sandbox) -> None:
    file = written(tmp_path, settings(sandbox))
    async with gateway(file, **SECRETS) as gate:
        ready = await run("probe", "--admin", gate.admin)
        assert (ready.status, ready.out) == (0, "ready\n")
        by_variable = await run("probe", OIC_GATEWAY_ADMIN=gate.admin)
        assert by_variable.status == 0
        probed = written(tmp_path, settings(sandbox, admin=gate.admin), "probe.yaml")
        by_file = await run("probe", "-c", probed)  # without the secret, which a health check need not have
        assert by_file.status == 0, by_file.err
    refused = await run("probe", "--admin", gate.admin, "--timeout", "1")
    assert refused.status == 1
    assert gate.admin in refused.out


async def test_probe_names_the_credential_without_a_token(tmp_path: Path, sandbox: Sandbox) -> None:
    async with gateway(written(tmp_path, settings(sandbox)), APP_SECRET="wrong-secret") as gate:
        ended = await run("probe", "--admin", gate.admin)
        alive = await run("probe", "--liveness", "--admin", gate.admin)
    assert ended.status == 1
    assert ended.out.startswith("unready; app: invalid_client")
    assert (alive.status, alive.out) == (0, "alive\n")


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
        [secret] = [row.split("'")[1] for row in box.output_text().splitlines() if "export OIC_SANDBOX_SECRET" in row]
        ended = await run("check", "--live", "-c", file, OIC_SANDBOX_SECRET=secret)
        assert ended.status == 0, ended.out + ended.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_sandbox_ends_well_at_a_signal(number: signal.Signals) -> None:
    async with Process("sandbox", "--listen", "127.0.0.1:0") as box:
        await box.until(lambda: b"/hello/" in box.out)
        box.signal(number)
        assert await box.ended() == 0


@pytest.mark.parametrize("words", [["--version"], ["-V"], ["version"]])
async def test_version_is_printed(words: list[str]) -> None:
    ended = await run(*words)
    assert (ended.status, ended.out) == (0, f"oic-gateway {__version__}\n")


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"]])
async def test_help_lists_every_command(words: list[str]) -> None:
    ended = await run(*words)
    assert ended.status == 0
    for command in COMMANDS:
        assert f"    {command}" in [line[: 4 + len(command)] for line in ended.out.splitlines()]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_example_and_exit_statuses(command: str) -> None:
    text = make_parser(command).format_help()
    [example] = re.findall(r"\nexample:\n  (.+)\n", text)
    words = shlex.split(re.sub(r".*\$\(|\).*| > .*", "", example))
    assert words[0] in {"oic-gateway", "eval"}
    assert command in words[1:2] or f"oic-gateway {command} " in example
    assert re.findall(r"\n  (\d+) +\S", text.partition("exit status:")[2])[0] == "0"
    assert "\n  2   the command line is wrong" in text or command == "init"


async def test_help_of_a_command_is_that_of_its_option() -> None:
    assert (await run("help", "check")).out == (await run("check", "--help")).out


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["serv"], "unknown command serv; did you mean serve?"),
        (["help", "chekc"], "unknown command chekc; did you mean check?"),
        (["CHECK"], "unknown command CHECK; did you mean check?"),
        (["check", "--LIVE"], "unknown option --LIVE; did you mean --live?"),
        (["version", "2"], "unexpected argument: 2"),
        (["help", "check", "2"], "unexpected argument: 2"),
        (["--versoin"], "unknown option --versoin; did you mean --version?"),
        (["-c", "gateway.yaml", "serve"], "unknown option -c; write the command first"),
        ([], "a command is missing"),
        (["check", "--liev"], "unknown option --liev; did you mean --live?"),
        (["check", "--liv"], "unknown option --liv; did you mean --live?"),
        (["serve", "--client-secrt=swordfish"], "unknown option --client-secrt; did you mean --client-secret-file?"),
        (["serve", "--client-secrt", "swordfish"], "unknown option --client-secrt; did you mean --client-secret-file?"),
        (["check", "one.yaml", "two.yaml"], "unexpected argument: two.yaml"),
        (["check", "one.yaml", "-c", "two.yaml"], "two configuration files: one.yaml and two.yaml"),
        (["completion", "fish"], "argument SHELL: invalid choice: 'fish' (choose from"),
    ],
)
async def test_a_wrong_command_line_suggests_the_right_one(words: list[str], problem: str) -> None:
    ended = await run(*words)
    assert (ended.status, ended.out) == (2, "")
    assert problem in ended.err
    assert "swordfish" not in ended.err


async def test_the_file_may_be_an_argument_an_option_or_the_default(tmp_path: Path, sandbox: Sandbox) -> None:
    file = written(tmp_path, settings(sandbox))
    in_folder = ("env", "-C", str(tmp_path))
    ways: tuple[list[str | Path], ...] = (["check", file], ["check", "-c", file], ["check", file, "-c", file])
    for words in ways:
        ended = await run(*words, **SECRETS)
        assert (ended.status, ended.out) == (0, f"{file}: OK: 9 routes, 1 credential\n")
    default = await run("check", under=in_folder, PYTHONPATH=str(ROOT), **SECRETS)
    assert (default.status, default.out) == (0, "gateway.yaml: OK: 9 routes, 1 credential\n"), default.err
    token = await run("token", "--force", "app", "--claims", file, **SECRETS)  # an option between two arguments
    assert token.status == 0, token.err
    only = await run("token", "-c", file, **SECRETS)
    assert only.out.count(".") == 2


async def test_a_lone_file_needs_no_name_or_id_before_it(tmp_path: Path, sandbox: Sandbox) -> None:
    file = written(tmp_path, settings(sandbox, admin="127.0.0.1:1"))
    assert (await run("token", file, **SECRETS)).out.count(".") == 2
    missing = tmp_path / "missing.yml"
    for command in ("token", "login", "logout", "instances"):
        ended = await run(command, missing)
        assert ended.status == 78, command
        assert ended.err.startswith(f"{missing}: does not exist"), command
    signed_in = await run("login", file, **SECRETS)
    assert "authorization_code" in signed_in.err


def test_remedies_add_the_file_to_each_command_that_reads_one() -> None:
    for command in COMMANDS:
        options = parse(command, ["-c", "gw.yaml"]) if reads_file(command) else argparse.Namespace(config="gw.yaml")
        options.command = "check"
        shown = f"`oic-gateway {command} -c gw.yaml`" if reads_file(command) else f"`oic-gateway {command}`"
        assert name_file(f"`oic-gateway {command}`", options) == shown


def reads_file(command: str) -> bool:
    return any("--config" in action.option_strings for action in make_parser(command)._actions)


async def test_check_and_token_work_for_one_route_without_a_file(sandbox: Sandbox) -> None:
    variables = {"OIC_GATEWAY_CLIENT_SECRET": sandbox.client_secret, "OIC_GATEWAY_SCOPE": sandbox.scope}
    flags = [
        "--upstream",
        sandbox.upstream("ORDERS"),
        "--token-url",
        sandbox.token_url,
        "--client-id",
        sandbox.client_id,
    ]
    checked = await run("check", "--live", *flags, **variables)
    assert checked.status == 0, checked.out + checked.err
    assert checked.out.endswith("one route without a file: OK: 1 route, 1 credential\n")
    assert (await run("token", *flags, **variables)).out.count(".") == 2
    login = await run("login", *flags, **variables)
    assert login.status == 78
    assert "authorization_code" in login.err


async def test_a_wrong_variable_is_named_not_its_option(sandbox: Sandbox) -> None:
    flags = ["--token-url", sandbox.token_url, "--client-id", "app"]
    wrong = await run("check", *flags, OIC_GATEWAY_UPSTREAM="oic.example.com", OIC_GATEWAY_CLIENT_SECRET=" ")
    assert wrong.status == 78
    assert [line.split(": ")[0] for line in sorted(wrong.err.splitlines())] == [
        "OIC_GATEWAY_CLIENT_SECRET",
        "OIC_GATEWAY_UPSTREAM",
    ]


async def test_an_unknown_variable_is_an_error(tmp_path: Path, sandbox: Sandbox) -> None:
    problem = "OIC_GATEWAY_UPSTREM: is not a variable of the gateway; did you mean OIC_GATEWAY_UPSTREAM?"
    file = written(tmp_path, settings(sandbox))
    for words in (["check", file], ["serve"], ["probe"], ["probe", file], ["check", "--client-id", "app"]):
        ended = await run(*words, OIC_GATEWAY_UPSTREM="https://oic.example/", **SECRETS)
        assert (ended.status, ended.out) == (78, ""), words
        assert problem in ended.err.splitlines(), words


async def test_variables_of_secrets_and_of_kubernetes_are_not_unknown(tmp_path: Path, sandbox: Sandbox) -> None:
    document = settings(sandbox)
    document["credentials"]["app"]["client_secret"] = {"env": "OIC_GATEWAY_ORDERS"}
    links = {
        "OIC_GATEWAY_SERVICE_HOST": "10.0.0.1",
        "OIC_GATEWAY_SERVICE_PORT_HTTP": "8080",
        "OIC_GATEWAY_PORT": "tcp://10.0.0.1:8080",
        "OIC_GATEWAY_PORT_8080_TCP_ADDR": "10.0.0.1",
        "OIC_GATEWAY_ADMIN_PORT": "tcp://10.0.0.2:9090",
    }
    ended = await run("check", written(tmp_path, document), OIC_GATEWAY_ORDERS=sandbox.client_secret, **links)
    assert (ended.status, ended.err) == (0, "")


async def test_remedies_name_the_file_of_the_command_line(tmp_path: Path, sandbox: Sandbox) -> None:
    document = settings(sandbox, state={"path": str(tmp_path / "tokens"), "keys": [{"env": "KEY"}], "timeout": "20s"})
    document["credentials"]["app"] |= {"grant": "authorization_code", "redirect_uri": "http://127.0.0.1/callback"}
    file = written(tmp_path, document)
    secrets = {**SECRETS, "KEY": "00" * 32}
    ways: tuple[list[str | Path], ...] = (["token", "app", file], ["token", "app", "-c", file])
    for words in ways:
        ended = await run(*words, **secrets)
        assert ended.status == 69, ended.err
        assert f"`oic-gateway login app -c {file}`" in ended.err
    by_variable = await run("token", "app", OIC_GATEWAY_CONFIG=str(file), **secrets)
    assert "`oic-gateway login app`" in by_variable.err


BASH = """
source <(printf %s "$SCRIPT")
COMP_WORDS=(oic-gateway $1 "$2")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_oic_gateway
printf '%s\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("before", "word", "expected"),
    [
        ("", "sc", ["schema"]),
        ("check", "--l", ["--listen", "--live"]),
        ("help", "log", ["login", "logout"]),
        ("completion", "", ["bash", "zsh"]),
        ("sandbox --instance-ids", "n", ["none"]),
        ("check -c", "gateway/errors", ["gateway/errors.py"]),
        ("check", "gateway/errors", ["gateway/errors.py"]),
        ("serve --scope", "gateway/errors", [""]),
    ],
)
def test_bash_completes_commands_options_and_files(before: str, word: str, expected: list[str]) -> None:
    command = ["bash", "--norc", "-c", BASH, "bash", before, word]
    variables = {"SCRIPT": bash_script(), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=variables,
        capture_output=True,
        check=True,
        text=True,
    )
    assert [row for row in done.stdout.splitlines() if word != "" or row in expected] == expected
    assert done.stderr == ""


def test_zsh_accepts_the_completion_script() -> None:
    script = "autoload -Uz compinit; compinit -D; source /dev/stdin; whence -w _oic_gateway; print $_comps[oic-gateway]"
    done = subprocess.run(["zsh", "-f", "-c", script], input=zsh_script(), capture_output=True, check=True, text=True)
    assert (done.stdout, done.stderr) == ("_oic_gateway: function\n_oic_gateway\n", "")


@pytest.mark.parametrize("shell", ["bash", "zsh"])
async def test_completion_prints_a_script_with_every_option(shell: str) -> None:
    ended = await run("completion", shell)
    assert ended.status == 0
    for command in COMMANDS:
        assert command in ended.out
        for action in make_parser(command)._actions:
            for flag in action.option_strings if action.help != "==SUPPRESS==" else ():
                assert flag in ended.out


def test_the_installed_command_is_the_same_program() -> None:
    assert (Path(sys.executable).parent / "oic-gateway").exists()
