import argparse
import asyncio
import json
import signal
import socket
import stat
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import yaml

from gateway.cli.sandbox import add_arguments, parse_listen, read_switches, run
from gateway.sandbox import DEFAULT_SECRET

START = """
import argparse, sys
from gateway.cli.sandbox import add_arguments, run
parser = argparse.ArgumentParser()
add_arguments(parser)
sys.exit(run(parser.parse_args()))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_prints_a_fitting_config_and_stops_cleanly(number: signal.Signals) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", START, "--listen", "127.0.0.1:0", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    text = b""
    while b"/flows/soap/HELLO/1.0/\n    credential: sandbox\n" not in text:
        text += await process.stdout.readline()
    config = yaml.safe_load(text)
    credential = config["credentials"]["sandbox"]
    assert credential["client_secret"] == {"env": "OIC_SANDBOX_SECRET"}
    assert credential["scope"].endswith(":443urn:opc:resource:consumer::all")
    assert config["credentials"]["sandbox-api"]["scope"].endswith(":443/ic/api/")
    routes = {route["path"]: route for route in config["routes"]}
    assert set(routes) >= {"/orders/", "/echo/", "/hello/", "/project/", "/big/", "/developer/"}
    developer = routes.pop("/developer/")
    assert developer["query"] == {"set": {"integrationInstance": "demo"}}
    assert developer["design"].startswith("http://localhost:")
    assert (developer["credential"], {route["credential"] for route in routes.values()}) == ("sandbox-api", {"sandbox"})
    discovery = credential["token_url"].replace("/oauth2/v1/token", "/.well-known/openid-configuration")
    with await asyncio.to_thread(urllib.request.urlopen, discovery) as reply:
        assert json.load(reply)["token_endpoint"] == credential["token_url"]
    process.send_signal(number)
    assert await process.wait() == 0


async def test_a_folder_that_is_named_has_what_is_printed(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        START,
        *("--listen", "127.0.0.1:0", "--folder", str(folder)),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    first = await process.stdout.readline()
    written = (folder / "sandbox.yaml").read_text(encoding="utf-8")
    for name in ("sandbox.yaml", "client-secret"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    assert (folder / "client-secret").read_text(encoding="utf-8") == DEFAULT_SECRET
    assert yaml.safe_load(written)["credentials"]["sandbox"]["client_secret"] == {"file": str(folder / "client-secret")}
    assert f"oic-gateway serve -c {folder}/sandbox.yaml" in written
    checked = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "check", "--live", "-c", str(folder / "sandbox.yaml"))
    )
    assert await checked.wait() == 0
    process.send_signal(signal.SIGTERM)
    rest, _ = await process.communicate()
    assert (first + rest).decode() == written


@pytest.mark.parametrize(
    ("listen", "address"),
    [("127.0.0.1:1", ("127.0.0.1", 1)), ("[::1]:2", ("::1", 2)), ("localhost:3", ("127.0.0.1", 3))],
)
def test_loopback_addresses_are_taken(listen: str, address: tuple[str, int]) -> None:
    assert parse_listen(listen) == address


@pytest.mark.parametrize("listen", ["0.0.0.0:1", "10.0.0.1:1", "example.com:1", "127.0.0.1", ":1", "127.0.0.1:65536"])
def test_other_addresses_are_refused_with_the_remedy(listen: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(parsed("--listen", listen)) == 78
    assert "127.0.0.1" in capsys.readouterr().err


def test_an_address_in_use_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listen = f"127.0.0.1:{listener.getsockname()[1]}"
        assert run(parsed("--listen", listen)) == 69
    assert listen in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--token-lifetime=0", "--token-delay=-1", "--token-delay=nan", "--instance-ids=x"])
def test_a_senseless_option_is_refused(option: str) -> None:
    done = subprocess.run([sys.executable, "-c", START, option], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert option.partition("=")[0] in done.stderr


async def test_a_switch_is_set_from_outside() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        START,
        *("--listen", "127.0.0.1:0", "--set", "jwks_open=true", "--set=application=inactive"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    origin = (await process.stdout.readline()).decode().split()[-1]
    with await asyncio.to_thread(urllib.request.urlopen, f"{origin}/admin/v1/SigningCert/jwk") as reply:
        assert json.load(reply)["keys"]
    process.send_signal(signal.SIGTERM)
    await process.communicate()
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("word", "explained"),
    [("aplication=inactive", "  application=active, inactive\n"), ("drops=few", "drops cannot be 'few'")],
)
def test_a_switch_that_there_is_not_is_explained(word: str, explained: str) -> None:
    done = subprocess.run([sys.executable, "-c", START, "--set", word], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert explained in done.stderr


def test_a_switch_counts_more_than_an_option() -> None:
    args = parsed("--set", "token_lifetime=5", "--token-lifetime", "7", "--set", "token_lifetime=6")
    assert read_switches(args) == {"token_lifetime": 6}
    assert read_switches(parsed("--token-lifetime", "7")) == {"token_lifetime": 7}
    assert read_switches(parsed()) == {}


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(words)
