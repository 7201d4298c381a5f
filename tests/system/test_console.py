"""The console of the real program: logins and actions with one process and with workers, and no secret anywhere."""

import asyncio
import json
import re
import signal
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from gateway.console.pages import PAGES
from gateway.sandbox import Sandbox
from tests.fakes.console_gate import PASSWORD, WebBrowser, write_users
from tests.fakes.process import Process, gateway
from tests.fakes.waiting import TIME_LIMIT, wait_until
from tests.system.scene import SECRETS, settings, written

PLANTED = "PLANTED-SECRET-0123456789abcdef"
FILES = ("caller", "state", "console", "hook", "proxy")


def planted(folder: Path, sandbox: Sandbox, workers: int) -> Path:
    """A configuration with a secret at every place that takes one, and local users."""
    for name in FILES:
        content = "0123456789abcdef" * 4 if name == "state" else f"{PLANTED}-{name}"
        (folder / name).write_text(content)
        (folder / name).chmod(0o600)
    document = settings(sandbox, workers=workers)
    document["credentials"]["app"]["params"] = {"extra": f"{PLANTED}-parameter"}
    document["credentials"]["other"] = document["credentials"]["app"] | {
        "scope": "wrong", "client_secret": [{"file": "caller"}, {"env": "APP_SECRET"}],
    }  # fmt: skip
    document["routes"][-1]["credential"] = "other"
    document["routes"][0] |= {"callers": ["erp"], "headers": {"set": {"X-Key": f"{PLANTED}-header"}}}
    document["callers"] = {"erp": {"basic": {"username": "erp", "password": {"file": "caller"}}}}
    document["state"] = {"path": "state.db", "keys": [{"file": "state"}]}
    write_users(folder, ann="admin", bob="viewer")
    document["console"] = {
        "url": "http://localhost:9",
        "sign_in": {"issuer": "http://127.0.0.1:9", "client_id": "console", "client_secret": {"file": "console"}},
        "roles": {"viewer": ["*"]},
        "users": "users",
        "audit": "audit.jsonl",
    }
    return written(folder, document)


def browser(gate: Process) -> WebBrowser:
    return WebBrowser(gate.admin, f"http://{gate.admin}")


def paths() -> list[str]:
    """Every page, with names that exist in place of the asterisk."""
    names = {"credentials": ("app", "other"), "routes": ("orders", "hello"), "calls": ("unknown",)}
    found = []
    for segments in PAGES:
        ends = names.get(segments[0], ("x",)) if segments and segments[-1] == "*" else (None,)
        found += [
            "/".join(("/console", *segments[: None if end is None else -1], *([end] if end else []))) for end in ends
        ]
    return [f"{path}/" if path == "/console" else path for path in found if path != "/console/calls/live"]


@pytest.mark.parametrize("workers", [1, 2])
async def test_no_page_shows_a_secret(tmp_path: Path, sandbox: Sandbox, workers: int) -> None:
    file = planted(tmp_path, sandbox, workers)
    async with gateway(file, **SECRETS) as gate:
        assert (await gate.get("/echo/"))[0] == 200
        assert (await gate.get("/hello/"))[0] >= 500
        person = browser(gate)
        assert (await person.log_in("ann")).status == 303
        token = (await person.get("/console/")).csrf_token
        for action, name in (
            ("renew", "app"),
            ("check-credential", "other"),
            ("check-route", "orders"),
            ("reload", ""),
        ):
            response = await person.post(f"/console/actions/{action}", {"name": name, "csrf_token": token})
            assert response.status == 303, response.body
            shown = await person.get(urlsplit(response.location).path)
            assert_no_secret(file.parent, shown.body + str(shown.fields))
        for path in paths():
            for fields in ((), ("HX-Request: true",)):
                response = await person.get(path, *fields)
                assert response.status in {200, 404}, (path, response.body)
                assert_no_secret(file.parent, response.body + str(response.fields))
        assert_no_secret(file.parent, gate.output_text(), cookie=person.cookies)
        entries = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
        assert [entry["action"] for entry in entries] == ["login", "renew", "check-credential", "check-route", "reload"]
        await gate.wait_for_events("audit", len(entries))
        assert [line["action"] for line in gate.events("audit")] == [entry["action"] for entry in entries]
        assert_no_secret(file.parent, json.dumps(entries))


def assert_no_secret(folder: Path, text: str, *, cookie: dict[str, str] | None = None) -> None:
    """No planted secret, secret of the sandbox, token, password or hash."""
    for secret in (
        PLANTED,
        SECRETS["APP_SECRET"],
        "0123456789abcdef" * 4,
        PASSWORD,
        "$argon2id$",
        *(cookie or {}).values(),
    ):
        assert secret not in text, secret
    assert not re.search(r"eyJ[A-Za-z0-9_-]{20}", text)


async def test_an_action_reaches_every_worker(tmp_path: Path, sandbox: Sandbox) -> None:
    write_users(tmp_path, ann="admin")
    file = written(tmp_path, settings(sandbox, workers=2, console={"users": "users"}))
    async with gateway(file, **SECRETS) as gate:
        person = browser(gate)
        await person.log_in("ann")
        token = (await person.get("/console/")).csrf_token
        response = await person.post("/console/actions/renew", {"name": "app", "csrf_token": token})
        assert response.location == "/console/credentials/app"

        async def has_token() -> bool:
            return bool((await gate.ask("/readyz"))[1]["credentials"]["app"]["state"] == "ok")

        await wait_until(has_token)
        assert (await person.post("/console/actions/sign-out", {"name": "nothing", "csrf_token": token})).status == 303
        await gate.wait_for_events("audit", 3)
        assert [entry["result"] for entry in gate.events("audit")] == ["ok", "ok", "failed"]


async def test_a_reload_adds_and_removes_the_console(tmp_path: Path, sandbox: Sandbox) -> None:
    document = settings(sandbox)
    async with gateway(written(tmp_path, document), **SECRETS) as gate:
        assert (await browser(gate).get("/console/")).status == 404
        written(tmp_path, document | {"console": {}})
        gate.signal(signal.SIGHUP)
        await gate.wait_for_events("reloaded", 1)
        assert (await browser(gate).get("/console/")).status == 200
        written(tmp_path, document)
        gate.signal(signal.SIGHUP)
        await gate.wait_for_events("reloaded", 2)
        assert (await browser(gate).get("/console/")).status == 404


async def test_a_hundred_readers_get_a_call(tmp_path: Path, sandbox: Sandbox) -> None:
    """One that never reads delays no other, and the admin port still answers."""
    async with gateway(written(tmp_path, settings(sandbox, console={})), **SECRETS) as gate:
        host, _, port = gate.admin.rpartition(":")
        request = (
            f"GET /console/calls/live HTTP/1.1\r\nHost: {gate.admin}\r\nAccept: text/event-stream\r\n\r\n".encode()
        )
        readers = [await asyncio.open_connection(host, int(port)) for _ in range(101)]
        for _, writer in readers:
            writer.write(request)
        async with asyncio.timeout(TIME_LIMIT):
            for reader, _ in readers:
                await reader.readuntil(b"retry: 3000")
            readers[0][0]._transport.pause_reading()  # type: ignore[attr-defined]
            assert (await gate.get("/echo/"))[0] == 200
            for reader, _ in readers[1:]:
                await reader.readuntil(b"/console/calls/")
        assert (await gate.ask("/livez"))[0] == 200
        for _, writer in readers:
            writer.close()
