"""SIGHUP and POST /reload: the configuration is read again; what is under way and what was earned stays."""

import asyncio
import hashlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway import __version__
from gateway.sandbox import Sandbox
from tests.fakes.identity import Identity, refusal, token
from tests.fakes.process import Process, gateway, request, run_command
from tests.fakes.upstream import Upstream
from tests.system.scene import SECRETS, Settings, before, between, route, settings, written


async def reloaded(gate: Process, count: int = 1) -> None:
    gate.signal(signal.SIGHUP)
    await gate.wait_for_events("reloaded", count)


async def test_a_reload_adds_and_removes_routes(tmp_path: Path, sandbox: Sandbox) -> None:
    document = settings(sandbox)
    async with gateway(written(tmp_path, document), **SECRETS) as gate:
        assert (await gate.get("/bestellungen/"))[0] == 404
        document["routes"] = [route("bestellungen", sandbox.upstream("ORDERS"))]
        written(tmp_path, document)
        await reloaded(gate)
        assert (await gate.get("/bestellungen/"))[0] == 200
        assert (await gate.get("/orders/"))[0] == 404
        assert gate.events("reloaded")[0]["routes"] == 1


async def test_an_invalid_file_changes_nothing_and_is_logged(tmp_path: Path, sandbox: Sandbox) -> None:
    file = written(tmp_path, settings(sandbox))
    async with gateway(file, **SECRETS) as gate:
        file.write_text("routes: []\nlisten: nowhere\n", encoding="utf-8")
        gate.signal(signal.SIGHUP)
        [event] = await gate.wait_for_events("reload-refused")
        assert event["level"] == "error"
        assert "gateway.yaml:2: listen: " in event["message"]
        assert "routes: is an empty list" in event["message"]
        assert (await gate.get("/orders/"))[0] == 200
        file.unlink()
        gate.signal(signal.SIGHUP)
        await gate.wait_for_events("reload-refused", 2)
        assert (await gate.get("/orders/"))[0] == 200


async def test_requests_under_way_survive(tmp_path: Path, sandbox: Sandbox) -> None:
    sandbox.switches.slow_gate = asyncio.Event()
    document = settings(sandbox)
    document["routes"] = [one | {"replay_limit": "0B"} for one in document["routes"]]  # no upload waits for its end
    async with gateway(written(tmp_path, document), **SECRETS) as gate:
        slow, upload = await gate.caller(), await gate.caller()
        await slow.send(request("/slow/1"))
        await upload.send(request("/upload/", "Content-Length: 6", method="POST") + b"abc")
        await sandbox.calls.reached(2)
        document["routes"] = [route("orders", sandbox.upstream("ORDERS"))]
        written(tmp_path, document)
        await reloaded(gate)
        sandbox.switches.slow_gate.set()
        await upload.send(b"def")
        assert (await slow.reply())[0] == 200
        status, _, body = await upload.reply()
        assert (status, b'"length": 6' in body) == (200, True)
        assert sorted(record["status"] for record in await gate.wait_for_records(2)) == [200, 200]


async def test_a_reload_reuses_tokens(tmp_path: Path, sandbox: Sandbox) -> None:
    async with before(tmp_path, sandbox) as gate:
        assert (await gate.get("/orders/"))[0] == 200
        await reloaded(gate)
        assert (await gate.get("/orders/"))[0] == 200
        await reloaded(gate, 2)
        assert (await gate.get("/orders/"))[0] == 200
        assert len(sandbox.token_requests) == 1


