"""What a process loads and keeps: nothing of another verb, little at rest, and ten thousand routes as well as one."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.sandbox import DEFAULT_ID, Sandbox
from tests.fakes.process import ROOT, fresh_gateway, gateway, run
from tests.system.scene import SECRETS, settings, written

TRACED = {"PYTHONPROFILEIMPORTTIME": "1"}
"""Has Python say each import on stderr."""

MIB = 1024
"""In KiB, as /proc counts."""
AT_REST = 58 * MIB
EACH_ROUTE = 6  # KiB
MANY = 10_000

# By module: why `serve` has no need of it.
SPARED = {
    "gateway.history.sqlite_tables": "only where `state` names a file",
    "aiohttp.web": "the admin port needs a part of it, only the console all",
    "argon2": "only with a console",
    "jinja2": "only with a console",
    "google.protobuf": "only with `telemetry`",
    "multiprocessing": "workers are forked without it",
    "cryptography": "ten MiB and a tenth of the start, for JWTs alone",
    "gateway.config.hashicorp_vault": "only where `vault` has a URL",
    "oci": "only where a secret is in OCI Vault",
    "gateway.limits.limit_coordinator": "only where callers have limits",
    "gateway.services.replica_places": "only where `state` names a Redis",
    "redis": "only where `state` names one",
    "sqlite3": "only where `state` names a file",
    "jwt": "only the token of an identity domain that leaves out `expires_in` is read",
    "gateway.cli.instances": "a verb's own",
    "gateway.cli.usage": "a verb's own",
    "gateway.cli.probe": "a verb's own",
    "gateway.config.reference": "the checks' own",
    "gateway.config.schema": "a verb's own",
    "gateway.init": "a verb's own",
    "gateway.checks.run": "a verb's own",
    "gateway.sandbox": "a verb's own, and as large as the rest",
}


def imported(err: str | bytes) -> set[str]:
    text = err.decode() if isinstance(err, bytes) else err
    return set(re.findall(r"^import time:.*\| +(\S+)$", text, re.MULTILINE))


async def test_serve_imports_nothing_that_it_does_not_use(tmp_path: Path, sandbox: Sandbox) -> None:
    async with gateway(written(tmp_path, settings(sandbox)), **SECRETS, **TRACED) as process:
        assert (await process.ask("/readyz"))[0] == 200
        assert (await process.get("/orders/"))[0] == 200
    loaded = imported(bytes(process.err))
    assert {"gateway.server.gateway", "aiohttp", "pydantic"} <= loaded
    assert [name for name in SPARED if name in loaded] == []


@pytest.mark.parametrize(
    ("arguments", "spared"),
    [
        (["--version"], ["asyncio", "ssl", "email", "pydantic", "aiohttp", "yaml", "msgspec", "dataclasses"]),
        (["probe", "--admin", "unix:/nowhere"], ["asyncio", "pydantic", "aiohttp", "yaml", "msgspec"]),
        (["instances", "--admin", "unix:/nowhere"], ["asyncio", "pydantic", "aiohttp", "yaml", "sqlite3"]),
        (["usage", "--admin", "unix:/nowhere"], ["asyncio", "pydantic", "aiohttp", "yaml", "sqlite3"]),
        (["schema"], ["asyncio", "aiohttp", "yaml"]),
        (["check", "-c", ROOT / "nowhere.yaml"], ["asyncio", "aiohttp", "prometheus_client"]),
    ],
)
async def test_a_verb_imports_nothing_of_another(arguments: list[str | Path], spared: list[str]) -> None:
    loaded = imported((await run(*arguments, **TRACED)).err)
    assert "gateway.cli.main" in loaded
    assert [name for name in (*spared, "gateway.server.gateway", "gateway.sandbox") if name in loaded] == []


# A frozen dataclass compiles six functions, which takes a millisecond; a `msgspec.Struct` takes a fiftieth of that. But
# it cannot leave a secret out of its repr, or have a field that no argument sets.
FIND_DATACLASSES = """
import dataclasses, sys
import gateway.server.single_process
for module in [module for name, module in sys.modules.items() if name.startswith("gateway.")]:
    for each in vars(module).values():
        if isinstance(each, type) and each.__module__ == module.__name__ and dataclasses.is_dataclass(each):
            fields = dataclasses.fields(each)
            if each.__dataclass_params__.frozen and all(field.repr and field.init for field in fields):
                print(each.__qualname__)
"""


def test_values_without_secrets_are_structures() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FIND_DATACLASSES], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


async def test_a_gateway_at_rest_is_small(tmp_path: Path, sandbox: Sandbox) -> None:
    async with fresh_gateway(written(tmp_path, settings(sandbox)), **SECRETS) as process:
        assert (await process.get("/orders/"))[0] == 200
        assert process.memory("VmRSS") < AT_REST, process.memory("VmRSS")


async def test_ten_thousand_routes_are_read_and_served_in_little_room(tmp_path: Path, sandbox: Sandbox) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(_many_routes(sandbox), encoding="utf-8")
    checked = await run("check", "-c", file, **SECRETS)
    assert (checked.status, checked.err) == (0, "")
    assert f"{MANY} routes, 100 credentials" in checked.out
    async with fresh_gateway(file, **SECRETS) as process:
        status, _, body = await process.get(f"/area-99/flow-{MANY - 1}/")
        assert (status, body[:1]) == (200, b"{")
        assert process.memory("VmRSS") < AT_REST + MANY * EACH_ROUTE


def _many_routes(sandbox: Sandbox) -> str:
    """As a person or a generator writes it, not as JSON: block style is the slower to read."""
    [secret] = SECRETS
    credentials = "".join(
        f"  app-{number}:\n    token_url: {sandbox.token_url}\n    client_id: {DEFAULT_ID}\n"
        f"    client_secret: {{env: {secret}}}\n    scope: {sandbox.scope}\n"
        for number in range(100)
    )
    routes = "".join(
        f"  - name: flow-{number}\n    path: /area-{number % 100}/flow-{number}/\n    methods: [GET, POST]\n"
        f"    upstream: {sandbox.upstream('ORDERS')}\n    credential: app-{number % 100}\n"
        for number in range(MANY)
    )
    return f"listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\ncredentials:\n{credentials}routes:\n{routes}"
