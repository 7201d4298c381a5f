"""The fuzzer's corpus, replayed without the fuzzer: every claim holds of every input that was ever of interest."""

import asyncio
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.http.caller_connection import CHUNK_OVERHEAD, CallerConnection
from gateway.http.request_body import RequestBody
from gateway.http.request_head import RequestHead
from gateway.http.server import CallerServer
from gateway.proxy.headers import REQUEST_RULES
from tests.fuzz.claims import check_replies, check_requests
from tests.fuzz.thin import thinned
from tests.fuzz.wire import LIMITS, converse

CORPUS = Path(__file__).parent / "corpus"
REQUESTS, REPLIES = (
    {path.name: path.read_bytes() for path in sorted((CORPUS / name).iterdir())} for name in ("requests", "replies")
)
Served = tuple[str, str, bytes, str | None]
"""Method, target, body and the code of the fault."""


def fault_of(head: RequestHead) -> str | None:
    return None if head.error is None else head.error.code


def test_the_corpus_is_there_and_small() -> None:
    assert min(len(REQUESTS), len(REPLIES)) >= 20
    assert len(REQUESTS) + len(REPLIES) < 200
    assert sum(map(len, [*REQUESTS.values(), *REPLIES.values()])) < 400_000


@pytest.mark.parametrize("name", REQUESTS)
def test_claims_hold_for_the_corpus_of_requests(name: str) -> None:
    check_requests(REQUESTS[name])


@pytest.mark.parametrize("name", REPLIES)
def test_claims_hold_for_the_corpus_of_responses(name: str) -> None:
    check_replies(REPLIES[name])


DAMAGE = st.sampled_from([b"", b"\r", b"\n", b"\0", b" ", b"\t", b":", b",", b"0", b"\r\n", b"\r\n\r\n", b"\xff"])


def damaged(data: st.DataObject, inputs: dict[str, bytes]) -> bytes:
    """One or two inputs, one behind the other, a few bytes of them replaced."""
    raw = bytearray().join(data.draw(st.lists(st.sampled_from(list(inputs.values())), min_size=1, max_size=2)))
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(raw)))
        raw[at : at + data.draw(st.integers(0, 2))] = data.draw(DAMAGE)
    return bytes(raw)


@given(st.data())
def test_claims_hold_for_mutated_requests(data: st.DataObject) -> None:
    check_requests(damaged(data, REQUESTS))


@given(st.data())
def test_claims_hold_for_mutated_responses(data: st.DataObject) -> None:
    check_replies(damaged(data, REPLIES))


class Memory:
    """A handler that only remembers."""

    def __init__(self) -> None:
        self.served: list[Served] = []
        self.refused: str | None = None

    async def serve(self, caller: CallerConnection, head: RequestHead, body: RequestBody) -> bool:
        pieces: list[bytes] = []
        body.configure(replay_limit=0, limit=None, send_continue=None)
        try:
            while not body._is_all_read:
                pieces += await body._read_pieces(5.0)
        except GatewayError as error:
            self.refused = error.code
            return False
        self.served.append((head.method, head.target, b"".join(pieces), fault_of(head)))
        return head.error is None and head.keeps_alive

    def log_trailing_bytes(self, caller: CallerConnection, count: int) -> None:
        pass

    def is_allowed(self, peer: str | None) -> bool:
        return True

    def answers_half_closed(self, caller: CallerConnection) -> bool:
        return True

    def reject(self, caller: CallerConnection, error: GatewayError, data: bytes) -> None:
        self.refused = error.code


@pytest.mark.parametrize("name", REQUESTS)
async def test_server_and_reference_parser_agree(name: str) -> None:
    data, memory = REQUESTS[name], Memory()
    server = CallerServer(memory, LIMITS, REQUEST_RULES)
    here, there = socket.socketpair()
    with there:
        _, connection = await asyncio.get_running_loop().connect_accepted_socket(server.factory(), here)
        connection.data_received(data)
        for _ in range(4 * len(data)):  # each request takes the loop a few turns
            await asyncio.sleep(0)
        await server.shutdown(0.01)
    expected = converse(data, [], overhead=CHUNK_OVERHEAD)
    assert memory.served == [
        (message.head.method, message.head.target, message.body, fault_of(message.head))
        for message in expected.messages
        if message.complete
    ]
    assert memory.refused == expected.refused


def test_a_thin_corpus_takes_the_same_ways() -> None:
    again = thinned(check_requests, REQUESTS.values())
    assert set(again) <= set(REQUESTS.values())
    short, long = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n"
    assert thinned(check_requests, [long, short, long]) == [short]
