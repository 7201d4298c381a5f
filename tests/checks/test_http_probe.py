"""One request on a connection of its own."""

import pytest

from gateway.checks.http_probe import MAX_BODY, send_probe
from gateway.errors import UpstreamBroken, UpstreamTimeout, UpstreamUnreachable
from gateway.network.dial import Origin
from tests.fakes.upstream import CLOSE, ScriptedConnection, Upstream, reply


def origin(upstream: Upstream) -> Origin:
    return Origin("127.0.0.1", upstream.port, None, None)


async def test_the_request_is_what_was_asked_for_and_no_more() -> None:
    async with Upstream(reply(307, b"gone", "Location: http://elsewhere.example/", "X-One: 1")) as upstream:
        fields = [("X-Key", "a")]
        answer = await send_probe(
            origin(upstream), "GET", "/x?y=1", host="oic.example", fields=fields, bearer="t0ken", within=5
        )
        [request] = upstream.requests
        assert request.line == "GET /x?y=1 HTTP/1.1"
        assert dict(request.fields) == {
            "Host": "oic.example",
            "User-Agent": "oic-gateway",
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "Connection": "close",
            "X-Key": "a",
            "Authorization": "Bearer t0ken",
        }
        assert upstream.connections == 1, "no redirect is followed"
    assert (answer.status, answer.text) == (307, "gone")
    assert (answer.fields["location"], answer.fields["x-one"]) == ("http://elsewhere.example/", "1")
    assert "gone" not in repr(answer)


async def test_without_a_token_there_is_no_authorization() -> None:
    async with Upstream() as upstream:
        await send_probe(origin(upstream), "OPTIONS", "/", host="x", within=5)
        assert upstream.requests[0].field("Authorization") is None


async def test_a_long_body_is_cut() -> None:
    async with Upstream(reply(200, b"x" * 1_000_000)) as upstream:
        answer = await send_probe(origin(upstream), "GET", "/", host="x", within=5)
    assert answer.text == "x" * MAX_BODY


async def test_bytes_that_are_no_text_are_no_error() -> None:
    async with Upstream(reply(200, b"\xff\xfe")) as upstream:
        assert (await send_probe(origin(upstream), "GET", "/", host="x", within=5)).text == "\ufffd\ufffd"


async def test_a_closed_connection_is_named() -> None:
    async with Upstream(CLOSE) as upstream:
        with pytest.raises(UpstreamBroken):
            await send_probe(origin(upstream), "GET", "/", host="x", within=5)


async def test_silence_ends_in_time() -> None:
    async def silence(peer: ScriptedConnection) -> None:
        await peer.head()
        await peer.reader.read()

    async with Upstream(silence) as upstream:
        with pytest.raises(UpstreamTimeout):
            await send_probe(origin(upstream), "GET", "/", host="x", within=0.05)


async def test_a_refused_connection_is_named() -> None:
    with pytest.raises(UpstreamUnreachable):
        await send_probe(Origin("oic.invalid", 80, None, None), "GET", "/", host="x", within=5)
