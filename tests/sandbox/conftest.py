from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import Any

import aiohttp
import pytest
from yarl import URL

from gateway.sandbox import RegisteredClient, Sandbox

Answer = tuple[int, Mapping[str, str], bytes]
Send = Callable[..., Coroutine[None, None, Answer]]


class Clock:
    def __init__(self) -> None:
        self.time = 1_753_000_000.25

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def sandbox(clock: Clock) -> AsyncIterator[Sandbox]:
    clients = {
        "awkward+id": RegisteredClient(secret="a b+c%2F/:&=ü"),
        "no-role": RegisteredClient(secret="s", roles=frozenset()),
        "no-grant": RegisteredClient(secret="s", grants=frozenset()),
        "asleep": RegisteredClient(secret="s", active=False),
    }
    async with Sandbox(clients=clients, now=clock) as sandbox:
        yield sandbox


@pytest.fixture
async def send() -> AsyncIterator[Send]:
    """Sends one request to a URL that is taken byte for byte; follows nothing, unpacks nothing."""
    async with aiohttp.ClientSession(auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()) as session:

        async def send(method: str, url: str, **options: Any) -> Answer:
            target = URL(url, encoded=True)
            async with session.request(method, target, allow_redirects=False, **options) as reply:
                return reply.status, reply.headers, await reply.read()

        yield send


@pytest.fixture
def ask(sandbox: Sandbox, send: Send) -> Send:
    """Sends a token request of the default client; `form` is merged, None leaves a parameter out."""

    async def ask(*, basic: str | None = None, **form: str | None) -> Answer:
        authorization = aiohttp.encode_basic_auth(sandbox.client_id, sandbox.client_secret) if basic is None else basic
        parameters = {"grant_type": "client_credentials", "scope": sandbox.scope, **form}
        data = {name: value for name, value in parameters.items() if value is not None}
        headers = {"Authorization": authorization} if authorization else {}
        return await send("POST", sandbox.token_url, data=data, headers=headers)

    return ask


@pytest.fixture
def call(sandbox: Sandbox, send: Send) -> Send:
    """Calls OIC with a good bearer, or with `token`."""

    async def call(method: str, url: str, *, token: str | None = None, **options: Any) -> Answer:
        bearer = sandbox.mint() if token is None else token
        headers = {"Authorization": f"Bearer {bearer}", **options.pop("headers", {})}
        return await send(method, url, headers=headers, **options)

    return call
