"""A route that leads back to its own gateway ends at the second passage, whoever stands in between."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.identity import Identity
from tests.fakes.process import Process, gateway
from tests.fakes.upstream import Upstream
from tests.system.scene import SECRETS, between, simple, written


class Relay:
    """Passes the bytes of each connection on to `to`, HOST:PORT, which may be set later."""

    def __init__(self) -> None:
        self.to = ""
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self.to.rpartition(":")
        streams = await asyncio.open_connection(host, int(port))
        with contextlib.suppress(OSError):
            await asyncio.gather(_copy(reader, streams[1]), _copy(streams[0], writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


@contextlib.asynccontextmanager
async def relay() -> AsyncIterator[Relay]:
    one = Relay()
    server = await asyncio.start_server(one.serve, "127.0.0.1", 0)
    one.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/orders/"
    yield one
    server.close()


async def check_loop(gate: Process, gates: tuple[Process, ...], hops: int) -> None:
    status, head, body = await gate.get("/orders/1")
    assert status == 508
    assert b"\r\nX-Gateway-Error: loop-detected\r\n" in head
    assert b"loop-detected" in body
    records = [record for one in gates for record in one.records]
    for one in gates:
        await one.wait_for_records()
    await gate.wait_for_records(2)
    records = [record for one in gates for record in one.records]
    assert len(records) == hops
    assert {(record["status"], record["error"]) for record in records} == {(508, "loop-detected")}


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_route_to_the_gateway_itself_ends(tmp_path: Path, workers: int) -> None:
    async with Identity() as identity, relay() as back:
        file = written(tmp_path, simple(identity.url, back.url, workers=workers))
        async with gateway(file, **SECRETS) as gate:
            back.to = gate.listen
            await check_loop(gate, (gate,), 2)


async def test_two_gateways_that_name_each_other_end(tmp_path: Path) -> None:
    async with Identity() as identity, relay() as there, relay() as back:
        one = written(tmp_path, simple(identity.url, there.url), "one.yaml")
        other = written(tmp_path, simple(identity.url, back.url), "other.yaml")
        async with gateway(one, **SECRETS) as first, gateway(other, **SECRETS) as second:
            there.to, back.to = second.listen, first.listen
            await check_loop(first, (first, second), 3)


async def test_a_chain_of_two_gateways_is_no_loop(tmp_path: Path) -> None:
    async with Identity() as identity, Upstream() as upstream, relay() as there:
        file = written(tmp_path, simple(identity.url, there.url), "one.yaml")
        async with gateway(file, **SECRETS) as first, between(tmp_path, identity, upstream) as second:
            there.to = second.listen
            assert (await first.get("/orders/1"))[0] == 200
        names = [member.split()[1] for member in (upstream.requests[0].field("Via") or "").split(", ")]
        assert len(set(names)) == 2
        assert all(name.startswith("oic-gateway-") for name in names)
