"""What a newcomer can do with the client and the user that every sandbox knows: every grant without a certificate."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
import yaml
from yarl import URL

from gateway.sandbox import DEFAULT_PASSWORD, DEFAULT_USER, Sandbox
from gateway.sandbox.config_file import minimal_config
from tests.fakes.process import Process, run

SECRETS = {"STATE_KEY": "0123456789abcdef" * 4, "PASSWORD": DEFAULT_PASSWORD}


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as started:
        yield started


def configured(folder: Path, sandbox: Sandbox, **more: Any) -> Path:
    """The printed configuration, narrow, with more keys of the credential."""
    secret = folder / "secret"
    secret.write_text(sandbox.client_secret, encoding="utf-8")
    document = minimal_config(sandbox, {"file": str(secret)})
    credential = document["credentials"]["sandbox"]
    credential |= {"scope": f"{sandbox.scope} offline_access", **more}
    document |= {"state": {"path": str(folder / "state.db"), "keys": [{"env": "STATE_KEY"}], "timeout": "20s"}}
    file = folder / "gateway.yaml"
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    return file


async def subject(file: Path) -> str:
    """For whom the credential's token speaks."""
    ended = await run("token", "sandbox", "-c", file, **SECRETS)
    assert ended.status == 0, ended.err
    return str(jwt.decode(ended.out.strip(), options={"verify_signature": False})["sub"])


@pytest.mark.parametrize("more", [{}, {"redirect_uri": "http://127.0.0.1:{port}/back"}])
async def test_a_person_signs_in(tmp_path: Path, sandbox: Sandbox, unused_tcp_port: int, more: dict[str, str]) -> None:
    keys = {name: value.format(port=unused_tcp_port) for name, value in more.items()}
    file = configured(tmp_path, sandbox, grant="authorization_code", **keys)
    async with Process("login", "-c", file, "sandbox", **SECRETS) as process:
        await process.until(lambda: b"Waiting" in process.out)
        [url] = re.findall(r"(?m)^  (http\S+)$", process.output_text())
        async with aiohttp.ClientSession() as browser, browser.get(URL(url, encoded=True)) as page:
            assert page.status == 200
        assert await process.ended() == 0, process.output_text()
        assert f"signed in as {DEFAULT_USER}" in process.output_text()
    assert await subject(file) == DEFAULT_USER


async def test_the_user_has_a_password(tmp_path: Path, sandbox: Sandbox) -> None:
    keys = {"grant": "password", "username": DEFAULT_USER, "password": {"env": "PASSWORD"}}
    assert await subject(configured(tmp_path, sandbox, **keys)) == DEFAULT_USER


async def test_a_refresh_token_may_come_from_elsewhere(tmp_path: Path, sandbox: Sandbox) -> None:
    token = tmp_path / "refresh-token"
    token.write_text(sandbox.mint_refresh(), encoding="utf-8")
    keys = {"grant": "refresh_token", "refresh_token": {"file": str(token)}}
    assert await subject(configured(tmp_path, sandbox, **keys)) == DEFAULT_USER
