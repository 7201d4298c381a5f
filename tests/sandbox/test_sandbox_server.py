import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path

import aiohttp
import pytest

from gateway.sandbox import DEFAULT_ID, RegisteredClient, Sandbox
from tests.fakes.certificates import server_pem

Send = Callable[..., Awaitable[tuple[int, Mapping[str, str], bytes]]]


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of its own making for 127.0.0.1 and localhost, with its key, in one PEM file."""
    return server_pem(tmp_path)


async def test_it_speaks_tls(certificate: Path, send: Send) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    trust = ssl.create_default_context(cafile=certificate)
    async with Sandbox(ssl_context=context) as sandbox:
        headers = {"Authorization": f"Bearer {sandbox.mint()}"}
        status, answered, _ = await send("POST", sandbox.upstream("ORDERS"), data=b"{}", headers=headers, ssl=trust)
        assert status == 201
        assert answered["Location"].startswith(f"{sandbox.origin}/ic/")
        assert sandbox.origin.startswith("https://127.0.0.1:")
        assert sandbox.design_origin.startswith("https://localhost:")


async def test_other_paths_are_not_found(sandbox: Sandbox, send: Send) -> None:
    assert (await send("GET", sandbox.origin + "/"))[0] == 404
    assert (await send("GET", sandbox.origin + "/oauth2/v1/token/x"))[0] == 404
    assert len(sandbox.calls) == len(sandbox.token_requests) == 0


async def test_the_default_client_can_be_replaced() -> None:
    async with Sandbox(
        clients={DEFAULT_ID: RegisteredClient(secret="mine"), "more": RegisteredClient(secret="s")}
    ) as sandbox:
        assert sandbox.client_secret == "mine"
        assert set(sandbox.clients) == {DEFAULT_ID, "more"}


async def test_a_token_of_another_sandbox_is_refused(sandbox: Sandbox, call: Send) -> None:
    async with Sandbox() as other:
        assert (await call("GET", sandbox.upstream("ECHO"), token=other.mint()))[0] == 401


async def test_a_held_request_does_not_hold_the_end(send: Send) -> None:
    async with Sandbox() as sandbox:
        sandbox.switches.token_gate = asyncio.Event()
        task = asyncio.ensure_future(
            send("POST", sandbox.token_url, data={"grant_type": "client_credentials", "scope": sandbox.scope})
        )
        await sandbox.token_requests.reached(1)
    with pytest.raises(aiohttp.ClientConnectionError):
        await task


async def test_a_refused_upload_is_answered_before_its_end(sandbox: Sandbox) -> None:
    go_on = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"x" * 1000
        await go_on.wait()

    async with aiohttp.ClientSession() as session:
        async with session.post(sandbox.upstream("UPLOAD"), data=pieces()) as reply:
            assert reply.status == 401
        go_on.set()
    assert not sandbox.calls[0].body_complete


async def test_a_taken_port_is_an_os_error(sandbox: Sandbox) -> None:
    port = int(sandbox.origin.rpartition(":")[2])
    with pytest.raises(OSError, match="address"):
        await Sandbox(port=port).start()
