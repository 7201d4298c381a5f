"""Replies in the gateway's names on the wire: what a body's framing, coding and validators become."""

import asyncio
import gzip
import hashlib
import json
import zlib

import pytest

from tests.fakes.gate import Scene, scene, until
from tests.fakes.upstream import ScriptedConnection, reply

JSON = "Content-Type: application/json"
ID = "x-oracle-ics-instance-id: lJrSjUUVEfGXW0tyvl-GZA"
TAGS = (
    'ETag: "v1"',
    "Content-Digest: sha-256=:AA==:",
    "Digest: x",
    "Content-MD5: y",
    "Repr-Digest: z",
    "Accept-Ranges: bytes",
)
HOME = "http://localhost/orders"


def links(at: Scene, count: int = 1) -> bytes:
    url = f"{at.upstream.url}{at.gate.route.upstream_url.path}"
    return json.dumps({"links": [{"rel": "self", "href": f"{url}/{number}"} for number in range(count)]}).encode()


def named(count: int = 1) -> bytes:
    return json.dumps({"links": [{"rel": "self", "href": f"{HOME}/{number}"} for number in range(count)]}).encode()


def fields(head: bytes) -> dict[str, str]:
    rows = [line.decode("latin-1").partition(": ") for line in head.split(b"\r\n")[1:] if line]
    return {name.lower(): value for name, _, value in rows}


def chunked(body: bytes, *lines: str) -> bytes:
    head = "\r\n".join(["HTTP/1.1 200 Scripted", *lines, "Transfer-Encoding: chunked", "", ""]).encode()
    pieces = [body[at : at + 700] for at in range(0, len(body), 700)]
    return head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


async def test_a_short_rewritten_body_gets_its_new_length() -> None:
    async with scene() as at:
        at.upstream.script = [reply(200, links(at), JSON, *TAGS)]
        _, head, body = await at.gate.get()
        assert body == named()
        sent = fields(head)
        assert sent["content-length"] == str(len(named()))
        assert sent["etag"] == 'W/"v1"'
        assert sent.keys().isdisjoint({"content-digest", "digest", "content-md5", "repr-digest", "accept-ranges"})
        assert at.gate.records[0].bytes_out == len(named())


async def test_a_short_unchanged_body_keeps_length_and_digests() -> None:
    foreign = b'{"href": "https://elsewhere.example/ic/x/1"}'
    async with scene(reply(200, foreign, JSON, *TAGS)) as at:
        _, head, body = await at.gate.get()
        assert body == foreign
        assert [line for line in TAGS[1:] if line.encode() not in head] == ["Accept-Ranges: bytes"]
        assert fields(head)["etag"] == 'W/"v1"', "as that of HEAD, which shows no body"
        assert fields(head)["content-length"] == str(len(foreign))


async def test_other_media_types_keep_all_their_fields() -> None:
    async with scene() as at:
        for media in ("text/plain", "application/octet-stream", "text/html"):
            at.upstream.script = [reply(200, links(at), f"Content-Type: {media}", *TAGS)]
            _, head, body = await at.gate.get()
            assert body == links(at)
            assert [line for line in TAGS if line.encode() not in head] == ["Accept-Ranges: bytes"], "none are taken"


async def test_a_route_that_rewrites_nothing_passes_everything() -> None:
    async with scene(route={"rewrite": []}) as at:
        packed = gzip.compress(links(at))
        at.upstream.script = [reply(200, packed, JSON, "Content-Encoding: gzip", *TAGS)]
        _, head, body = await at.gate.get("/orders/1", "Accept-Encoding: gzip", "Range: bytes=0-1", 'If-Match: W/"v1"')
        assert body == packed
        assert fields(head)["content-encoding"] == "gzip"
        assert fields(head)["accept-ranges"] == "bytes"
        [request] = at.upstream.requests
        assert request.field("Accept-Encoding") == "gzip"
        assert request.field("Range") == "bytes=0-1"
        assert request.field("If-Match") == 'W/"v1"'


