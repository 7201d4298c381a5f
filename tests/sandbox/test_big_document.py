import json
from collections.abc import Awaitable, Callable, Mapping

import pytest

from gateway.sandbox import Sandbox, big

Send = Callable[..., Awaitable[tuple[int, Mapping[str, str], bytes]]]


@pytest.mark.parametrize("mebibytes", [0, 1, 3])
async def test_it_is_json_of_about_that_size_with_links(mebibytes: int, sandbox: Sandbox, call: Send) -> None:
    base = sandbox.upstream("BIG")
    _, headers, body = await call("GET", f"{base}{mebibytes}")
    content = json.loads(body)
    assert abs(len(body) - (mebibytes << 20)) < 200_000
    assert headers["Transfer-Encoding"] == "chunked"
    assert content["count"] == len(content["items"])
    links = {link["rel"]: link["href"] for link in content["items"][5]["links"]}
    assert links["self"] == f"{base}items/5"
    assert links["order"] == f"{sandbox.upstream('ORDERS')}1006"
    assert links["supplier"].startswith("https://supplier.example/")
    assert not links["mirror"].startswith(sandbox.origin)
    assert body == b"".join(big(mebibytes, base.rstrip("/"))) == (await call("GET", f"{base}{mebibytes}"))[2]


async def test_it_may_have_no_links(sandbox: Sandbox, call: Send) -> None:
    _, _, body = await call("GET", sandbox.upstream("BIG") + "1?links=0")
    assert b"http" not in body
    assert len(body) > 900_000
    assert len(json.loads(body)["items"]) > 128


async def test_its_links_follow_the_style(sandbox: Sandbox, call: Send) -> None:
    sandbox.switches.url_style = "escaped"
    _, _, body = await call("GET", sandbox.upstream("BIG") + "1")
    assert sandbox.origin.encode() + b"/ic/" not in body
    assert json.loads(body) == json.loads(b"".join(big(1, sandbox.upstream("BIG").rstrip("/"))))


async def test_a_size_that_cannot_be_read_is_a_fault(sandbox: Sandbox, call: Send) -> None:
    assert (await call("GET", sandbox.upstream("BIG") + "x"))[0] == 400


def test_much_of_it_takes_little() -> None:
    assert sum(map(len, big(50, "https://acme.example/ic/x"))) >> 20 in {49, 50}
