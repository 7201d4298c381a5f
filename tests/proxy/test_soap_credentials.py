"""A SOAP caller's own credentials stay at the gateway, and its message goes on: at the wire."""

import asyncio
import base64
import gzip

import pytest

from gateway.oic.soap_credentials import MAX_SEARCHED
from tests.fakes.gate import Scene, scene, until
from tests.fakes.identity import token
from tests.fakes.upstream import OK, Request, ScriptedConnection, reply

S11, S12 = "http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope"
WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
SECRET = "s3cr3t-of-the-caller"
TOKEN = f"<w:UsernameToken><w:Username>anna</w:Username><w:Password>{SECRET}</w:Password></w:UsernameToken>"
OTHER = "<w:BinarySecurityToken>abc</w:BinarySecurityToken>"
UNAUTHORIZED = reply(401, b"who?")
XML = "Content-Type: text/xml; charset=utf-8"
ACTION = 'SOAPAction: "urn:hello"'
SOAP_12 = "Content-Type: application/soap+xml"


def message(content: str | None, *, body: str = "<h/>", space: str = S11) -> str:
    """An envelope with this in its Security header, or without one."""
    header = "" if content is None else f"<w:Security s:mustUnderstand='1'>{content}</w:Security>"
    return (
        f"<s:Envelope xmlns:s='{space}' xmlns:w='{WSSE}'><s:Header><x/>{header}<y/></s:Header><s:Body>{body}</s:Body>"
        "</s:Envelope>"
    )


DIRTY, CLEAN = message(TOKEN).encode(), message(None).encode()


def only(at: Scene) -> Request:
    """The one request that the upstream got, with a length that is right."""
    [request] = at.upstream.requests
    length = request.field("Content-Length")
    assert length in {None, str(len(request.body))}
    assert SECRET.encode() not in request.head + request.body
    return request


SPELLINGS = {
    "as most write it": (TOKEN, None),
    "beside another token": (TOKEN + OTHER, OTHER),
    "a comment inside": (TOKEN.replace("anna", "<!-- </w:UsernameToken> -->"), None),
    "the password in CDATA": (TOKEN.replace(SECRET, f"<![CDATA[</w:UsernameToken>{SECRET}]]>"), None),
    "another prefix": (f"<z:UsernameToken xmlns:z='{WSSE}'>{SECRET}</z:UsernameToken>", None),
    "a draft's namespace": (
        f"<UsernameToken xmlns='http://schemas.xmlsoap.org/ws/2002/07/secext'>{SECRET}</UsernameToken>",
        None,
    ),
    "an odd end": (f"<w:UsernameToken a='>' >{SECRET}</w:UsernameToken\n>", None),
}


@pytest.mark.parametrize(("content", "left"), SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("fields", [[XML], [XML, ACTION], [SOAP_12]], ids=["xml", "action", "soap 1.2"])
async def test_the_token_never_leaves(content: str, left: str | None, fields: list[str]) -> None:
    space = S12 if fields == [SOAP_12] else S11
    async with scene() as at:
        data = message(content, space=space).encode()
        status, _, body = await at.gate.post(data, *fields)
        assert (status, body) == (200, b"ok")
        request = only(at)
        assert request.body == message(left, space=space).encode()
        assert request.field("Authorization") == "Bearer token-1"
        assert request.field("SOAPAction") == ('"urn:hello"' if ACTION in fields else None)
        [record] = at.gate.records
        assert (record.bytes_in, record.error) == (len(data), None)
        assert SECRET not in repr(record)


async def test_what_holds_no_token_goes_on_as_it_came() -> None:
    for data, field in (
        (message(OTHER).encode(), XML),
        (b"<order><UsernameToken/></order>", XML),
        (b"<order", XML),
        (DIRTY, "Content-Type: application/json"),
        (b"", XML),
    ):
        async with scene() as at:
            assert (await at.gate.post(data, field))[0] == 200
            [request] = at.upstream.requests
            assert (request.body, request.field("Content-Length")) == (data, str(len(data)))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 101, 400])
