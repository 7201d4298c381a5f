"""A runtime that is built changes nothing before it is adopted: another worker may refuse the reload."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.config.model import Config
from gateway.observe.log import set_up_log
from gateway.observe.metrics import Metrics
from gateway.server.gateway import Gateway
from gateway.wiring.components import Components, Runtime
from tests.fakes.gate import SECRET, config
from tests.fakes.identity import Identity, token


def with_budget(identity: Identity, per_minute: int, **settings: Any) -> Config:
    return config(identity.url, "http://127.0.0.1:1", credential={"budget": {"per_minute": per_minute}}, **settings)


@pytest.fixture
async def identity() -> AsyncIterator[Identity]:
    async with Identity(token("a")) as identity:
        yield identity


@pytest.fixture
async def components() -> AsyncIterator[Components]:
    components = Components(Metrics("test"), environ={"GATE_SECRET": SECRET})
    try:
        yield components
    finally:
        await components.close()


@pytest.fixture
def state(tmp_path: Path) -> dict[str, Any]:
    key = tmp_path / "key"
    key.write_text(secrets.token_hex(32), encoding="utf-8")
    key.chmod(0o600)
    return {"path": str(tmp_path / "state.db"), "keys": [{"file": str(key)}]}


def build(components: Components, config: Config) -> Runtime:
    return components.build_runtime(config, components.load_files(config))


def present_settings(components: Components, runtime: Runtime) -> tuple[object, str]:
    """Return the rate limit of the runtime in use, and the kind of the store for new token sources."""
    return runtime.sources["app"].status()["budget_left"], components.credential_builder.store.health().kind


async def test_a_runtime_changes_nothing_before_it_is_adopted(
    components: Components, identity: Identity, state: dict[str, Any]
) -> None:
    before = build(components, with_budget(identity, 60))
    components.adopt(before)
    after = build(components, with_budget(identity, 7, state=state))
    assert present_settings(components, before) == (60, "memory")
    components.adopt(after)
    assert present_settings(components, after) == (7, "file")


async def test_a_reload_after_a_refused_one_reuses_token_sources(
    components: Components, identity: Identity, state: dict[str, Any]
) -> None:
    before = build(components, with_budget(identity, 60))
    components.adopt(before)
    build(components, with_budget(identity, 60, state=state))  # refused by another worker
    after = build(components, with_budget(identity, 60))
    components.adopt(after)
    assert after.sources["app"] is before.sources["app"]


@asynccontextmanager
async def running_gateway(config: Config, folder: Path) -> AsyncIterator[Gateway]:
    with (folder / "log").open("w", encoding="utf-8") as stream:
        log = set_up_log(stream=stream)
        gateway = Gateway(config, log, environ={"GATE_SECRET": SECRET}, pseudonym="gate")
        try:
            yield gateway
        finally:
            await gateway.drain()
            await gateway.finish(force_stop=asyncio.Event())
            log.close()


def open_stores() -> int:
    """Return the number of open stores: each has a task that monitors it."""
    return sum(task.get_name() == "store" for task in asyncio.all_tasks())


async def test_the_store_of_a_refused_reload_is_closed(
    identity: Identity, state: dict[str, Any], tmp_path: Path
) -> None:
    async with running_gateway(with_budget(identity, 60), tmp_path) as gateway:
        await gateway.prepare(with_budget(identity, 60, state=state))  # refused by another worker
        assert open_stores() == 1
        await gateway.prepare(with_budget(identity, 7, state=state))
        assert open_stores() == 1, "the same store"
        await gateway.prepare(with_budget(identity, 60))
        assert open_stores() == 0


async def test_the_store_in_use_outlives_a_refused_reload(
    identity: Identity, state: dict[str, Any], tmp_path: Path
) -> None:
    async with running_gateway(with_budget(identity, 60, state=state), tmp_path) as gateway:
        await gateway.prepare(with_budget(identity, 7, state=state))  # refused by another worker
        await gateway.prepare(with_budget(identity, 60))
        assert open_stores() == 1
