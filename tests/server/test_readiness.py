"""A gateway is ready once callers can connect, and not while it stops."""

import asyncio
import socket
from pathlib import Path

from gateway.observe.log import set_up_log
from gateway.server.gateway import Gateway
from tests.fakes.gate import SECRET, config
from tests.fakes.identity import Identity, token


async def test_a_gateway_is_ready_only_while_callers_can_connect(tmp_path: Path) -> None:
    async with Identity(token("a")) as identity:
        with (tmp_path / "log").open("w", encoding="utf-8") as stream:
            log = set_up_log(stream=stream)
            settings = config(identity.url, "http://127.0.0.1:1")
            gateway = Gateway(settings, log, environ={"GATE_SECRET": SECRET}, pseudonym="gate")
            assert await gateway.readiness() == (False, {"state": "starting"})
            listener = socket.create_server(("127.0.0.1", 0))
            await gateway.open([f"127.0.0.1:{listener.getsockname()[1]}"], [[listener]])
            is_ready, document = await gateway.readiness()
            assert (is_ready, document["state"]) == (True, "ready")
            await gateway.drain()
            assert await gateway.readiness() == (False, {"state": "draining"})
            await gateway.finish(force_stop=asyncio.Event())
            log.close()
