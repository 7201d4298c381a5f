"""`serve`: from a file, from flags, from variables; where it listens; what it refuses to start with."""

import asyncio
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.sandbox import DEFAULT_SECRET, Sandbox
from tests.fakes.process import CompletedVerb, Process, gateway, run
from tests.fakes.waiting import wait_until
from tests.system.scene import SECRETS, before, settings, simple, written


def flags(sandbox: Sandbox, secret_file: Path) -> list[str]:
    return [
        *("--upstream", sandbox.upstream("ORDERS"), "--token-url", sandbox.token_url),
        *("--client-id", sandbox.client_id, "--client-secret-file", str(secret_file), "--scope", sandbox.scope),
        *("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"),
    ]


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.write_text(f"{DEFAULT_SECRET}\n", encoding="utf-8")
    return file


async def test_one_route_from_flags(secret_file: Path, sandbox: Sandbox) -> None:
    async with Process("serve", *flags(sandbox, secret_file)) as gate:
        await gate.wait_started()
        status, _, body = await gate.get("/")
        assert status == 200
        assert b"hydraulic pump" in body
        [record] = await gate.wait_for_records()
        assert (record["route"], record["credential"]) == ("default", "default")


async def test_one_route_from_variables(sandbox: Sandbox) -> None:
    variables = {
        "OIC_GATEWAY_UPSTREAM": sandbox.upstream("ORDERS"),
        "OIC_GATEWAY_TOKEN_URL": sandbox.token_url,
        "OIC_GATEWAY_CLIENT_ID": sandbox.client_id,
        "OIC_GATEWAY_CLIENT_SECRET": DEFAULT_SECRET,
        "OIC_GATEWAY_SCOPE": sandbox.scope,
        "OIC_GATEWAY_LISTEN": "127.0.0.1:0",
        "OIC_GATEWAY_ADMIN": "127.0.0.1:0",
    }
    async with Process("serve", **variables) as gate:
        await gate.wait_started()
        assert (await gate.get("/"))[0] == 200


async def test_a_secret_file_from_a_variable(secret_file: Path, sandbox: Sandbox) -> None:
    options = flags(sandbox, secret_file)
    at = options.index("--client-secret-file")
    del options[at : at + 2]
    async with Process("serve", *options, OIC_GATEWAY_CLIENT_SECRET_FILE=str(secret_file)) as gate:
        await gate.wait_started()
        assert (await gate.get("/"))[0] == 200


async def test_the_file_from_a_variable(tmp_path: Path, sandbox: Sandbox) -> None:
    file = written(tmp_path, settings(sandbox))
    async with Process("serve", OIC_GATEWAY_CONFIG=str(file), **SECRETS) as gate:
        await gate.wait_started()
        assert (await gate.get("/orders/"))[0] == 200


async def test_no_flag_takes_the_secret_itself(sandbox: Sandbox, secret_file: Path) -> None:
    for options in (["--client-secret", DEFAULT_SECRET], [f"--client-secret={DEFAULT_SECRET}"]):
        ended = await run("serve", *flags(sandbox, secret_file), *options)
        assert (ended.status, ended.out) == (2, "")
        assert "use --client-secret-file or OIC_GATEWAY_CLIENT_SECRET" in ended.err
        assert DEFAULT_SECRET not in ended.err


async def test_missing_flags_are_named(secret_file: Path) -> None:
    ended = await run("serve", "--client-id", "app")
    assert ended.status == 78
    for flag in ("--upstream", "--token-url", "--client-secret-file"):
        assert flag in ended.err
    assert "--client-id," not in ended.err
    assert "OIC_GATEWAY_" in ended.err


async def test_flags_beside_a_file_are_not_silently_dropped(tmp_path: Path, sandbox: Sandbox) -> None:
    file = written(tmp_path, settings(sandbox))
    for variables in ({}, {"OIC_GATEWAY_CONFIG": str(file)}):
        named = [] if variables else ["-c", str(file)]
        ended = await run("serve", *named, "--listen", "127.0.0.1:0", "--allow", "10.0.0.0/8", **SECRETS, **variables)
        assert (ended.status, ended.out) == (78, "")
        lines = ended.err.splitlines()
        assert lines == [
            f"--listen: has no effect beside {file}; remove it, or set `listen` in the file",
            f"--allow: has no effect beside {file}; remove it, or set `allow` in the file",
        ]


async def test_an_open_address_by_flag_needs_allow_too(sandbox: Sandbox, secret_file: Path) -> None:
    opened = [*flags(sandbox, secret_file), "--listen", "0.0.0.0:0"]
    ended = await run("serve", *opened)
    assert ended.status == 78
    assert ended.err.startswith("--listen: can be reached from other machines")
    async with Process("serve", *opened, OIC_GATEWAY_ALLOW="192.0.2.0/24, 198.51.100.0/24") as gate:
        await gate.wait_started()
        assert gate.listen.startswith("0.0.0.0:")


async def test_a_flag_with_a_mistake_is_named(sandbox: Sandbox, secret_file: Path) -> None:
    ended = await run("serve", *flags(sandbox, secret_file), "--upstream", "oic.example.com")
    assert ended.status == 78
    assert ended.err.startswith("--upstream: ")


def command_line(pid: int) -> bytes:
    """What every process of the machine can read."""
    return Path(f"/proc/{pid}/cmdline").read_bytes()


async def test_the_secret_is_not_in_the_command_line(secret_file: Path, sandbox: Sandbox) -> None:
    async with Process("serve", *flags(sandbox, secret_file)).fresh() as gate:
        await gate.wait_started()
        assert (await gate.get("/"))[0] == 200
        command = command_line(gate.pid)
        assert str(secret_file).encode() in command
        assert DEFAULT_SECRET.encode() not in command


