"""systemd's protocols: notifications, the watchdog, passed sockets, credentials; and its unit files in `deploy`."""

import asyncio
import fcntl
import re
import signal
import socket
from contextlib import closing
from pathlib import Path

import pytest

from gateway.sandbox import Sandbox
from tests.fakes.load import fill_backlog, read_status
from tests.fakes.process import ROOT, Process, request, run_command
from tests.fakes.waiting import TIME_LIMIT
from tests.system.scene import SECRETS, settings, written

PASS_SOCKETS = 'LISTEN_PID=$$ LISTEN_FDS=$0 exec "$@" {redirections}'


class NotifySocket:
    """The service manager's end: `messages` are the variables of each datagram in their order.

    `name` is the value of NOTIFY_SOCKET; an empty path lets the kernel choose an abstract name.
    """

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(0)
        self._socket.bind(path)
        self.name = path or "@" + self._socket.getsockname()[1:].decode()
        self.messages: list[dict[str, str]] = []

    async def next(self, key: str) -> dict[str, str]:
        """Wait for the next message with this variable."""
        async with asyncio.timeout(TIME_LIMIT):
            while True:
                datagram = await asyncio.get_running_loop().sock_recv(self._socket, 4096)
                message = dict(line.split("=", 1) for line in datagram.decode().split("\n"))
                self.messages.append(message)
                if key in message:
                    return message

    def close(self) -> None:
        self._socket.close()


def passing(file: Path, *sockets: socket.socket, **variables: str) -> Process:
    """`serve` with these sockets as descriptors 3, 4, …, as a service manager starts it."""
    numbers = [sock.fileno() for sock in sockets]
    # From high numbers first, so that no descriptor is overwritten before it is copied.
    redirections = " ".join(f"{3 + place}<&{number}" for place, number in enumerate(numbers))
    command = PASS_SOCKETS.format(redirections=redirections)
    shell = ("bash", "-c", command, str(len(numbers)))
    return Process("serve", "-c", file, **variables, **SECRETS).under(shell).inheriting(*numbers)


def high(sock: socket.socket) -> socket.socket:
    """The same socket under a number that no redirection overwrites."""
    return socket.socket(fileno=fcntl.fcntl(sock.detach(), fcntl.F_DUPFD_CLOEXEC, 50))


def listening(address: str = "127.0.0.1") -> socket.socket:
    return high(socket.create_server((address, 0)))