@pytest.mark.parametrize("chunked", [True, False])
async def test_it_may_come_in_any_pieces(size: int, *, chunked: bool) -> None:
    async with scene() as at:
        caller = await at.gate.caller()
        framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(DIRTY)}"
        wire = f"POST /orders/1 HTTP/1.1\r\nHost: gw\r\n{XML}\r\n{framing}\r\n\r\n".encode()
        pieces = [DIRTY[begin : begin + size] for begin in range(0, len(DIRTY), size)]
        for piece in pieces if chunked else ():
            wire += b"%x\r\n%b\r\n" % (len(piece), piece)
        wire += b"0\r\n\r\n" if chunked else DIRTY
        for begin in range(0, len(wire), size):
            caller.writer.write(wire[begin : begin + size])
            await asyncio.sleep(0)
        assert (await caller.reply())[0] == 200
        assert only(at).body == CLEAN
        assert at.gate.records[0].bytes_in == len(DIRTY)


async def test_nothing_is_sent_before_the_soap_header_is_read() -> None:
    async with scene() as at:
        caller = await at.gate.caller()
        await caller.send(
            f"POST /orders/1 HTTP/1.1\r\nHost: gw\r\n{XML}\r\nContent-Length: {len(DIRTY)}\r\n\r\n".encode()
        )
        end = DIRTY.index(b"<s:Body>")
        await caller.send(DIRTY[:end])
        for _ in range(20):
            await asyncio.sleep(0)
        assert at.upstream.connections == 0
        await caller.send(DIRTY[end:])
        assert (await caller.reply())[0] == 200
        assert only(at).body == CLEAN


async def test_a_caller_that_stops_within_its_header_is_timed_out() -> None:
    async with scene(route={"timeout": {"idle": "50ms"}}) as at:
        caller = await at.gate.caller()
        await caller.send(
            f"POST /orders/1 HTTP/1.1\r\nHost: gw\r\n{XML}\r\nContent-Length: 1000\r\n\r\n<s:Env".encode()
        )
        assert (await caller.reply())[0] == 408
        [record] = await at.gate.wait_for_records()
        assert (record.error, record.status) == ("request-timeout", 408)
        assert at.upstream.connections == 0


async def test_a_caller_that_leaves_within_its_header_is_cleaned_up() -> None:
    async with scene() as at:
        caller = await at.gate.caller()
        await caller.send(
            f"POST /orders/1 HTTP/1.1\r\nHost: gw\r\n{XML}\r\nContent-Length: 1000\r\n\r\n<s:Env".encode()
        )
        await until(lambda: at.gate.forward.in_flight == 1)
        caller.reset()
        [record] = await at.gate.wait_for_records()
        assert record.error == "caller-gone"


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_replay_sends_the_edited_body_again(*, chunked: bool) -> None:
    async with scene(UNAUTHORIZED, tokens=(token("old"), token("new"))) as at:
        caller = await at.gate.caller()
        framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(DIRTY)}"
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(DIRTY), DIRTY) if chunked else DIRTY
        await caller.send(f"POST /orders/1 HTTP/1.1\r\nHost: gw\r\n{XML}\r\n{framing}\r\n\r\n".encode() + body)
        assert (await caller.reply())[0] == 200
        assert [request.body for request in at.upstream.requests] == [CLEAN, CLEAN]
        for request in at.upstream.requests:
            assert request.field("Content-Length") == (None if chunked else str(len(CLEAN)))
        assert at.gate.records[0].bytes_in == len(DIRTY)


async def test_a_body_in_two_parts_is_sent_again_without_the_token() -> None:
    half = DIRTY.index(b"<s:Body>") + 10

    async def refuse_early(peer: ScriptedConnection) -> None:
        await peer.head()
        await peer.reader.readuntil(b"<s:Body>")
        await peer.send(UNAUTHORIZED)
        await peer.reader.read()

    async with scene(refuse_early) as at:
        caller = await at.gate.caller()
        head = f"POST /orders/1 HTTP/1.1\r\nHost: gw\r\n{XML}\r\nContent-Length: {len(DIRTY)}\r\n\r\n"
        await caller.send(head.encode() + DIRTY[:half])
        [connection] = at.gate.server.connections
        await until(lambda: connection._body is not None and connection._body.bytes_read == half)
        await caller.send(DIRTY[half:])
        assert (await caller.reply())[0] == 200
        assert only(at).body == CLEAN


