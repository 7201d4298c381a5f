import json
from collections.abc import Awaitable, Callable, Mapping

import pytest

from gateway.sandbox import Sandbox

Send = Callable[..., Awaitable[tuple[int, Mapping[str, str], bytes]]]


async def test_orders_are_listed_and_shown(sandbox: Sandbox, call: Send) -> None:
    base = sandbox.upstream("ORDERS")
    listed = json.loads((await call("GET", base))[2])
    assert [order["id"] for order in listed["items"]] == ["1001", "1002"]
    assert json.loads((await call("GET", base + "1002"))[2]) == listed["items"][1]
    assert (await call("GET", base + "9"))[0] == 404


async def test_a_new_order_has_absolute_names(sandbox: Sandbox, call: Send) -> None:
    base = sandbox.upstream("ORDERS")
    status, headers, body = await call("POST", base, data=b'{"item":"valve","quantity":3}')
    order = json.loads(body)
    assert status == 201
    assert headers["Location"] == headers["Content-Location"] == order["links"][0]["href"] == base + "1003"
    assert headers["Link"] == f'<{base}1003>; rel="self", <{base}>; rel="collection"'
    assert order["oicInstanceId"] == headers["x-oracle-ics-instance-id"]
    assert json.loads((await call("GET", headers["Location"]))[2])["item"] == "valve"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff"])
async def test_a_body_that_is_no_order_is_refused(body: bytes, sandbox: Sandbox, call: Send) -> None:
    assert (await call("POST", sandbox.upstream("ORDERS"), data=body))[0] == 400


async def test_other_methods_are_not_allowed(sandbox: Sandbox, call: Send) -> None:
    status, headers, _ = await call("DELETE", sandbox.upstream("ORDERS") + "1001")
    assert (status, headers["Allow"]) == (405, "GET, HEAD, POST")