async def test_html_is_renamed_where_it_is_asked_for() -> None:
    async with scene(route={"rewrite": ["html"]}) as at:
        page = f'<a href="{at.upstream.url}/ic/x/1">'.encode()
        at.upstream.script = [reply(200, page, "Content-Type: text/html"), reply(200, links(at), JSON)]
        assert (await at.gate.get())[2] == f'<a href="{HOME}/1">'.encode()
        assert (await at.gate.get())[2] == links(at)


async def test_a_chunked_body_is_renamed_whatever_its_chunks() -> None:
    async with scene() as at:
        at.upstream.script = [chunked(links(at, 500), JSON, *TAGS)]
        _, head, body = await at.gate.get()
        assert body == named(500)
        sent = fields(head)
        assert sent["transfer-encoding"] == "chunked"
        assert sent["etag"] == 'W/"v1"'
        assert "digest" not in sent


async def test_a_long_body_streams_without_a_length() -> None:
    async with scene() as at:
        at.upstream.script = [reply(200, links(at, 3000), JSON)]
        _, head, body = await at.gate.get()
        assert body == named(3000)
        assert fields(head)["transfer-encoding"] == "chunked"


async def test_an_http10_caller_gets_a_close_delimited_long_body() -> None:
    async with scene() as at:
        at.upstream.script = [reply(200, links(at, 3000), JSON)]
        _, head, body = await at.gate.call(b"GET /orders/1 HTTP/1.0\r\nHost: localhost\r\n\r\n")
        assert body == named(3000)
        assert fields(head).keys().isdisjoint({"content-length", "transfer-encoding"})


async def test_the_beginning_of_a_body_does_not_wait_for_its_end() -> None:
    async def slowly(peer: ScriptedConnection) -> None:
        await peer.request()
        await peer.send(f"HTTP/1.1 200 OK\r\n{JSON}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[1,2,\r\n".encode())
        await gate.wait()
        await peer.send(b"2\r\n3]\r\n0\r\n\r\n")

    gate = asyncio.Event()
    async with scene(slowly) as at:
        caller = await at.gate.caller()
        await caller.send(b"GET /orders/1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await caller.head()
        assert await caller.reader.readexactly(10) == b"5\r\n[1,2,\r\n"
        gate.set()
        assert await caller.reader.readexactly(12) == b"2\r\n3]\r\n0\r\n\r\n"


async def test_head_leaves_out_fields_that_depend_on_the_body() -> None:
    async with scene(reply(200, b"", JSON, "Content-Length: 99", *TAGS, length=False)) as at:
        caller = await at.gate.caller()
        await caller.send(
            b"HEAD /orders/1 HTTP/1.1\r\nHost: localhost\r\n\r\nGET /orders/2 HTTP/1.1\r\nHost: localhost\r\n\r\n"
        )
        sent = fields(await caller.head())
        assert sent.keys().isdisjoint({"content-length", "transfer-encoding", "digest"})
        assert sent["etag"] == 'W/"v1"'
        assert (await caller.reply())[0] == 200


async def test_a_body_is_asked_for_plain_and_whole() -> None:
    async with scene() as at:
        await at.gate.get(
            "/orders/1", "Accept-Encoding: gzip, br", "Range: bytes=0-9", 'If-Range: "v1"', 'If-None-Match: W/"v1"'
        )
        await at.gate.get()
        conditional, bare = at.upstream.requests
        assert conditional.field("Accept-Encoding") == "identity"
        assert conditional.field("Range") is None
        assert conditional.field("If-Range") is None
        assert conditional.field("If-None-Match") == 'W/"v1"'
        assert bare.field("Accept-Encoding") is None, "no field is added for the caller"


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ('W/"v1"', '"v1"'),
        ('"v1"', '"v1"'),
        ('W/"a", "b",W/"c"', '"a", "b","c"'),
        ('"xW/", W/"W/"', '"xW/", "W/"'),
        ("*", "*"),
    ],
)
async def test_if_match_reaches_oic_with_the_etag_that_oic_gave(theirs: str, ours: str) -> None:
    async with scene() as at:
        await at.gate.get("/orders/1", f"If-Match: {theirs}", method="PUT")
        assert at.upstream.requests[0].field("If-Match") == ours