async def test_a_body_over_the_replay_limit_is_streamed_once() -> None:
    async with scene(UNAUTHORIZED, route={"replay_limit": "1KiB"}) as at:
        large = "x" * 100_000
        assert (await at.gate.post(message(TOKEN, body=large).encode(), XML))[0] == 401
        assert only(at).body == message(None, body=large).encode()


async def test_a_large_body_streams_behind_its_header() -> None:
    body_started = asyncio.Event()

    async def early(peer: ScriptedConnection) -> None:
        await peer.head()
        await peer.reader.readuntil(b"<s:Body>")
        body_started.set()
        rest = b""
        while not rest.endswith(b"\r\n0\r\n\r\n"):
            rest += await peer.reader.read(65536)
        assert rest.count(b"x") == 40 * 65536
        await peer.send(OK)

    async with scene(early, route={"replay_limit": "0B"}) as at:
        caller = await at.gate.caller()
        await caller.send(
            f"POST /orders/1 HTTP/1.1\r\nHost: gw\r\n{XML}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        first, _, last = message(TOKEN, body="*").encode().partition(b"*")
        await caller.send(b"%x\r\n%b\r\n" % (len(first), first))
        await body_started.wait()
        for _ in range(40):
            await caller.send(b"10000\r\n%b\r\n" % (b"x" * 65536))
        await caller.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(last), last))
        assert (await caller.reply())[0] == 200
        assert at.gate.records[0].bytes_in == len(first + last) + 40 * 65536


async def test_a_caller_that_expects_100_continue_gets_it() -> None:
    async with scene() as at:
        caller = await at.gate.caller()
        fields = f"{XML}\r\nExpect: 100-continue\r\nContent-Length: {len(DIRTY)}"
        await caller.send(f"POST /orders/1 HTTP/1.1\r\nHost: gw\r\n{fields}\r\n\r\n".encode())
        assert (await caller.reply())[0] == 100
        await caller.send(DIRTY)
        assert (await caller.reply())[0] == 200
        request = only(at)
        assert (request.body, request.field("Expect")) == (CLEAN, None)


async def test_utf_16() -> None:
    async with scene() as at:
        assert (await at.gate.post(DIRTY.decode().encode("utf-16"), "Content-Type: text/xml; charset=utf-16"))[0] == 200
        assert only(at).body == CLEAN.decode().encode("utf-16")
        assert SECRET.encode("utf-16-le") not in only(at).body


async def test_soap_with_attachments() -> None:
    media = (
        'Content-Type: multipart/related; boundary=b; type="application/xop+xml"; start="<r>"; start-info="text/xml"'
    )

    def body(envelope: bytes) -> bytes:
        file = b"--b\r\nContent-ID: <f>\r\n\r\n\0\1\xff\r\n"
        head = b'--b\r\nContent-ID: <r>\r\nContent-Type: application/xop+xml; type="text/xml"\r\n\r\n'
        return b"%b%b%b\r\n%b--b--\r\n" % (file, head, envelope, file)

    async with scene() as at:
        assert (await at.gate.post(body(DIRTY), media))[0] == 200
        assert only(at).body == body(CLEAN)


async def test_request_digests_are_removed_if_the_body_changes() -> None:
    digests = ["Content-MD5: AAAA", "Digest: sha-256=AAAA", "Content-Digest: sha-256=:AAAA:", "repr-digest: x"]
    for data, is_unchanged in ((DIRTY, False), (CLEAN, True)):
        async with scene() as at:
            assert (await at.gate.post(data, XML, *digests))[0] == 200
            forwarded = [name for name, _ in only(at).fields if "digest" in name.lower() or "md5" in name.lower()]
            assert len(forwarded) == (4 if is_unchanged else 0)