async def test_another_scope_is_another_token(tmp_path: Path, sandbox: Sandbox) -> None:
    document = settings(sandbox)
    async with gateway(written(tmp_path, document), **SECRETS) as gate:
        assert (await gate.get("/orders/"))[0] == 200
        document["credentials"]["app"]["scope"] = f"{sandbox.scope} urn:opc:resource:expiry=600"
        written(tmp_path, document)
        await reloaded(gate)
        assert (await gate.get("/orders/"))[0] == 200
        assert len(sandbox.token_requests) == 2


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({"limits": {"fields": 64}}, "limits.fields"),
        ({"log": {"level": "debug"}}, "log.level"),
        ({"admin": "[::1]:0"}, "admin"),
        ({"admin_quit": True}, "admin_quit"),
    ],
)
async def test_settings_that_need_a_restart_are_logged(
    tmp_path: Path, sandbox: Sandbox, more: Settings, key: str
) -> None:
    async with before(tmp_path, sandbox) as gate:
        written(tmp_path, settings(sandbox, **more))
        await reloaded(gate)
        [event] = await gate.wait_for_events("restart-needed")
        assert f"a change of `{key}` takes" in event["message"]
        assert (await gate.get("/orders/"))[0] == 200
        await reloaded(gate, 2)  # the running settings still differ from the file
        assert len(gate.events("restart-needed")) == 2
        written(tmp_path, settings(sandbox))
        await reloaded(gate, 3)
        assert len(gate.events("restart-needed")) == 2


async def test_other_settings_apply_without_a_restart(tmp_path: Path, sandbox: Sandbox) -> None:
    async with before(tmp_path, sandbox) as gate:
        written(tmp_path, settings(sandbox, hosts=["gw.example.com"], pool={"size": 3}, drain="5s"))
        await reloaded(gate)
        assert (await gate.call(b"GET /orders/ HTTP/1.1\r\nHost: gw.example.com\r\n\r\n"))[0] == 200
        assert not gate.events("restart-needed")


async def test_a_stale_token_survives_a_reload_during_an_outage(tmp_path: Path) -> None:
    async with (
        Identity(token("stale", 4), *[refusal("server_error", 503)] * 50) as identity,
        Upstream() as upstream,
        between(tmp_path, identity, upstream) as gate,
    ):
        assert (await gate.get("/orders/1"))[0] == 200
        await gate.until_answer("/status", lambda status: status["credentials"]["app"]["state"] == "stale")
        await reloaded(gate)
        assert (await gate.get("/orders/1"))[0] == 200
        assert upstream.requests[-1].field("Authorization") == "Bearer stale"


async def test_methods_change_at_once(tmp_path: Path, sandbox: Sandbox) -> None:
    document = settings(sandbox)
    async with gateway(written(tmp_path, document), **SECRETS) as gate:
        caller = await gate.caller()
        await caller.send(request("/echo/", method="DELETE"))
        assert (await caller.reply())[0] == 200
        document["defaults"] = {"methods": ["GET"]}
        written(tmp_path, document)
        await reloaded(gate)
        await caller.send(request("/echo/", method="DELETE"))  # on the same connection
        assert (await caller.reply())[0] == 405


async def test_flags_are_read_again_too(tmp_path: Path, sandbox: Sandbox) -> None:
    secret = tmp_path / "secret"
    secret.write_text(sandbox.client_secret, encoding="utf-8")
    flags = [
        *("--upstream", sandbox.upstream("ORDERS"), "--token-url", sandbox.token_url, "--scope", sandbox.scope),
        *("--client-id", sandbox.client_id, "--client-secret-file", str(secret)),
        *("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"),
    ]
    async with Process("serve", *flags) as gate:
        await gate.wait_started()
        await reloaded(gate)
        assert (await gate.get("/"))[0] == 200


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_request_reloads_and_answers_with_the_outcome(tmp_path: Path, sandbox: Sandbox, workers: int) -> None:
    document = settings(sandbox, workers=workers)
    file = written(tmp_path, document)
    async with gateway(file, **SECRETS) as gate:
        document["routes"][0]["timeout"] = {"idle": "5s"}
        document["routes"][1]["name"] = "neu"
        written(tmp_path, document | {"limits": {"fields": 64}})
        status, answer = await post_reload(gate)
        assert (status, answer["state"]) == (200, "reloaded")
        assert answer["added"] == ["limits.fields", "routes.neu", "routes.orders.timeout.idle"]
        assert (answer["removed"], answer["changed"]) == (["routes.echo"], [])
        assert (answer["restart_needed"], answer["sign_in_needed"]) == (["limits.fields"], [])
        assert (await gate.get("/orders/"))[0] == 200
        [line] = await gate.wait_for_events("reloaded")
        assert (line["trigger"], line["changes_count"]) == ("admin", 4)
        file.write_text("routes: []\nlisten: nowhere\n", encoding="utf-8")
        status, answer = await post_reload(gate)
        assert (status, answer["state"], answer["status"]) == (409, "refused", 409)
        errors = {error["key"]: error for error in answer["errors"]}
        assert errors["listen"]["location"] == f"{file}:2"
        assert errors["routes"]["remedy"] == "write at least one entry"
        assert (await gate.get("/orders/"))[0] == 200