async def test_an_unexpected_206_passes_unchanged() -> None:
    async with scene() as at:
        at.upstream.script = [reply(206, links(at), JSON, "Content-Range: bytes 0-9/99", *TAGS)]
        status, head, body = await at.gate.get()
        assert (status, body) == (206, links(at))
        assert fields(head)["etag"] == '"v1"'


@pytest.mark.parametrize(
    ("if_none_match", "expected"), [('W/"v1"', 'W/"v1"'), ('"v1"', '"v1"'), ('"v0", W/"v1"', 'W/"v1"'), ("*", '"v1"')]
)
async def test_a_304_confirms_the_etag_that_the_caller_was_given(if_none_match: str, expected: str) -> None:
    async with scene(reply(304, b"", JSON, 'ETag: "v1"', length=False)) as at:
        status, head, _ = await at.gate.get("/orders/1", f"If-None-Match: {if_none_match}")
        assert status == 304
        assert fields(head)["etag"] == expected
        assert at.upstream.requests[0].field("If-None-Match") == if_none_match


# Content codings ----------------------------------------------------------------------------------------------------


def deflate(data: bytes) -> bytes:
    return zlib.compress(data)


def raw(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("coding", "pack"), [("gzip", gzip.compress), ("x-gzip", gzip.compress), ("deflate", deflate), ("deflate", raw)]
)
@pytest.mark.parametrize("count", [1, 3000])
@pytest.mark.parametrize("frame", [chunked, lambda body, *lines: reply(200, body, *lines)])
async def test_a_packed_body_is_given_plain(coding: str, pack: object, count: int, frame: object) -> None:
    async with scene() as at:
        packed = pack(links(at, count))  # type: ignore[operator] # a table of cases
        at.upstream.script = [frame(packed, JSON, f"Content-Encoding: {coding}", *TAGS)]  # type: ignore[operator]
        _, head, body = await at.gate.get()
        assert body == named(count)
        sent = fields(head)
        assert sent.keys().isdisjoint({"content-encoding", "digest"})
        assert sent.get("content-length") in {None, str(len(body))}
        assert sent["etag"] == 'W/"v1"'


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "unheard-of"])
async def test_a_body_that_cannot_be_read_passes_unchanged(coding: str) -> None:
    async with scene() as at:
        at.upstream.script = [reply(200, links(at), JSON, f"Content-Encoding: {coding}", *TAGS)]
        _, head, body = await at.gate.get()
        assert body == links(at)
        assert fields(head)["content-encoding"] == coding
        assert fields(head)["etag"] == '"v1"'


async def test_a_body_with_a_wrong_content_coding_passes_unchanged() -> None:
    async with scene() as at:
        at.upstream.script = [reply(200, links(at), JSON, "Content-Encoding: gzip", *TAGS)]
        _, head, body = await at.gate.get()
        assert body == links(at)
        assert fields(head)["content-encoding"] == "gzip"


async def test_a_short_packed_body_that_is_broken_passes_unchanged() -> None:
    """No head is sent yet, and the instance id of its head is recorded."""
    async with scene() as at:
        packed = gzip.compress(links(at, 50))
        for broken in (packed[:-4], packed[:-8] + bytes(8), packed + b"more", packed[:20] + b"!" + packed[21:]):
            at.upstream.script = [reply(201, broken, JSON, "Content-Encoding: gzip", ID, *TAGS)]
            status, head, body = await at.gate.get()
            assert (status, body) == (201, broken), packed
            sent = fields(head)
            assert sent["content-encoding"] == "gzip"
            assert sent["etag"] == '"v1"'
            assert sent["x-oracle-ics-instance-id"] == "lJrSjUUVEfGXW0tyvl-GZA"