# What is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "fields", "space"),
    [
        (message(f"<x>{'y' * MAX_SEARCHED}</x>{TOKEN}").encode(), [XML], S11),
        (message(f"<x>{'y' * 4 * MAX_SEARCHED}</x>{TOKEN}").encode(), [XML, ACTION], S11),
        (message(f"<x>{'y' * MAX_SEARCHED}</x>{TOKEN}", space=S12).encode(), [SOAP_12], S12),
        (b"<!DOCTYPE x>" + DIRTY, [XML, ACTION], S11),
        (b"<!DOCTYPE x>" + DIRTY, [SOAP_12], S12),
        (DIRTY[:300], [XML], S11),
        (b"<not xml", [ACTION], S11),
        (base64.b64encode(DIRTY), [SOAP_12], S12),
    ],
)
async def test_what_cannot_be_read_is_answered_by_a_fault(data: bytes, fields: list[str], space: str) -> None:
    async with scene() as at:
        status, head, body = await at.gate.post(data, *fields)
        sent = 400 if space == S12 else 500
        assert status == sent
        code = b"bad-request" if space == S12 else b"bad-request; status=400"
        assert b"\r\nX-Gateway-Error: %b\r\n" % code in head
        assert f'Envelope xmlns:soap="{space}"'.encode() in body
        assert b"credentials in its header could not be removed" in body
        assert at.upstream.connections == 0
        assert len(at.identity.requests) == 0
        [record] = at.gate.records
        assert (record.error, record.status, SECRET in repr(record)) == ("bad-request", sent, False)


async def test_an_unlimited_header_is_refused_while_it_comes() -> None:
    async with scene() as at:
        caller = await at.gate.caller()
        await caller.send(
            f"POST /orders/1 HTTP/1.1\r\nHost: gw\r\n{SOAP_12}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        first = message("*").partition("*")[0].encode()
        await caller.send(b"%x\r\n%b\r\n" % (len(first), first))
        for _ in range(9):
            await caller.send(b"10000\r\n%b\r\n" % (b" " * 65536))
        assert (await caller.reply())[0] == 500


async def test_limits_and_framing_are_watched_as_ever() -> None:
    head = f"POST /orders/1 HTTP/1.1\r\nHost: gw\r\n{XML}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    start = message("*").partition("*")[0].encode()
    for rest, status, code in (
        (b"%x\r\n%b\r\n" % (5000, b" " * 5000), 413, "body-too-large"),
        (b"zz\r\n", 400, "bad-request"),
    ):
        async with scene(limits={"body": "1KiB"}) as at:
            caller = await at.gate.caller()
            await caller.send(head + b"%x\r\n%b\r\n" % (len(start), start) + rest)
            assert (await caller.reply())[0] == status
            assert at.gate.records[0].error == code
            assert at.upstream.connections == 0


async def test_another_request_may_follow() -> None:
    async with scene() as at:
        caller = await at.gate.caller()
        one = f"POST /orders/1 HTTP/1.1\r\nHost: gw\r\n{XML}\r\nContent-Length: {len(DIRTY)}\r\n\r\n".encode() + DIRTY
        await caller.send(one + one)
        for _ in range(2):
            assert (await caller.reply())[0] == 200
        assert [request.body for request in at.upstream.requests] == [CLEAN, CLEAN]


@pytest.mark.parametrize("coding", ["gzip", "br"])
async def test_a_compressed_message_that_hides_its_header_is_refused(coding: str) -> None:
    async with scene() as at:
        assert (await at.gate.post(DIRTY, XML, f"Content-Encoding: {coding}"))[0] == 400
        assert at.upstream.connections == 0


async def test_a_soap_trigger_gets_no_credentials_for_any_media_type() -> None:
    base = "/ic/ws/integration/v1/flows/soap/HELLO/1.0"
    for fields in ([], ["Content-Type: text/plain"], ["Content-Type: application/octet-stream"], ["Content-Type: a/b"]):
        async with scene(base=base) as at:
            assert (await at.gate.post(DIRTY, *fields))[0] == 200
            assert only(at).body == CLEAN
        async with scene(base="/ic", route={"path": "/orders/"}) as at:
            assert (await at.gate.post(DIRTY, *fields, target=f"/orders{base.removeprefix('/ic')}/"))[0] == 200
            assert only(at).body == CLEAN
        for other in (b"<order><UsernameToken/></order>", b"\0\1\2", b"{}"):
            async with scene(base=base) as at:
                assert (await at.gate.post(other, *fields))[0] == 200
                assert at.upstream.requests[0].body == other
    async with scene(base=base) as at:
        assert (await at.gate.post(b"x" + DIRTY))[0] == 400
        assert at.upstream.connections == 0


@pytest.mark.parametrize("fields", [[], [ACTION]], ids=["", "action"])
async def test_a_charset_that_python_reads_narrowly_hides_no_token(fields: list[str]) -> None:
    for charset, odd in (("windows-1252", b"\x81"), ("gb2312", b"\xe9F"), ("shift_jis", b"\x87@"), ("big5", b"\xff")):
        data, clean = (message(content, body="<n>*</n>").encode().replace(b"*", odd) for content in (TOKEN, None))
        async with scene() as at:
            assert (await at.gate.post(data, f"Content-Type: text/xml; charset={charset}", *fields))[0] == 200
            assert only(at).body == clean


async def test_a_second_member_of_a_gzip_body_hides_no_token() -> None:
    for place in (0, 1, 8, 100):
        async with scene() as at:
            data = gzip.compress(DIRTY[:place]) + gzip.compress(DIRTY[place:])
            assert (await at.gate.post(data, XML, "Content-Encoding: gzip"))[0] == 500
            assert at.upstream.connections == 0


async def test_a_root_part_of_odd_length_is_a_bad_request() -> None:
    for length in (b"\r\n %d" % len(DIRTY), b"0" * 5000 + b"%d" % len(DIRTY)):
        async with scene() as at:
            data = b"--b\r\nContent-Type: text/xml\r\nContent-Length: %b\r\n\r\n%b\r\n--b--" % (length, DIRTY)
            assert (await at.gate.post(data, 'Content-Type: multipart/related; boundary=b; type="text/xml"'))[0] == 500
            assert at.upstream.connections == 0


# What is no envelope --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "data"),
    [
        ("Content-Type: text/csv", b"Lastname;Name\nL\xc3\xbcbeck;Ann\n"),
        ("Content-Type: application/x-www-form-urlencoded", b"item=valve&quantity=3"),
        ("Content-Type: application/zip", b"PK\x03\x04\x14\0\0\0\x08\0<UsernameToken>"),
        (
            "Content-Type: multipart/form-data; boundary=b",
            b"--b\r\nContent-Disposition: form-data; name=f\r\n\r\n<x\r\n--b--",
        ),
        ("Content-Type: text/plain", b"plain"),
        ("X-Nothing: 1", b"a"),
    ],
)
async def test_a_rest_call_may_keep_its_soap_action(field: str, data: bytes) -> None:
    async with scene() as at:
        assert (await at.gate.post(data, field, ACTION))[0] == 200
        [request] = at.upstream.requests
        assert request.body == data
        assert request.field("SOAPAction") == '"urn:hello"'


