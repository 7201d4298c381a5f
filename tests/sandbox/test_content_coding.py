import gzip
import json
import zlib
from collections.abc import Awaitable, Callable, Mapping

import pytest

from gateway.sandbox import Sandbox, pattern
from gateway.sandbox.switches import ContentCoding

Send = Callable[..., Awaitable[tuple[int, Mapping[str, str], bytes]]]
UNPACK: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.decompress, "deflate": zlib.decompress}
ORDERS = "/ic/api/integration/v1/flows/rest/ORDERS/1.0/"


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_whole_and_streamed_bodies_are_coded(coding: ContentCoding, sandbox: Sandbox, call: Send) -> None:
    headers = {"Accept-Encoding": coding}
    for url in (sandbox.upstream("ORDERS"), sandbox.upstream("BIG") + "1", sandbox.soap_upstream() + "?wsdl"):
        sandbox.switches.content_coding = ""
        plain = (await call("GET", url, headers=headers))[2]
        sandbox.switches.content_coding = coding
        status, answered, body = await call("GET", url, headers=headers)
        assert (status, answered["Content-Encoding"], answered["Vary"]) == (200, coding, "Accept-Encoding")
        assert UNPACK[coding](body) == plain
        assert len(body) < len(plain)


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip", "gzip"),
        ("br, GZIP;q=0.5", "gzip"),
        ("*", "gzip"),
        ("gzip; q=0.001", "gzip"),
        ("gzip;q=0", None),
        ("gzip;q=0.000, *", None),
        ("*;q=0", None),
        ("identity", None),
        ("x-gzip", None),
        ("", None),
    ],
)
async def test_it_is_coded_where_the_caller_allows_it(
    accepted: str, coding: str | None, sandbox: Sandbox, call: Send
) -> None:
    sandbox.switches.content_coding = "gzip"
    _, headers, body = await call("GET", sandbox.origin + ORDERS, headers={"Accept-Encoding": accepted})
    assert headers.get("Content-Encoding") == coding
    assert json.loads(gzip.decompress(body) if coding else body)["count"] == 2


async def test_it_can_be_forced(sandbox: Sandbox, call: Send) -> None:
    sandbox.switches.content_coding, sandbox.switches.content_coding_forced = "gzip", True
    _, headers, body = await call("GET", sandbox.origin + ORDERS, headers={"Accept-Encoding": "identity"})
    assert (headers["Content-Encoding"], "Vary" in headers) == ("gzip", False)
    assert gzip.decompress(body)


async def test_what_is_no_text_stays_as_it_is(sandbox: Sandbox, call: Send) -> None:
    sandbox.switches.content_coding, sandbox.switches.content_coding_forced = "gzip", True
    _, headers, body = await call("GET", sandbox.upstream("BYTES") + "100")
    assert ("Content-Encoding" in headers, body) == (False, pattern(100))
    status, headers, body = await call("POST", sandbox.upstream("ASYNC"))
    assert (status, "Content-Encoding" in headers, body) == (202, False, b"")