async def test_a_reload_that_a_file_refuses_is_answered(tmp_path: Path, sandbox: Sandbox) -> None:
    async with before(tmp_path, sandbox, workers=2) as gate:
        written(tmp_path, settings(sandbox, workers=2, state={"path": "/proc/x/y", "keys": [{"env": "APP_SECRET"}]}))
        status, answer = await post_reload(gate)
        assert (status, answer["state"]) == (409, "refused")
        assert answer["errors"] or answer["detail"]
        assert (await gate.get("/orders/"))[0] == 200


async def test_simultaneous_requests_share_a_reload(tmp_path: Path, sandbox: Sandbox) -> None:
    async with before(tmp_path, sandbox) as gate:
        answers = await asyncio.gather(*(post_reload(gate) for _ in range(12)))
        assert {(status, answer["state"]) for status, answer in answers} == {(200, "reloaded")}
        assert 1 <= len(await gate.wait_for_events("reloaded")) < 12


async def post_reload(gate: Process) -> tuple[int, Any]:
    status, _, body = await gate.get("/reload", method="POST", address=gate.admin)
    return status, json.loads(body)


AS_ROOT = () if os.geteuid() == 0 else ("--map-root-user",)
SAME_NETWORK = """
ip link set lo up; ip address add 10.9.9.9/32 dev lo
"$@" >/dev/null & gateway=$!
for address in 127.0.0.1 10.9.9.9; do
    curl --silent --retry 20 --retry-connrefused --retry-delay 1 --output /dev/null --write-out '%{http_code} ' \
        http://$address:9090/livez --next --silent --output /dev/null --write-out '%{http_code}\n' \
        --request POST http://$address:9090/reload
done
kill $gateway; wait $gateway
"""


async def test_only_processes_of_this_machine_reload(tmp_path: Path, sandbox: Sandbox) -> None:
    ports = {"listen": "127.0.0.1:8080", "admin": "0.0.0.0:9090", "allow": ["10.9.9.9/32"], "workers": 1}
    file = written(tmp_path, settings(sandbox) | ports)
    status, out, err = await run_command(
        *("unshare", "--net", *AS_ROOT, "--", "bash", "-c", SAME_NETWORK, "bash"),
        *(sys.executable, "-m", "gateway", "serve", "-c", file),
        env={"PATH": os.environ["PATH"], **SECRETS},
    )
    assert (out.decode().splitlines(), status, err) == (["200 200", "200 403"], 0, b"")


@pytest.mark.parametrize("workers", [1, 2])
async def test_status_names_the_process_and_its_configuration(tmp_path: Path, sandbox: Sandbox, workers: int) -> None:
    file = written(tmp_path, settings(sandbox, workers=workers))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    async with gateway(file, **SECRETS) as gate:
        process = (await gate.ask("/status"))[1]["process"]
        assert (process["version"], process["pid"], process["last_reload"]) == (__version__, gate.pid, None)
        configuration = process["configuration"]
        assert configuration["files"] == [{"path": str(file), "sha256": digest}]
        assert (configuration["sha256"], configuration["loaded_at"]) == (digest, process["started_at"])
        file.write_text("broken", encoding="utf-8")
        await post_reload(gate)
        process = (await gate.ask("/status"))[1]["process"]
        assert (process["last_reload"]["result"], process["configuration"]["sha256"]) == ("refused", digest)
        written(tmp_path, settings(sandbox, workers=workers, drain="1s"))
        await post_reload(gate)
        process = (await gate.ask("/status"))[1]["process"]
        assert process["configuration"]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest() != digest
        assert process["last_reload"]["result"] == "reloaded"
