"""Callers in front of the sandbox, as processes: real clients, changed secrets, workers, and no secret anywhere."""

import asyncio
import base64
import json
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import zeep
from zeep.transports import Transport
from zeep.wsse.username import UsernameToken

from gateway.sandbox import Sandbox
from tests.fakes.process import Process, fresh_gateway, gateway, run, run_command
from tests.fakes.proofs import basic
from tests.system.scene import SECRETS, route, settings, written

ERP, KEY, CRM = "s3cr3t-of-erp-0123456789", "s3cr3t-key-0123456789abcdef", "s3cr3t-of-crm-0123456789"
BASIC = "Authorization: " + basic(f"erp:{ERP}").decode()


def secret(folder: Path, name: str, value: str) -> dict[str, str]:
    file = folder / name
    replacement = file.with_suffix(".new")
    replacement.write_text(value, encoding="utf-8")
    replacement.chmod(0o600)
    replacement.rename(file)
    return {"file": str(file)}


@asynccontextmanager
async def guarded(folder: Path, sandbox: Sandbox, *names: str, **more: Any) -> AsyncIterator[Process]:
    """A gateway with three callers; the routes `orders` and `hello` are for those named. `start` is `gateway` or
    `fresh_gateway`.
    """
    callers = {
        "erp": {"basic": {"username": "erp", "password": secret(folder, "erp", ERP)}},
        "scanner": {"api_key": [secret(folder, "key", KEY), {"file": str(folder / "missing")}]},
        "crm": {"wsse": {"username": "crm", "password": secret(folder, "crm", CRM)}},
    }
    routes = [
        route("orders", sandbox.upstream("ORDERS"), callers=[*names]),
        route("hello", sandbox.soap_upstream(), callers=[*names]),
        route("open", sandbox.soap_upstream(), methods=["GET"]),
    ]
    start = more.pop("start", gateway)
    document = settings(sandbox, callers=callers | more.pop("callers", {}), routes=routes, **more)
    async with start(written(folder, document), **SECRETS) as gate:
        yield gate


async def curl(gate: Process, *arguments: str) -> int:
    status, out, err = await run_command(
        "curl", "--silent", "--show-error", "--output", os.devnull, "--write-out", "%{http_code}", *arguments,
        f"http://{gate.listen}/orders/",
    )  # fmt: skip
    assert status == 0, err
    return int(out)


async def test_curl_proves_a_caller(tmp_path: Path, sandbox: Sandbox) -> None:
    async with guarded(tmp_path, sandbox, "erp", "scanner") as gate:
        assert await curl(gate, "--user", f"erp:{ERP}") == 200
        assert await curl(gate, "--user", f"erp:{ERP}", "--anyauth") == 200  # it sends the password after a 401
        assert await curl(gate, "--header", f"X-Api-Key: {KEY}") == 200
        assert await curl(gate, "--oauth2-bearer", KEY) == 200
        assert await curl(gate, "--user", "erp:nix") == 401
        assert await curl(gate) == 401
        records = await gate.wait_for_records(7)
        assert [record["caller"] for record in records] == ["erp", None, "erp", "scanner", "scanner", None, None]
        _, _, metrics = await gate.get("/metrics", address=gate.admin)
        assert b'oic_gateway_caller_requests_total{caller="scanner",status_class="2xx"} 2' in metrics
        assert b'oic_gateway_caller_requests_total{caller="-",status_class="4xx"} 3' in metrics


@pytest.mark.parametrize("use_digest", [False, True], ids=["text", "digest"])
async def test_zeep_proves_a_caller_by_ws_security(tmp_path: Path, sandbox: Sandbox, *, use_digest: bool) -> None:
    def call(listen: str, password: str) -> object:
        token = UsernameToken("crm", password, use_digest=use_digest)  # type: ignore[no-untyped-call] # zeep has no types
        client = zeep.Client(f"http://{listen}/open/?wsdl", transport=Transport(), wsse=token)  # type: ignore[no-untyped-call] # likewise
        service = client.create_service(next(iter(client.wsdl.bindings)), f"http://{listen}/hello/")  # type: ignore[no-untyped-call] # likewise
        return service.hello("World")

    async with guarded(tmp_path, sandbox, "crm") as gate:
        assert "World" in str(await asyncio.to_thread(call, gate.listen, CRM))
        with pytest.raises(zeep.exceptions.Fault, match="which caller"):
            await asyncio.to_thread(call, gate.listen, "nix")
        await gate.until(lambda: gate.lines[-1].get("error") is not None)
        records = [record for record in gate.records if record["route"] == "hello"]
        assert [(record["caller"], record["error"]) for record in records] == [("crm", None), (None, "unknown-caller")]