def address_of(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"{host}:{port}"


@pytest.mark.parametrize("workers", [1, 2])
async def test_start_reload_and_stop_are_notified(tmp_path: Path, sandbox: Sandbox, workers: int) -> None:
    file = written(tmp_path, settings(sandbox, workers=workers, drain="7s"))
    with closing(NotifySocket(f"{tmp_path}/notify")) as manager:
        variables = {"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "200000", **SECRETS}
        async with Process("serve", "-c", file, **variables) as gate:
            ready = await manager.next("READY")
            await gate.wait_started()
            assert ready == {"READY": "1", "STATUS": f"listening on {gate.listen}"}
            for _ in range(3):
                assert await manager.next("WATCHDOG") == {"WATCHDOG": "1"}
            gate.signal(signal.SIGHUP)
            assert int((await manager.next("RELOADING"))["MONOTONIC_USEC"]) > 0
            assert (await manager.next("READY"))["STATUS"] == "the configuration was reloaded"
            file.write_text("routes: none", encoding="utf-8")
            gate.signal(signal.SIGHUP)
            assert "the old one stays in use" in (await manager.next("READY"))["STATUS"]
            gate.signal(signal.SIGTERM)
            stopping = await manager.next("STOPPING")
            assert int(stopping["EXTEND_TIMEOUT_USEC"]) == 22_000_000
            assert await gate.ended() == 0


async def test_an_abstract_notify_socket_is_used(tmp_path: Path, sandbox: Sandbox) -> None:
    file = written(tmp_path, settings(sandbox))
    with closing(NotifySocket("")) as manager:
        async with Process("serve", "-c", file, NOTIFY_SOCKET=manager.name, **SECRETS) as gate:
            assert (await manager.next("READY"))["READY"] == "1"
            await gate.wait_started()


async def test_a_watchdog_of_another_process_is_ignored(tmp_path: Path, sandbox: Sandbox) -> None:
    file = written(tmp_path, settings(sandbox))
    with closing(NotifySocket(f"{tmp_path}/notify")) as manager:
        variables = {"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1", **SECRETS}
        async with Process("serve", "-c", file, **variables) as gate:
            await manager.next("READY")
            await gate.wait_started()
            await gate.get("/orders/")
            gate.signal(signal.SIGTERM)
            await manager.next("STOPPING")
        assert [min(message) for message in manager.messages] == ["READY", "EXTEND_TIMEOUT_USEC"]


@pytest.mark.parametrize("workers", [1, 3])
async def test_passed_sockets_survive_a_restart(tmp_path: Path, sandbox: Sandbox, workers: int) -> None:
    with listening() as callers, listening() as admin:
        listen = {"listen": address_of(callers), "admin": address_of(admin)}
        file = written(tmp_path, settings(sandbox, workers=workers, **listen))
        for _ in range(2):
            early = await asyncio.to_thread(fill_backlog, address_of(callers), request("/orders/"), 5)
            async with passing(file, admin, callers) as gate:
                await gate.wait_started()
                assert (gate.listen, gate.admin) == (listen["listen"], listen["admin"])
                lines = await asyncio.gather(*(asyncio.to_thread(read_status, caller) for caller in early))
                assert set(lines) == {b"HTTP/1.1 200 OK\r\n"}
                assert (await gate.get("/orders/"))[0] == 200
                assert (await gate.ask("/livez"))[0] == 200


async def test_a_passed_unix_socket_outlives_the_process(tmp_path: Path, sandbox: Sandbox) -> None:
    path = tmp_path / "callers"
    with high(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as callers:
        callers.bind(str(path))
        callers.listen()
        file = written(tmp_path, settings(sandbox, listen=f"unix:{path}"))
        for _ in range(2):
            async with passing(file, callers) as gate:
                await gate.wait_started()
                assert (await gate.get("/orders/"))[0] == 200
            assert path.is_socket()


async def test_a_killed_stop_leaves_the_socket_usable(tmp_path: Path, sandbox: Sandbox) -> None:
    sandbox.switches.slow_gate = asyncio.Event()
    with listening() as callers:
        file = written(tmp_path, settings(sandbox, listen=address_of(callers)))
        async with passing(file, callers) as gate:
            await gate.wait_started()
            slow = await gate.caller()
            await slow.send(request("/slow/1"))
            await sandbox.calls.reached(1)
            gate.signal(signal.SIGTERM)
            await gate.wait_for_events("draining")
            gate.signal(signal.SIGKILL)
            assert await gate.ended() == -signal.SIGKILL
        async with passing(file, callers) as gate:
            await gate.wait_started()
            assert (await gate.get("/orders/"))[0] == 200


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_passed_socket_of_no_listener_is_refused(tmp_path: Path, sandbox: Sandbox, workers: int) -> None:
    with listening() as other:
        file = written(tmp_path, settings(sandbox, workers=workers))
        async with passing(file, other) as gate:
            assert await gate.ended() == 69
            [line] = gate.events("not-started")
            assert address_of(other) in line["message"]
            assert "ListenStream=" in line["message"]


async def test_a_passed_datagram_socket_is_refused(tmp_path: Path, sandbox: Sandbox) -> None:
    with high(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as other:
        async with passing(written(tmp_path, settings(sandbox)), other) as gate:
            assert await gate.ended() == 69
            assert "ListenStream=" in gate.events("not-started")[0]["message"]


async def test_systemd_socket_activate_starts_it_at_a_call(tmp_path: Path, sandbox: Sandbox) -> None:
    """The real program of systemd passes the socket."""
    path = tmp_path / "callers"
    file = written(tmp_path, settings(sandbox, listen=f"unix:{path}"))
    activate = ("systemd-socket-activate", "-l", str(path), "-E", "APP_SECRET", "-E", "PATH", "--")
    async with Process("serve", "-c", file, **SECRETS).under(activate) as gate:
        async with asyncio.timeout(TIME_LIMIT):
            while not path.exists():  # noqa: ASYNC110 - the file system has no event for it
                await asyncio.sleep(0)
        reply = await gate.call(request("/orders/"), address=f"unix:{path}")
        assert reply[0] == 200
        await gate.wait_started()


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """A copy of the units whose program exists here."""
    folder = tmp_path / "units"
    folder.mkdir()
    for unit in (ROOT / "deploy" / "systemd").iterdir():
        text = unit.read_text(encoding="utf-8").replace("/opt/oic-gateway/bin/oic-gateway", "/bin/true")
        (folder / unit.name).write_text(text, encoding="utf-8")
    return folder


async def test_systemd_accepts_the_units(units: Path) -> None:
    names = [str(units / f"oic-gateway.{kind}") for kind in ("service", "socket")]
    status, _, err = await run_command("systemd-analyze", "verify", "--man=no", *names)
    assert (status, [line for line in err.decode().splitlines() if str(units) in line]) == (0, [])


async def test_the_service_is_exposed_to_little(units: Path) -> None:
    """The threshold is ten times the exposure level that systemd-analyze prints: at most 1.5 of 10."""
    command = ("systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager")
    status, out, _ = await run_command(*command, str(units / "oic-gateway.service"))
    assert status == 0, out.decode()


def test_the_units_and_their_page_agree() -> None:
    page = (ROOT / "docs" / "systemd.md").read_text(encoding="utf-8")
    service = (ROOT / "deploy" / "systemd" / "oic-gateway.service").read_text(encoding="utf-8")
    used = set(re.findall(r"`([A-Z][A-Za-z]+)=", page))
    assert {key for key in used if f"\n{key}=" in service} >= {"LoadCredential", "DynamicUser", "WatchdogSec"}
    assert {key for key in used if f"\n{key}=" not in service} == {
        "ListenStream",
        "LoadCredentialEncrypted",
        "IPAddressDeny",
        "IPAddressAllow",
    }
