import argparse
import asyncio
import json
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
import yaml

from gateway.sandbox.command import add_arguments, parse_listen, run

START = """
import argparse, sys
from gateway.sandbox.command import add_arguments, run
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
    assert {route["path"] for route in config["routes"]} >= {"/orders/", "/echo/", "/hello/"}
    assert {route["credential"] for route in config["routes"]} == {"sandbox"}
    discovery = credential["token_url"].replace("/oauth2/v1/token", "/.well-known/openid-configuration")
    with await asyncio.to_thread(urllib.request.urlopen, discovery) as reply:
        assert json.load(reply)["token_endpoint"] == credential["token_url"]
    process.send_signal(number)
    assert await process.wait() == 0


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
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        assert run(parsed("--listen", listen)) == 69
    assert listen in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--token-lifetime=0", "--token-delay=-1", "--token-delay=nan", "--instance-ids=x"])
def test_a_senseless_option_is_refused(option: str) -> None:
    done = subprocess.run([sys.executable, "-c", START, option], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert option.partition("=")[0] in done.stderr


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(words)
