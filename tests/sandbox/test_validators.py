import base64
import gzip
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping

import pytest

from gateway.sandbox import Sandbox, pattern
from gateway.sandbox.response_variants import requested_range

Send = Callable[..., Awaitable[tuple[int, Mapping[str, str], bytes]]]
FLOWS = "/ic/api/integration/v1/flows/rest"


@pytest.mark.parametrize("path", ["ORDERS/1.0/", "ORDERS/1.0/1001", "ECHO/1.0/metadata", "ECHO/1.0/metadata/swagger"])
@pytest.mark.parametrize("coding", ["", "gzip"])
async def test_tag_and_digests_are_of_the_content_as_it_is_sent(
    path: str, coding: str, sandbox: Sandbox, call: Send
) -> None:
    sandbox.switches.content_coding = "gzip"
    url = f"{sandbox.origin}{FLOWS}/{path}"
    _, headers, body = await call("GET", url, headers={"Accept-Encoding": coding})
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    assert headers["Content-Digest"] == headers["Repr-Digest"] == f"sha-256=:{digest}:"
    assert headers["Digest"] == f"SHA-256={digest}"
    assert json.loads(gzip.decompress(body) if coding else body)
    again = await call("GET", url, headers={"Accept-Encoding": coding, "If-None-Match": f'"x", W/{headers["ETag"]}'})
    assert (again[0], again[1]["ETag"], again[2]) == (304, headers["ETag"], b"")
    assert not {"Content-Digest", "Content-Encoding", "Content-Type"} & set(again[1])
    other = await call("GET", url, headers={"Accept-Encoding": "" if coding else "gzip"})
    assert other[1]["ETag"] != headers["ETag"]


async def test_a_condition_holds_back_no_other_answer(sandbox: Sandbox, call: Send) -> None:
    url = f"{sandbox.origin}{FLOWS}/ORDERS/1.0/"
    assert (await call("GET", url, headers={"If-None-Match": '"other"'}))[0] == 200
    assert (await call("POST", url, data=b"{}", headers={"If-None-Match": "*"}))[0] == 201
    assert (await call("GET", url, headers={"If-None-Match": "*"}))[0] == 304
    assert (await call("GET", url + "9", headers={"If-None-Match": "*"}))[0] == 404


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("bytes=0-0", range(1)),
        ("bytes=5-", range(5, 100)),
        ("bytes=5-999", range(5, 100)),
        ("bytes=-10", range(90, 100)),
        ("bytes=-999", range(100)),
        ("Bytes=1-2", range(1, 3)),
        ("bytes=7-6", None),
        ("bytes=-", None),
        (f"bytes=0-{'9' * 5000}", None),
        ("bytes=0-1,3-4", None),
        ("lines=0-1", None),
        ("", None),
    ],
)
def test_one_range_is_read(written: str, wanted: range | None) -> None:
    assert requested_range({"Range": written}, 100, '"t"') == wanted
    assert requested_range({"Range": written, "If-Range": '"old"'}, 100, '"t"') is None
    assert requested_range({"Range": written, "If-Range": '"t"'}, 100, '"t"') == wanted


@pytest.mark.parametrize("written", ["bytes=100-", "bytes=-0", "bytes=100-200"])
def test_a_range_behind_the_end_is_empty(written: str) -> None:
    wanted = requested_range({"Range": written}, 100, '"t"')
    assert wanted is not None
    assert not wanted


@pytest.mark.parametrize(("first", "last"), [(0, 9), (65500, 65540), (131042, 131042), (70_000, 199_999)])
@pytest.mark.parametrize("more", ["", "?chunked=1"])
async def test_bytes_answers_a_range(first: int, last: int, more: str, sandbox: Sandbox, call: Send) -> None:
    url = f"{sandbox.upstream('BYTES')}200000{more}"
    status, headers, body = await call("GET", url, headers={"Range": f"bytes={first}-{last}"})
    assert (status, headers["Content-Range"]) == (206, f"bytes {first}-{last}/200000")
    assert body == pattern(200_000)[first : last + 1]


async def test_a_range_that_there_is_not_is_refused(sandbox: Sandbox, call: Send) -> None:
    url = sandbox.upstream("BYTES") + "10"
    status, headers, _ = await call("GET", url, headers={"Range": "bytes=10-"})
    assert (status, headers["Content-Range"]) == (416, "bytes */10")
    assert (await call("POST", url, headers={"Range": "bytes=1-2"}))[0] == 200
    status, headers, body = await call("HEAD", url, headers={"Range": "bytes=1-2"})
    assert (status, headers["Content-Length"], body) == (206, "2", b"")
