"""A response head that is not clean HTTP/1 is an error, and the run that it names is on record."""

import asyncio

import pytest

from tests.fakes.gate import scene
from tests.fakes.upstream import Script, ScriptedConnection, reply

ID = "lJrSjUUVEfGXW0tyvl-GZA"
LINE = f"x-oracle-ics-instance-id: {ID}\r\n".encode()
START = b"HTTP/1.1 200 OK\r\n"
END = b"Content-Length: 2\r\n\r\nok"

HEADS = {
    "a folded field": START + b"X-A: 1\r\n 2\r\n" + LINE + END,
    "a folded id": START + LINE.replace(b": ", b":\r\n\t") + END,
    "line feeds alone": (START + LINE + END).replace(b"\r\n", b"\n"),
    "carriage returns alone": (START + LINE + END).replace(b"\r\n", b"\r"),
    "one bare line feed": START + b"X-A: 1\n" + LINE + END,
    "NUL in a field": START + b"X-A: \0\r\n" + LINE + END,
    "NUL behind the id": START + LINE + b"X-A: \0\r\n" + END,
    "a control byte in the reason": b"HTTP/1.1 200 O\x01K\r\n" + LINE + END,
    "two lengths": START + LINE + b"Content-Length: 3\r\n" + END,
    "a length that is no number": START + LINE + b"Content-Length: 2,2\r\n\r\nok",
    "a length and chunks": START + LINE + b"Transfer-Encoding: chunked\r\n" + END,
    "an unknown transfer coding": START + LINE + b"Transfer-Encoding: gzip\r\n\r\n",
    "a blank before the colon": START + LINE.replace(b":", b" :") + END,
    "a name that is none": START + b"X A: 1\r\n" + LINE + END,
    "a line without a colon": START + b"nonsense\r\n" + LINE + END,
    "a status of two digits": b"HTTP/1.1 20 OK\r\n" + LINE + END,
    "another version": b"HTTP/2.0 200 OK\r\n" + LINE + END,
    "another protocol": b"ICY 200 OK\r\n" + LINE + END,
    "no status line": LINE + END,
    "blank lines before it": b"\r\n\r\n" + START + LINE + END,
    "an unexpected 101": b"HTTP/1.1 101 Switching Protocols\r\n" + LINE + b"\r\n",
    "a field over the limit": START + LINE + b"X-A: " + b"a" * 70_000 + b"\r\n" + END,
    "the same id twice": START + LINE + LINE.upper().replace(ID.upper().encode(), ID.encode()) + b"X-A: \0\r\n" + END,
}
STATUSES = {
    "a status of two digits": None,
    "another protocol": None,
    "no status line": None,
    "an unexpected 101": 101,
}
GET = b"GET /orders/1 HTTP/1.1\r\nHost: gw\r\n\r\n"


def response_script(head: bytes, *, size: int, close: bool) -> Script:
    """After one request, sends the head in pieces, then closes or stays silent."""

    async def script(peer: ScriptedConnection) -> None:
        await peer.request()
        for at in range(0, len(head), size):
            await peer.send(head[at : at + size])
            await asyncio.sleep(0)
        if not close:
            await peer.reader.read()

    return script


@pytest.mark.parametrize("size", [1 << 20, 30])
@pytest.mark.parametrize("name", HEADS)
async def test_a_malformed_head_keeps_the_instance_id(name: str, size: int) -> None:
    script = response_script(HEADS[name], size=size if len(HEADS[name]) < 2000 else 1 << 20, close=False)
    async with scene(script, route={"idempotent": True}) as at:
        status, head, _ = await at.gate.get()
        assert status == 502
        assert b"\r\nX-Gateway-Error: upstream-broken\r\n" in head
        assert ID.encode() not in head
        [record] = await at.gate.wait_for_records()
        assert (record.instance_id, record.error) == (ID, "upstream-broken")
        assert record.upstream_status == STATUSES.get(name, 200)
        assert at.upstream.connections == 1  # a flow ran: no second try


@pytest.mark.parametrize("rest", [b"", b"\r\n"[:1], b"X-A: 1\r\n", b"X-A", b"opc-request-id: A/B"])
async def test_a_head_that_is_cut_off_behind_the_id_keeps_it(rest: bytes) -> None:
    async with scene(response_script(START + LINE + rest, size=1 << 20, close=True)) as at:
        assert (await at.gate.get())[0] == 502
        [record] = await at.gate.wait_for_records()
        assert (record.instance_id, record.upstream_status, record.opc_request_id) == (ID, 200, None)
        assert at.upstream.connections == 1


async def test_an_id_is_kept_when_the_rest_of_the_head_never_comes() -> None:
    async with scene(
        response_script(START + LINE, size=1 << 20, close=False), route={"timeout": {"response": "100ms"}}
    ) as at:
        assert (await at.gate.get())[0] == 504
        [record] = await at.gate.wait_for_records()
        assert (record.instance_id, record.error) == (ID, "upstream-timeout")


@pytest.mark.parametrize(
    "head",
    [
        START + LINE[:-2],  # it may go on
        START + LINE.replace(b": ", b":\r\n") + b"X-A: \0\r\n" + END,  # a line of its own
        START + LINE + b" more\r\nX-A: \0\r\n" + END,
        START + b"X-A: 1\r\n " + LINE + END.replace(b"2", b"x"),  # the other field's value
        START + LINE + LINE.replace(b"lJ", b"mK") + b"X-A: \0\r\n" + END,
        START + LINE.replace(b"lJ", b"l\0J") + END,
        START + LINE.replace(b"lJ", b"l J") + b"X-A: \0\r\n" + END,
        START + b"X-Not-" + LINE + b"X-A: \0\r\n" + END,
        START + b"X-A: \0\r\n\r\n" + LINE,  # in the body
        b"<html>" + LINE[:-2] + b"</html>",
    ],
)
async def test_what_is_not_plainly_one_id_is_none(head: bytes) -> None:
    async with scene(response_script(head, size=1 << 20, close=True)) as at:
        assert (await at.gate.get())[0] == 502
        [record] = await at.gate.wait_for_records()
        assert (record.instance_id, record.error) == (None, "upstream-broken")
        assert at.upstream.connections == 1


async def test_the_id_of_a_malformed_second_response_is_its_own() -> None:
    first = response_script(reply(502, b"", "opc-request-id: first"), size=1 << 20, close=True)
    async with scene(first, response_script(HEADS["NUL in a field"], size=1 << 20, close=False)) as at:
        assert (await at.gate.get())[0] == 502
        [record] = await at.gate.wait_for_records()
        assert (record.instance_id, record.upstream_status, record.opc_request_id) == (ID, 200, None)
        assert record.attempts == 2