async def test_a_process_proves_its_user_on_a_unix_socket(tmp_path: Path, sandbox: Sandbox) -> None:
    me = {"me": {"unix_user": os.getuid()}}
    listen = f"unix:{tmp_path}/gate"
    async with guarded(tmp_path, sandbox, "me", callers=me, listen=listen) as gate:
        assert (await gate.get("/orders/"))[0] == 200
        assert (await gate.wait_for_records())[0]["caller"] == "me"
    other = {"me": {"unix_user": os.getuid() + 1}}
    async with guarded(tmp_path, sandbox, "me", callers=other, listen=listen) as gate:
        assert (await gate.get("/orders/"))[0] == 401


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_changed_secret_needs_no_restart(tmp_path: Path, sandbox: Sandbox, workers: int) -> None:
    async with guarded(tmp_path, sandbox, "erp", "scanner", workers=workers) as gate:
        connection = await gate.caller()

        async def status(field: str) -> int:
            await connection.send(f"GET /orders/ HTTP/1.1\r\nHost: localhost\r\n{field}\r\n\r\n".encode())
            return (await connection.reply())[0]

        assert await status(BASIC) == 200
        secret(tmp_path, "erp", "another-s3cr3t-0123456789")
        await gate.wait_for_events("caller-secrets-reloaded", workers)
        assert await status(BASIC) == 401  # also on a connection that was verified before
        assert await status("Authorization: " + basic("erp:another-s3cr3t-0123456789").decode()) == 200
        (tmp_path / "key").unlink()
        await gate.wait_for_events("caller-secrets-reloaded", 2 * workers)
        assert await status(f"X-Api-Key: {KEY}") == 401
        unreadable = await gate.wait_for_events("caller-secret-unreadable")
        assert {line["caller"] for line in unreadable} == {"scanner"}
        secret(tmp_path, "missing", "the-second-s3cr3t-key-0123456789")
        await gate.wait_for_events("caller-secrets-reloaded", 3 * workers)
        assert await status("X-Api-Key: the-second-s3cr3t-key-0123456789") == 200


async def test_a_reload_changes_the_callers_of_a_route(tmp_path: Path, sandbox: Sandbox) -> None:
    async with guarded(tmp_path, sandbox, "erp") as gate:
        assert await curl(gate, "--header", f"X-Api-Key: {KEY}") == 403
        file = tmp_path / "gateway.yaml"
        file.write_text(re.sub(r'"erp"\s*\]', '"erp", "scanner"]', file.read_text(encoding="utf-8")), encoding="utf-8")
        gate.signal(signal.SIGHUP)
        await gate.wait_for_events("reloaded")
        assert await curl(gate, "--header", f"X-Api-Key: {KEY}") == 200


@pytest.mark.parametrize("place", ["memory", "file"])
async def test_calls_are_found_by_their_caller(tmp_path: Path, sandbox: Sandbox, place: str) -> None:
    stored = {"path": str(tmp_path / "state"), "keys": [secret(tmp_path, "seal", "ab" * 32)]}
    state = {"state": stored} if place == "file" else {}
    async with guarded(tmp_path, sandbox, "erp", "scanner", workers=2, **state) as gate:
        for _ in range(4):
            assert await curl(gate, "--user", f"erp:{ERP}") == 200
            assert await curl(gate, "--header", f"X-Api-Key: {KEY}") == 200
        assert await curl(gate) == 401
        _, document = await gate.ask("/instances?caller=erp")
        assert ([each["caller"] for each in document["instances"]], document["where"]) == (["erp"] * 4, place)
        ended = await run("instances", "--admin", gate.admin, "--caller", "scanner", "--json")
        assert [each["caller"] for each in json.loads(ended.out)["instances"]] == ["scanner"] * 4
        assert (await run("instances", "--admin", gate.admin, "--caller", "crm")).status == 1


def contents(*patterns: str) -> list[bytes]:
    return [file.read_bytes() for pattern in patterns for file in Path("/").glob(pattern.removeprefix("/"))]


async def test_no_secret_of_a_caller_appears_anywhere(tmp_path: Path, sandbox: Sandbox) -> None:
    state = {"path": str(tmp_path / "state"), "keys": [secret(tmp_path, "seal", "ab" * 32)]}
    async with guarded(
        tmp_path, sandbox, "erp", "crm", state=state, log={"level": "debug"}, start=fresh_gateway
    ) as gate:
        envelope = (
            "<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'><s:Header><Security><UsernameToken>"
            f"<Username>crm</Username><Password>{CRM}</Password></UsernameToken></Security></s:Header>"
            "<s:Body><a/></s:Body></s:Envelope>"
        )
        answers = []
        for fields in ([BASIC], [BASIC, f"X-Api-Key: {KEY}"], [f"Authorization: Bearer {KEY}"], [BASIC, BASIC]):
            answers += [
                await gate.get("/orders/", *fields),
                await gate.post("/hello/", envelope.encode(), "Content-Type: text/xml", *fields),
            ]
        await gate.wait_for_records(8)
        answers += [await gate.get(path, address=gate.admin) for path in ("/status", "/metrics", "/instances")]
        found = await run("instances", "--admin", gate.admin)
        texts = [bytes(gate.out), bytes(gate.err), found.out.encode(), *(part for each in answers for part in each[1:])]
        everything = b"".join([*texts, *contents(f"/proc/{gate.pid}/cmdline", f"{tmp_path}/state*")])
    for text in (ERP, KEY, CRM):
        assert text.encode() not in everything
        assert base64.b64encode(f"erp:{text}".encode()) not in everything


async def test_check_reports_weak_and_unused_callers(tmp_path: Path, sandbox: Sandbox) -> None:
    async with guarded(tmp_path, sandbox, "erp", callers={"lab": {"networks": ["10.0.0.0/8"]}}):
        secret(tmp_path, "erp", "summer2026")
        ended = await run("check", str(tmp_path / "gateway.yaml"), APP_SECRET="x")
        assert ended.status == 0
        assert "callers.lab: warning: is not used by any route" in ended.out + ended.err
        assert "callers.erp.basic.password" in ended.out + ended.err
        assert "summer2026" not in ended.out + ended.err


async def test_a_key_is_made_for_a_caller(tmp_path: Path) -> None:
    first, second = await run("caller", "key", "scanner"), await run("caller", "key", "scanner")
    assert (first.status, "scanner: {api_key: {file: /run/secrets/scanner}}" in first.err) == (0, True)
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}\n", first.out)
    assert first.out != second.out
    assert (await run("caller", "key", "no name")).status == 2
    assert first.out.strip() not in first.err
