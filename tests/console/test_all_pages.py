"""Every page that links lead to, from a real gateway in front of the sandbox: it answers, and shows no secret."""

import base64
import os
import re
from html import unescape
from pathlib import Path
from urllib.parse import urljoin

import pytest

from gateway.sandbox import DEFAULT_SECRET, Sandbox
from tests.console.test_pages import Outline
from tests.fakes.process import Process
from tests.fakes.proofs import basic
from tests.system.scene import before, credential, route

CALLER_SECRET = "s3cr3t-of-erp-0123456789"
LINK = re.compile(r'(?:href|src|data-source|hx-get)="(/console/[^"#]*)')


async def read_all_pages(gate: Process) -> dict[str, str]:
    """Follow every link from the overview. Return the bodies by target; each has a status of 200."""
    bodies: dict[str, str] = {}
    waiting = {"/console/"}
    while waiting:
        target = waiting.pop()
        status, head, body = await gate.get(target, address=gate.admin)
        assert status == 200, f"{target}: {status}"
        bodies[target] = body.decode(errors="replace")
        if b"text/html" in head.lower():
            links = {unescape(link) for link in LINK.findall(bodies[target])}
            waiting |= {urljoin(target, link) for link in links} - bodies.keys() - {"/console/calls/live"}
    return bodies


@pytest.mark.parametrize("workers", [1, 2])
async def test_every_link_leads_to_a_page_without_secrets(tmp_path: Path, workers: int) -> None:
    key = base64.b64encode(os.urandom(32)).decode()
    for name, text in (("state-key", key), ("erp", CALLER_SECRET)):
        (tmp_path / name).write_text(text, encoding="ascii")
        (tmp_path / name).chmod(0o600)
    async with Sandbox() as sandbox:
        password = {"file": str(tmp_path / "erp")}
        settings = {
            "workers": workers,
            "console": {},
            "state": {"path": str(tmp_path / "state.db"), "keys": [{"file": str(tmp_path / "state-key")}]},
            "callers": {"erp": {"basic": {"username": "erp", "password": password}, "quota": {"calls": "100/h"}}},
            "services": {"acme": {"url": sandbox.origin, "packs": 1}},
            "credentials": {
                "app": credential(sandbox.token_url, scope=sandbox.scope),
                "wrong": credential(sandbox.token_url, scope="urn:unknown"),
            },
            "routes": [
                route("orders", sandbox.upstream("ORDERS"), callers=["erp"]),
                route("status", sandbox.upstream("STATUS")),
                route("wrong", sandbox.upstream("ORDERS")) | {"credential": "wrong"},
            ],
        }
        async with before(tmp_path, sandbox, **settings) as gate:
            proof = "Authorization: " + basic(f"erp:{CALLER_SECRET}").decode()
            targets = ("/orders/?secret=s3cr3t-query", "/status/503", "/wrong/", "/nowhere")
            for target in targets:
                await gate.get(target, proof)
            await gate.wait_for_records(len(targets))
            bodies = await read_all_pages(gate)
        tokens = {call.header("Authorization") or "" for call in sandbox.calls}
    pages = {target for target in bodies if not target.startswith(("/console/static/", "/console/series"))}
    wanted = (
        "credentials/app",
        "credentials/wrong",
        "routes/orders",
        "calls",
        "callers",
        "usage",
        "usage.csv?by=route&since=30d",
    )
    assert {f"/console/{page}" for page in (*wanted, "configuration", "audit")} <= pages
    text = "".join(bodies.values())
    secrets = {DEFAULT_SECRET, key, CALLER_SECRET, "s3cr3t-query", *(token.removeprefix("Bearer ") for token in tokens)}
    assert len(secrets) == 5
    for planted in secrets:
        for part in {planted, planted.split(".")[-1], base64.b64encode(f"erp:{planted}".encode()).decode()}:
            assert part not in text
    for target in pages:
        if bodies[target].startswith("<!DOCTYPE html>"):
            assert Outline(bodies[target]).problems == [], target