@pytest.mark.parametrize("port", ["listen", "admin"])
async def test_a_port_that_is_taken_ends_it(tmp_path: Path, sandbox: Sandbox, port: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        ended = await run("serve", "-c", written(tmp_path, settings(sandbox, **{port: address})), **SECRETS)
    assert ended.status == 69
    assert '"event":"not-started"' in ended.out
    assert f"cannot listen on {address}: Address already in use" in ended.out
    assert "Traceback" not in ended.out + ended.err


async def refused(file: Path) -> CompletedVerb:
    ended = await run("serve", "-c", file, **SECRETS)
    assert (ended.status, ended.out) == (78, "")
    return ended


async def test_an_open_address_without_allow_is_an_error(tmp_path: Path, sandbox: Sandbox) -> None:
    ended = await refused(written(tmp_path, settings(sandbox, listen="0.0.0.0:0")))
    assert "gateway.yaml:2: listen: " in ended.err
    assert "add `allow: [10.0.0.0/8]` with your networks, or use 127.0.0.1" in ended.err


async def test_an_open_address_with_allow_serves(tmp_path: Path, sandbox: Sandbox) -> None:
    file = written(tmp_path, settings(sandbox, listen="0.0.0.0:0", allow=["192.0.2.0/24"]))
    async with gateway(file, **SECRETS) as gate:
        port = gate.listen.rpartition(":")[2]
        assert (await gate.get("/orders/", address=f"127.0.0.1:{port}"))[0] == 200


async def test_an_unset_or_empty_secret_variable_stops_the_start(tmp_path: Path, sandbox: Sandbox) -> None:
    for variables in ({}, {"APP_SECRET": ""}):
        ended = await run("serve", "-c", written(tmp_path, settings(sandbox)), **variables)
        assert ended.status == 78
        assert "APP_SECRET" in ended.err
    assert not sandbox.token_requests


async def test_a_unix_socket(tmp_path: Path, sandbox: Sandbox) -> None:
    path = tmp_path / "gate.sock"
    async with before(tmp_path, sandbox, listen=f"unix:{path}") as gate:
        assert gate.listen == f"unix:{path}"
        assert (await gate.get("/orders/"))[0] == 200
        [record] = await gate.wait_for_records()
        assert record["client"] is None
    assert not path.exists()


async def test_a_unix_socket_left_by_a_killed_process_is_taken_over(tmp_path: Path, sandbox: Sandbox) -> None:
    path = tmp_path / "gate.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    async with before(tmp_path, sandbox, listen=f"unix:{path}") as gate:
        assert (await gate.get("/orders/"))[0] == 200


async def test_the_admin_port_may_be_a_unix_socket_too(tmp_path: Path, sandbox: Sandbox) -> None:
    path = tmp_path / "admin.sock"
    async with before(tmp_path, sandbox, admin=f"unix:{path}") as gate:
        assert (await gate.ask("/readyz"))[0] == 200
        assert (await run("probe", "--admin", f"unix:{path}")).status == 0


@pytest.mark.parametrize("workers", [1, 2])
async def test_livez_waits_until_callers_can_connect(tmp_path: Path, sandbox: Sandbox, workers: int) -> None:
    """A start-up probe lets the callers of a pod start."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        listen = f"127.0.0.1:{free.getsockname()[1]}"
    admin = f"unix:{tmp_path}/admin"
    file = written(tmp_path, settings(sandbox, workers=workers, listen=listen, admin=admin))
    async with Process("serve", "-c", file, **SECRETS) as gate:

        async def is_alive() -> bool:
            await asyncio.sleep(0)
            with suppress(FileNotFoundError, ConnectionRefusedError):  # until the admin port is open
                return (await gate.get("/livez", address=admin))[0] == 200
            return False

        await wait_until(is_alive)
        assert (await gate.get("/orders/", address=listen))[0] == 200
        await gate.wait_started()


async def test_ipv6_loopback(tmp_path: Path, sandbox: Sandbox) -> None:
    document = simple(sandbox.token_url, sandbox.upstream("ORDERS"), listen="[::1]:0", admin="[::1]:0")
    document["credentials"]["app"]["scope"] = sandbox.scope
    async with gateway(written(tmp_path, document), **SECRETS) as gate:
        assert gate.listen.startswith("[::1]:")
        port = int(gate.listen.rpartition(":")[2])
        assert (await gate.get("/orders/", address=f"::1:{port}"))[0] == 200


async def test_the_admin_paths_are_not_among_the_proxied_ones(tmp_path: Path, sandbox: Sandbox) -> None:
    async with gateway(written(tmp_path, simple(sandbox.token_url, sandbox.upstream("ORDERS"))), **SECRETS) as gate:
        for path in ("/livez", "/readyz", "/metrics", "/status"):
            assert (await gate.get(path))[0] == 404
        assert (await gate.get("/orders/", address=gate.admin))[0] == 404


async def test_status_and_metrics_count_calls_and_hide_secrets(tmp_path: Path, sandbox: Sandbox) -> None:
    async with before(tmp_path, sandbox) as gate:
        await gate.get("/orders/")
        await gate.wait_for_records()
        _, status = await gate.ask("/status")
        assert status["credentials"]["app"]["state"] == "fresh"
        assert status["credentials"]["app"]["fetches"] == {"ok": 1, "refused": 0, "unavailable": 0}
        assert [route["name"] for route in status["routes"]][:2] == ["orders", "echo"]
        _, _, metrics = await gate.get("/metrics", address=gate.admin)
        counted = b'oic_gateway_requests_total{blame="none",method="GET",route="orders",status="2xx"} 1.0'
        assert counted in metrics
        assert DEFAULT_SECRET not in str(status) + metrics.decode()
        assert "eyJ" not in str(status) + metrics.decode()
