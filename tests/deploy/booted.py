"""The Debian package and its unit under a booted systemd: what the administrator of a machine sees.

Run by `make test-deploy`, as root. The sandbox runs in the machine, as a unit of its own.
"""

import json
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.daemon import wait_for
from tests.deploy.machine import Machine
from tests.fakes.process import ROOT
from tests.fakes.waiting import TIME_LIMIT

UNIT = "oic-gateway"
FOLDER = Path("etc/oic-gateway")
OVERRIDE = Path("etc/systemd/system/oic-gateway.service.d/override.conf")
STATE = Path("var/lib/private/oic-gateway")
SANDBOX = """
[Service]
ExecStart=/usr/bin/oic-gateway sandbox --listen 127.0.0.1:%i
"""
SLOW = """
[Service]
ExecStart=
ExecStart=/usr/bin/oic-gateway sandbox --listen 127.0.0.1:%i --set reply_delay=5
"""
CREDENTIAL = """
  {name}:
    token_url: http://127.0.0.1:{port}/oauth2/v1/token
    client_id: sandbox-app
    client_secret: {{credential: oic-client-secret}}
    scope: https://5A0DB0C5A0DB0C5A0DB0C5A0DB0C5A0D.integration.us-phoenix-1.ocp.oraclecloud.com:443urn:opc:resource:consumer::all
"""
ROUTE = """
  - name: {name}
    path: {path}
    upstream: http://127.0.0.1:{port}/ic/api/integration/v1/flows/rest/ORDERS/1.0/
    credential: {name}
"""
CALLERS = """
import collections, http.client, json, os, threading
counts = collections.Counter()
def call():
    while not os.path.exists("/run/enough"):
        connection = http.client.HTTPConnection("127.0.0.1", 8080)
        try:
            connection.request("GET", "/orders/")
            response = connection.getresponse()
            response.read()
            counts[str(response.status)] += 1
        except Exception as error:
            counts[repr(error)] += 1
        finally:
            connection.close()
callers = [threading.Thread(target=call) for _ in range(4)]
for caller in callers: caller.start()
for caller in callers: caller.join()
print(json.dumps(counts))
"""


def write_configuration(machine: Machine, *, path: str = "/orders/") -> None:
    """Write a configuration with two routes: one to the sandbox, one to a sandbox that is slow."""
    credentials = CREDENTIAL.format(name="orders", port=8181) + CREDENTIAL.format(name="slow", port=8282)
    routes = ROUTE.format(name="orders", path=path, port=8181) + ROUTE.format(name="slow", path="/slow/", port=8282)
    state = "state: {path: /var/lib/oic-gateway/state.db, keys: [{credential: state-key}]}\n"
    text = f"listen: 127.0.0.1:8080\nadmin: 127.0.0.1:9090\n{state}credentials:{credentials}routes:{routes}"
    (machine.root / FOLDER / "gateway.yaml").write_text(text)


def write_override(machine: Machine, *lines: str) -> None:
    """Do what `systemctl edit` does."""
    file = machine.root / OVERRIDE
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(("[Service]", "LoadCredential=state-key:/etc/oic-gateway/state-key", *lines, "")))
    machine.systemctl("daemon-reload")


