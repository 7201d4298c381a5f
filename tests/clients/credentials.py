"""Clients of other languages prove callers with the credentials that they send today: Java, .NET (mono), PHP.

Run by `make test-clients`, which installs what they need from Debian; no part of the usual tests.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.sandbox import Sandbox
from tests.clients.soap_clients import HERE, JAX_WS, MONO_LIBRARIES, jars, run
from tests.fakes.process import Process
from tests.system.scene import before, route

PASSWORD = "s3cr3t-of-erp-0123456789"
CREATED = ["201", "201"]
LOG_OF_JAVA = re.compile("FactoryFinder find$|^WARNING: ")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every client, compiled."""
    folder = tmp_path_factory.mktemp("callers")

    async def build() -> None:
        await run("javac", "-cp", jars(JAX_WS), "-d", str(folder), str(HERE / "JavaCaller.java"))
        libraries = [f"-r:{name}.dll" for name in MONO_LIBRARIES]
        await run("mcs", "-nologo", *libraries, f"-out:{folder}/MonoCaller.exe", str(HERE / "MonoCaller.cs"))

    asyncio.run(build())
    return folder


@pytest.fixture
async def gate(tmp_path: Path) -> AsyncIterator[Process]:
    """A gateway in front of a sandbox: `orders` is for Basic, `hello` for Basic and WS-Security, `open` for all."""
    file = tmp_path / "erp"
    file.write_text(PASSWORD, encoding="utf-8")
    file.chmod(0o600)
    proof = {"username": "erp", "password": {"file": str(file)}}
    async with Sandbox() as sandbox:
        routes = [
            route("orders", sandbox.upstream("ORDERS"), callers=["erp"]),
            route("hello", sandbox.soap_upstream(), callers=["erp"]),
            route("token", sandbox.soap_upstream(), callers=["crm"]),
            route("open", sandbox.soap_upstream(), methods=["GET"]),
        ]
        callers = {"erp": {"basic": proof}, "crm": {"wsse": proof}}
        async with before(tmp_path, sandbox, callers=callers, routes=routes) as running:
            yield running


def seen(gate: Process) -> list[tuple[object, object]]:
    """The caller and the error of each call to a guarded route."""
    return [(record["caller"], record["error"]) for record in gate.records if record["route"] != "open"]


async def printed(gate: Process, built: Path, client: str, stack: str, password: str = PASSWORD) -> list[str]:
    """The lines that a client prints."""
    is_wsse = stack.startswith("saaj") or stack in {"text", "digest"}
    path = "token" if is_wsse else "hello" if stack in {"jax-ws", "wcf", "login"} else "orders"
    url = f"http://{gate.listen}/{path}/"
    command = {
        "java": ("java", "-cp", f"{jars(JAX_WS)}:{built}", "JavaCaller", stack, url),
        "mono": ("mono", f"{built}/MonoCaller.exe", stack, url),
        "php": ("php", str(HERE / "caller.php"), stack, f"http://{gate.listen}/open/?wsdl", url),
    }[client]
    lines = (await run(*command, "erp", password)).splitlines()
    return [line for line in lines if not LOG_OF_JAVA.search(line)]


Call = tuple[object, object]
UNKNOWN: Call = (None, "unknown-caller")
ERP: Call = ("erp", None)
CRM: Call = ("crm", None)
CALLS: dict[tuple[str, str], tuple[list[str], list[Call]]] = {
    # These send no credentials before a 401 with a challenge; then they repeat the request.
    ("java", "http-client"): (CREATED, [UNKNOWN, ERP, ERP]),
    ("java", "url-connection"): (CREATED, [UNKNOWN, ERP, ERP]),
    ("mono", "web-request"): (CREATED, [UNKNOWN, ERP, UNKNOWN, ERP]),
    ("mono", "web-client"): (["201"], [UNKNOWN, ERP]),
    # These send them at once.
    ("mono", "pre-authenticate"): (CREATED, [ERP, ERP]),
    ("mono", "wcf"): (["reply"], [UNKNOWN, ERP]),
    ("java", "jax-ws"): (["reply"], [ERP]),
    ("java", "saaj-text"): (["reply"], [CRM]),
    ("java", "saaj-digest"): (["reply"], [CRM]),
    ("php", "login"): (["reply"], [ERP]),
    ("php", "text"): (["reply"], [CRM]),
    ("php", "digest"): (["reply"], [CRM]),
}
REFUSALS = {
    ("java", "jax-ws"): "error: .*401",
    ("java", "saaj-digest"): "fault: .*which caller",
    ("mono", "web-request"): "401",
    ("php", "login"): "fault: ",
    ("php", "digest"): "fault: .*which caller",
}


@pytest.mark.parametrize(("client", "stack"), CALLS)
async def test_a_client_proves_its_caller(client: str, stack: str, built: Path, gate: Process) -> None:
    lines, calls = CALLS[client, stack]
    assert await printed(gate, built, client, stack) == lines
    await gate.until(lambda: len(seen(gate)) >= len(calls))
    assert seen(gate) == calls


@pytest.mark.parametrize(("client", "stack"), REFUSALS)
async def test_a_client_reads_that_its_password_is_wrong(client: str, stack: str, built: Path, gate: Process) -> None:
    [line] = await printed(gate, built, client, stack, "nix")
    assert re.match(REFUSALS[client, stack], line), line
    await gate.until(lambda: bool(seen(gate)))
    assert {error for _, error in seen(gate)} == {"unknown-caller"}