async def test_a_truncated_compressed_body_stays_truncated() -> None:
    async with scene() as at:
        noise = json.dumps([hashlib.sha256(b"%d" % number).hexdigest() for number in range(4000)]).encode()
        packed = gzip.compress(noise)
        assert len(packed) > 65536
        for broken in (packed[:-4], packed[: len(packed) // 2], packed[:-8] + bytes(8)):
            at.upstream.script = [reply(200, broken, JSON, "Content-Encoding: gzip")]
            caller = await at.gate.caller()
            await caller.send(b"GET /orders/1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            got = await caller.read_to_end()
            assert not got.endswith(b"0\r\n\r\n")
        assert [record.error for record in await at.gate.wait_for_records(3)] == ["upstream-broken"] * 3


async def test_a_short_packed_body_that_holds_much_streams() -> None:
    async with scene() as at:
        blanks = b"[" + b" " * 5_000_000 + b"]"
        at.upstream.script = [reply(200, gzip.compress(blanks), JSON, "Content-Encoding: gzip")]
        _, head, body = await at.gate.get()
        assert body == blanks
        assert fields(head)["transfer-encoding"] == "chunked"


async def test_a_bomb_waits_for_a_caller_that_is_slow_to_take_it() -> None:
    async with scene() as at:
        bomb = gzip.compress(b"[" + b" " * 200_000_000 + b"]", compresslevel=1)
        at.upstream.script = [reply(200, bomb, JSON, "Content-Encoding: gzip")]
        caller = await at.gate.caller()
        await caller.send(b"GET /orders/1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await caller.head()
        [connection] = at.gate.server.connections
        await until(lambda: connection.write_paused)
        assert connection._transport is not None
        assert connection._transport.get_write_buffer_size() < 2_000_000
        caller.reset()
        assert (await at.gate.wait_for_records())[0].error == "caller-gone"


async def test_a_broken_short_body_is_a_502() -> None:
    async def break_off(peer: ScriptedConnection) -> None:
        await peer.request()
        await peer.send(f"HTTP/1.1 200 OK\r\n{JSON}\r\n{ID}\r\nContent-Length: 100\r\n\r\n[1,2".encode())

    async with scene(break_off) as at:
        status, head, _ = await at.gate.get()
        assert status == 502
        assert fields(head)["x-gateway-error"] == "upstream-broken"
        assert at.gate.records[0].instance_id == "lJrSjUUVEfGXW0tyvl-GZA"


async def test_an_id_in_a_truncated_body_is_recorded() -> None:
    async def break_off(peer: ScriptedConnection) -> None:
        await peer.request()
        body = b'{"oicInstanceId": "abc", "more": ['
        await peer.send(f"HTTP/1.1 200 OK\r\n{JSON}\r\nContent-Length: 1000000\r\n\r\n".encode() + body)

    async with scene(break_off) as at:
        caller = await at.gate.caller()
        await caller.send(b"GET /orders/1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await caller.read_to_end()
        [record] = await at.gate.wait_for_records()
        assert (record.error, record.instance_id) == ("upstream-broken", "abc")


# Names --------------------------------------------------------------------------------------------------------------


async def test_a_public_url_takes_the_place_of_the_host() -> None:
    async with scene(public_url="https://gw.example.com/oic/") as at:
        at.upstream.script = [reply(201, links(at), JSON, f"Location: {at.upstream.url}/ic/x/7")]
        _, head, body = await at.gate.get()
        assert json.loads(body)["links"][0]["href"] == "https://gw.example.com/oic/orders/0"
        assert fields(head)["location"] == "https://gw.example.com/oic/orders/7"


async def test_links_to_other_routes_lead_to_those_routes() -> None:
    async with scene() as first:
        other = {"name": "other", "path": "/else/", "upstream": "https://other.example/ic/y/", "credential": "app"}
        async with scene(routes=[other]) as at:
            body = b'["https://OTHER.example:443/ic/y/1","%b/ic/x/2","%b/ic/x/3"]' % (
                first.upstream.url.encode(),
                at.upstream.url.encode(),
            )
            at.upstream.script = [reply(200, body, JSON)]
            _, _, got = await at.gate.get()
            assert json.loads(got) == ["http://localhost/else/1", f"{first.upstream.url}/ic/x/2", f"{HOME}/3"]


async def test_without_host_urls_have_the_address_of_the_connection() -> None:
    async with scene() as at:
        at.upstream.script = [reply(200, links(at), JSON)]
        _, _, body = await at.gate.call(b"GET /orders/1 HTTP/1.0\r\n\r\n")
        assert json.loads(body)["links"][0]["href"] == f"http://127.0.0.1:{at.gate.port}/orders/0"


async def test_the_host_of_the_public_url_is_a_name_of_the_gateway() -> None:
    async with scene(public_url="https://gw.example.com/oic") as at:
        assert (await at.gate.call(b"GET /orders/1 HTTP/1.1\r\nHost: gw.example.com\r\n\r\n"))[0] == 200
        assert (await at.gate.call(b"GET /orders/1 HTTP/1.1\r\nHost: evil.example.com\r\n\r\n"))[0] == 403


# Instance ids -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "media"),
    [
        (b'{"oicInstanceId": "abc"}', "application/json"),
        (b'{"status": "x", "oic_instance_id": "abc"}', "application/vnd.x+json; charset=utf-8"),
        (b'{"instanceId": "abc"}', "application/json"),
        (
            b"<e:Envelope xmlns:e='u'><e:Body><r><oicInstanceId>abc</oicInstanceId></r></e:Body></e:Envelope>",
            "text/xml",
        ),
    ],
)
@pytest.mark.parametrize("status", [200, 202, 400, 500])
async def test_an_id_in_the_body_is_recorded_and_sent_in_the_head(body: bytes, media: str, status: int) -> None:
    path = "/ic/api/integration/v1/flows/rest/X/1.0"
    async with scene(chunked(body, f"Content-Type: {media}").replace(b" 200 ", b" %d " % status), base=path) as at:
        _, head, got = await at.gate.get()
        assert got == body
        assert fields(head)["x-oracle-ics-instance-id"] == "abc"
        record = at.gate.records[0]
        assert (record.instance_id, record.status) == ("abc", status)
        assert (at.gate.route.meter.with_id, at.gate.route.meter.without_id) == (1, 0)


async def test_an_id_in_the_header_precedes_one_in_the_body() -> None:
    async with scene(reply(200, b'{"oicInstanceId": "body"}', JSON, ID)) as at:
        _, head, _ = await at.gate.get()
        assert head.lower().count(b"x-oracle-ics-instance-id") == 1
        assert at.gate.records[0].instance_id == "lJrSjUUVEfGXW0tyvl-GZA"


async def test_an_id_late_in_the_body_is_recorded() -> None:
    async def slowly(peer: ScriptedConnection) -> None:
        await peer.request()
        await peer.send(
            f"HTTP/1.1 200 OK\r\n{JSON}\r\nTransfer-Encoding: chunked\r\n\r\n{len(first):x}\r\n{first}\r\n".encode()
        )
        await response_started.wait()
        await peer.send(b'18\r\n"oicInstanceId": "abc" }\r\n0\r\n\r\n')

    response_started, first = asyncio.Event(), '{"status": "is slow", '
    async with scene(slowly) as at:
        caller = await at.gate.caller()
        await caller.send(b"GET /orders/1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head = await caller.head()
        assert (await caller.reader.readline(), await caller.reader.readline()) == (b"16\r\n", f"{first}\r\n".encode())
        response_started.set()
        assert await caller.reader.readuntil(b"0\r\n\r\n") == b'18\r\n"oicInstanceId": "abc" }\r\n0\r\n\r\n'
        assert "x-oracle-ics-instance-id" not in fields(head)
        assert (await at.gate.wait_for_records())[0].instance_id == "abc"


@pytest.mark.parametrize("status", [307, 401, 429, 502, 503, 504])
@pytest.mark.parametrize("way", ["at once", "in pieces", "packed"])
async def test_a_run_that_only_its_body_names_is_never_repeated(status: int, way: str) -> None:
    async def slowly(peer: ScriptedConnection) -> None:
        await peer.request()
        lines = [f"HTTP/1.1 {status} No", JSON, "Retry-After: 0", "Location: /ic/x/2", f"Content-Length: {len(body)}"]
        lines += ["Content-Encoding: gzip"] if way == "packed" else []
        cut = len(body) if way == "at once" else 3
        await peer.send("\r\n".join([*lines, "", ""]).encode() + body[:cut])
        for _ in range(50):  # the gateway has its turn
            await asyncio.sleep(0)
        await peer.send(body[cut:])

    body = b'{"status": "failed", "oicInstanceId": "abc"}'
    body = gzip.compress(body) if way == "packed" else body
    async with scene(slowly, route={"idempotent": True}) as at:
        assert (await at.gate.post(b"x"))[0] == status
        assert at.upstream.connections == 1
        assert at.gate.records[0].instance_id == "abc"


async def test_the_id_of_a_dropped_response_is_not_kept() -> None:
    first = reply(503, b'{"why": "busy"}', JSON, "Retry-After: 0")
    async with scene(
        first, reply(200, b"", JSON, ID, "Transfer-Encoding: chunked", length=False) + b"nonsense\r\n"
    ) as at:
        assert (await at.gate.get())[0] == 502
        assert at.gate.records[0].instance_id == "lJrSjUUVEfGXW0tyvl-GZA"


@pytest.mark.parametrize("pack", [gzip.compress, deflate, raw])
@pytest.mark.parametrize("kinds", [["json"], []])
async def test_a_packed_body_is_searched_too(pack: object, kinds: list[str]) -> None:
    packed = pack(b'{"oicInstanceId": "abc"}')  # type: ignore[operator] # a table of cases
    coding = "gzip" if pack is gzip.compress else "deflate"
    async with scene(reply(200, packed, JSON, f"Content-Encoding: {coding}"), route={"rewrite": kinds}) as at:
        _, head, _ = await at.gate.get()
        assert fields(head)["x-oracle-ics-instance-id"] == "abc"
        assert at.gate.records[0].instance_id == "abc"


async def test_an_empty_field_does_not_hide_the_id_of_the_body() -> None:
    async with scene(reply(200, b'{"oicInstanceId": "abc"}', JSON, "x-oracle-ics-instance-id:")) as at:
        _, head, _ = await at.gate.get()
        assert head.lower().count(b"x-oracle-ics-instance-id") == 1
        assert fields(head)["x-oracle-ics-instance-id"] == "abc"


async def test_the_routes_own_places_count_in_their_order() -> None:
    places = [{"json": "/run/id"}, {"header": "X-Run"}, {"header": "x-oracle-ics-instance-id"}]
    async with scene(route={"instance_id": places}) as at:
        at.upstream.script = [
            reply(200, b'{"run": {"id": 12345678901234567890}}', JSON, ID, "X-Run: field"),
            reply(200, b'{"run": {}}', JSON, ID, "X-Run: field"),
            reply(200, b"plain", "Content-Type: text/plain", ID),
            reply(200, b'{"oicInstanceId": "abc"}', JSON),
        ]
        for _ in range(4):
            await at.gate.get()
        assert [record.instance_id for record in at.gate.records] == [
            "12345678901234567890",
            "field",
            "lJrSjUUVEfGXW0tyvl-GZA",
            None,
        ]
        assert (at.gate.route.meter.with_id, at.gate.route.meter.without_id) == (3, 1)


async def test_the_developer_api_names_other_runs_than_its_own() -> None:
    body = b'{"items": [], "instanceId": "another"}'
    async with scene(reply(200, body, JSON), base="/ic/api/integration/v1/monitoring/instances") as at:
        await at.gate.get()
        assert at.gate.records[0].instance_id is None
