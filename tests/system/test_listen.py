"""Where the gateway listens: nothing of others is removed for a unix socket, and a name is all of its addresses."""

import asyncio
import socket
from pathlib import Path

import pytest

from gateway.sandbox import Sandbox
from tests.fakes.process import Process, request
from tests.system.scene import SECRETS, before, settings, written

KEYS = ["listen", "admin"]


async def refusal(folder: Path, sandbox: Sandbox, **more: str | int) -> str:
    """What a gateway says that cannot listen."""
    async with Process("serve", "-c", written(folder, settings(sandbox, **more), "second.yaml"), **SECRETS) as gate:
        [line] = await gate.wait_for_events("not-started")
        assert await gate.ended() == 69
        return str(line["message"])


@pytest.mark.parametrize("key", KEYS)
async def test_an_ordinary_file_is_left_alone(tmp_path: Path, sandbox: Sandbox, key: str) -> None:
    file = tmp_path / "precious"
    file.write_text("keep me", encoding="utf-8")
    message = await refusal(tmp_path, sandbox, **{key: f"unix:{file}"})
    assert message.startswith(f"cannot listen on unix:{file}: a file that is not a socket has this name")
    assert file.read_text(encoding="utf-8") == "keep me"


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("target", ["file", "socket", "nothing"])
async def test_a_symbolic_link_is_left_alone(tmp_path: Path, sandbox: Sandbox, key: str, target: str) -> None:
    file, link = tmp_path / "there", tmp_path / "link"
    if target == "file":
        file.write_text("keep me", encoding="utf-8")
    elif target == "socket":
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(file))
    link.symlink_to(file)
    assert "not a socket" in await refusal(tmp_path, sandbox, **{key: f"unix:{link}"})
    assert link.is_symlink()
    assert file.exists() is (target != "nothing")


@pytest.mark.parametrize("workers", [1, 2])
async def test_the_socket_of_a_running_gateway_is_not_taken(tmp_path: Path, sandbox: Sandbox, workers: int) -> None:
    path = tmp_path / "gw.sock"
    async with before(tmp_path, sandbox, listen=f"unix:{path}", workers=workers) as gate:
        message = await refusal(tmp_path, sandbox, listen=f"unix:{path}", workers=workers)
        assert message.startswith(f"cannot listen on unix:{path}: another process listens on this socket")
        assert (await gate.get("/orders/"))[0] == 200
    assert not path.exists()


async def test_an_admin_socket_in_use_is_not_removed(tmp_path: Path, sandbox: Sandbox) -> None:
    path = tmp_path / "admin.sock"
    async with before(tmp_path, sandbox, admin=f"unix:{path}") as gate:
        assert "another process listens" in await refusal(tmp_path, sandbox, admin=f"unix:{path}")
        assert (await gate.ask("/livez"))[0] == 200
    assert not path.exists()


@pytest.mark.parametrize("key", KEYS)
async def test_a_stop_removes_no_socket_of_another(tmp_path: Path, sandbox: Sandbox, key: str) -> None:
    path = tmp_path / "gw.sock"
    with socket.socket(socket.AF_UNIX) as other:
        async with before(tmp_path, sandbox, **{key: f"unix:{path}"}):
            path.unlink()
            other.bind(str(path))
        assert path.is_socket()


@pytest.mark.parametrize("key", KEYS)
async def test_a_dead_socket_is_replaced(tmp_path: Path, sandbox: Sandbox, key: str) -> None:
    path = tmp_path / "gw.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with before(tmp_path, sandbox, **{key: f"unix:{path}"}) as gate:
        where, target = (gate.listen, "/orders/") if key == "listen" else (gate.admin, "/livez")
        assert (await gate.get(target, address=where))[0] == 200


async def test_a_half_closed_caller_of_a_unix_socket_is_answered(tmp_path: Path, sandbox: Sandbox) -> None:
    sandbox.switches.slow_gate = asyncio.Event()
    async with before(tmp_path, sandbox, listen=f"unix:{tmp_path}/gw") as gate:
        stays, leaves = await gate.caller(), await gate.caller()
        for caller in (stays, leaves):
            await caller.send(request("/slow/1"))
            caller.writer.write_eof()
        await sandbox.calls.reached(2)
        leaves.close()
        [record] = await gate.wait_for_records()
        assert (record["status"], record["error"]) == (499, "caller-gone")
        sandbox.switches.slow_gate.set()
        assert (await stays.reply())[0] == 200


@pytest.mark.parametrize("workers", [1, 2])
async def test_localhost_is_both_loopback_addresses(tmp_path: Path, sandbox: Sandbox, workers: int) -> None:
    async with before(tmp_path, sandbox, listen="localhost:0", admin="localhost:0", workers=workers) as gate:
        for address, target in ((gate.listen, "/orders/"), (gate.admin, "/livez")):
            name, _, port = address.rpartition(":")
            assert name == "localhost"
            for host in ("127.0.0.1", "::1"):
                with socket.create_connection((host, int(port))) as caller:
                    await asyncio.to_thread(caller.sendall, request(target, "Connection: close"))
                    assert await asyncio.to_thread(caller.makefile("rb").readline) == b"HTTP/1.1 200 OK\r\n"


async def test_a_port_taken_on_one_address_is_taken(tmp_path: Path, sandbox: Sandbox) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        port = listener.getsockname()[1]
        message = await refusal(tmp_path, sandbox, listen=f"localhost:{port}")
    assert message.startswith(f"cannot listen on localhost:{port}: Address already in use")