@pytest.fixture(scope="module")
def machine(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Boot a Debian, install the package, and start two sandboxes."""
    with Machine(tmp_path_factory.mktemp("machine")) as machine:
        shutil.copy(package, machine.root / "new.deb")
        machine.run("dpkg", "--install", "/new.deb")
        assert machine.systemctl("is-enabled", UNIT, status=1) == "disabled\n"
        assert machine.systemctl("is-active", UNIT, status=3) == "inactive\n"
        units = machine.root / "etc/systemd/system"
        (units / "sandbox@.service").write_text(SANDBOX)
        (units / "sandbox@8282.service.d").mkdir()
        (units / "sandbox@8282.service.d/slow.conf").write_text(SLOW)
        shutil.copy(ROOT / "demo" / "sandbox-secret", machine.root / FOLDER / "client-secret")
        (machine.root / FOLDER / "state-key").write_text(machine.run("openssl", "rand", "-base64", "32"))
        for name in ("client-secret", "state-key"):
            (machine.root / FOLDER / name).chmod(0o600)
        machine.systemctl("daemon-reload")
        machine.systemctl("start", "sandbox@8181", "sandbox@8282")
        wait_for(lambda: answers(machine, 8181) and answers(machine, 8282))
        yield machine


@pytest.fixture
def service(machine: Machine) -> Machine:
    """Start the service with a configuration that works."""
    write_configuration(machine)
    write_override(machine)
    machine.systemctl("reset-failed")
    restarted = subprocess.run(machine.inside("systemctl", "restart", UNIT), check=False)
    assert restarted.returncode == 0, machine.run("journalctl", "--unit", UNIT)
    return machine


def answers(machine: Machine, port: int) -> bool:
    """Return whether a server in the machine answers."""
    command = machine.inside("curl", "--silent", f"http://127.0.0.1:{port}/")
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def status_of(machine: Machine, path: str = "/orders/") -> int:
    """Call the gateway once."""
    form = ("--output", "/dev/null", "--write-out", "%{http_code}")
    return int(machine.run("curl", "--silent", *form, f"http://127.0.0.1:8080{path}"))


def status_text(machine: Machine) -> str:
    """Return the line that the gateway has sent to systemd."""
    return machine.property(UNIT, "StatusText")


def test_unit_is_active_once_the_gateway_answers(service: Machine) -> None:
    service.systemctl("stop", UNIT)
    service.systemctl("start", "--no-block", UNIT)
    states = ["inactive"]
    while states[-1] != "active":
        states.append(service.property(UNIT, "ActiveState"))
        assert states[-1] in {"inactive", "activating", "active"}
    assert status_of(service) == 200
    assert "activating" in states
    assert status_text(service) == "listening on 127.0.0.1:8080"


def test_secret_comes_from_a_credential_of_systemd(service: Machine) -> None:
    output = service.run("curl", "--silent", "--include", "http://127.0.0.1:8080/orders/")
    assert output.startswith("HTTP/1.1 200")
    assert "x-oracle-ics-instance-id" in output
    pid = service.property(UNIT, "MainPID")
    secret = (ROOT / "demo" / "sandbox-secret").read_text().strip()
    assert secret not in service.run("cat", f"/proc/{pid}/environ", f"/proc/{pid}/cmdline")
    assert secret not in service.run("journalctl", "--unit", UNIT)


def test_a_reload_takes_a_changed_route(service: Machine) -> None:
    write_configuration(service, path="/changed/")
    service.systemctl("reload", UNIT)
    wait_for(lambda: status_text(service) == "the configuration was reloaded")
    assert (status_of(service, "/changed/"), status_of(service)) == (200, 404)


def test_a_failed_reload_is_reported_and_changes_nothing(service: Machine) -> None:
    before = service.property(UNIT, "MainPID")
    (service.root / FOLDER / "gateway.yaml").write_text("routes: none\n")
    service.systemctl("reload", UNIT)
    wait_for(lambda: "the old one stays in use" in status_text(service))
    assert status_of(service) == 200
    assert service.property(UNIT, "ActiveState") == "active"
    assert service.property(UNIT, "MainPID") == before


def test_a_wrong_configuration_is_not_started_again(service: Machine) -> None:
    service.systemctl("stop", UNIT)
    (service.root / FOLDER / "gateway.yaml").write_text("routes: none\n")
    service.systemctl("start", UNIT, status=1)
    names = ("ActiveState", "ExecMainStatus", "NRestarts")
    assert [service.property(UNIT, name) for name in names] == ["failed", "78", "0"]


def test_systemd_restarts_a_gateway_that_hangs(service: Machine) -> None:
    write_override(service, "WatchdogSec=3s")
    service.systemctl("restart", UNIT)
    before = service.property(UNIT, "MainPID")
    service.systemctl("kill", "--signal=STOP", UNIT)
    wait_for(lambda: service.property(UNIT, "NRestarts") == "1")
    wait_for(lambda: service.property(UNIT, "ActiveState") == "active")
    assert service.property(UNIT, "MainPID") != before
    assert "Watchdog timeout" in service.run("journalctl", "--unit", UNIT)
    assert status_of(service) == 200


def test_only_the_dynamic_user_can_read_the_state(service: Machine) -> None:
    assert status_of(service) == 200
    pid = service.property(UNIT, "MainPID")
    [user] = re.findall(r"(?m)^Uid:\t(\d+)\t", service.run("cat", f"/proc/{pid}/status"))
    assert service.run("cat", f"/run/systemd/dynamic-uid/{user}").strip() == UNIT
    found = service.run("find", f"/{STATE}", "-printf", "%U %m %P\n").splitlines()
    assert f"{user} 700 " in found
    assert f"{user} 600 state.db" in found
    assert [line for line in found[1:] if not line.startswith(f"{user} 600 ")] == []
    assert (service.root / "var/lib/oic-gateway").is_symlink()
    service.systemctl("stop", UNIT)
    service.run("test", "-e", f"/run/systemd/dynamic-uid/{user}", status=1)
    service.systemctl("start", UNIT)
    assert status_of(service) == 200


def test_the_live_unit_is_as_confined_as_documented(service: Machine) -> None:
    output = service.run("systemd-analyze", "security", "--no-pager", f"{UNIT}.service")
    [level] = re.findall(r"Overall exposure level for oic-gateway.service: ([\d.]+)", output)
    page = (ROOT / "docs" / "systemd.md").read_text(encoding="utf-8")
    assert re.findall(r"`systemd-analyze security oic-gateway` gives ([\d.]+)", page) == [level]


def test_a_stop_lets_calls_end(service: Machine) -> None:
    call = service.start("curl", "--silent", "--include", "http://127.0.0.1:8080/slow/")
    metrics = ("curl", "--silent", "http://127.0.0.1:9090/metrics")
    wait_for(lambda: re.search(r'(?m)^oic_gateway_requests_in_flight{route="slow"} 1', service.run(*metrics)))
    service.systemctl("stop", UNIT)
    output, _ = call.communicate(timeout=TIME_LIMIT)
    assert output.startswith("HTTP/1.1 200")
    assert [service.property(UNIT, name) for name in ("Result", "ExecMainStatus")] == ["success", "0"]


def test_a_restart_with_the_socket_loses_no_call(service: Machine) -> None:
    service.systemctl("stop", UNIT)
    shared = "/usr/share/doc/oic-gateway/oic-gateway.socket"
    service.run("install", "--mode", "644", shared, "/etc/systemd/system/")
    service.systemctl("daemon-reload")
    service.systemctl("start", f"{UNIT}.socket")
    assert service.property(UNIT, "ActiveState") == "inactive"
    callers = service.start("python3", "-c", CALLERS)
    wait_for(lambda: service.property(UNIT, "ActiveState") == "active")
    for _ in range(3):
        before = service.property(UNIT, "MainPID")
        service.systemctl("restart", UNIT)
        assert service.property(UNIT, "MainPID") != before
    service.run("touch", "/run/enough")
    output, _ = callers.communicate(timeout=TIME_LIMIT)
    counts = Counter(json.loads(output))
    assert set(counts) == {"200"}
    assert counts.total() >= 8
    service.systemctl("stop", f"{UNIT}.socket", UNIT)
    service.run("rm", f"/etc/systemd/system/{UNIT}.socket")
    service.systemctl("daemon-reload")


def test_an_upgrade_restarts_and_a_purge_leaves_nothing(service: Machine) -> None:
    service.systemctl("enable", UNIT)
    before = service.property(UNIT, "MainPID")
    service.run("dpkg", "--force-confold", "--install", "/new.deb")
    wait_for(lambda: service.property(UNIT, "ActiveState") == "active")
    assert service.property(UNIT, "MainPID") != before
    assert status_of(service) == 200

    service.run("dpkg", "--remove", UNIT)
    assert service.systemctl("is-active", UNIT, status=3) == "inactive\n"
    assert (service.root / FOLDER / "gateway.yaml").exists()
    assert (service.root / STATE / "state.db").exists()
    service.run("rm", "-r", f"/{OVERRIDE.parent}", f"/{FOLDER}/state-key")
    service.run("dpkg", "--purge", UNIT)
    service.systemctl("daemon-reload")
    assert service.run("find", "/", "/run", "-xdev", "-name", "*oic*gateway*") == ""
    assert "could not be found" in service.systemctl("status", UNIT, status=4)