@pytest.mark.parametrize(
    "fields",
    [
        ("Content-Type: text/csv", ACTION),
        ("Content-Type: application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",),
        ("Content-Type: multipart/form-data; boundary=xml",),
    ],
)
async def test_a_body_that_is_no_envelope_streams(fields: tuple[str, ...]) -> None:
    body_started = asyncio.Event()

    async def early(peer: ScriptedConnection) -> None:
        await peer.head()
        await peer.reader.readuntil(b"first of many bytes")
        body_started.set()
        await peer.reader.readuntil(b"0\r\n\r\n")
        await peer.send(OK)

    async with scene(early, route={"replay_limit": "0B"}) as at:
        caller = await at.gate.caller()
        head = "\r\n".join(["POST /orders/1 HTTP/1.1", "Host: gw", *fields, "Transfer-Encoding: chunked", "", ""])
        await caller.send(head.encode() + b"13\r\nfirst of many bytes\r\n")
        await body_started.wait()
        await caller.send(b"0\r\n\r\n")
        assert (await caller.reply())[0] == 200


async def test_an_error_of_a_rest_call_with_a_soap_action_is_no_fault() -> None:
    async with scene() as at:
        status, head, _ = await at.gate.post(b"{}", "Content-Type: application/json", ACTION, target="/none")
        assert status == 404
        assert b"Content-Type: application/problem+json" in head
