"""ORDERS: a REST trigger with a list of orders, for the demo."""

import json
from collections import OrderedDict
from typing import Any

from gateway.sandbox.flows import FlowCall
from gateway.sandbox.http_messages import Fields, SandboxResponse, TooLarge, fault, json_response, not_found

_MAX_ORDERS = 1000
_INITIAL: list[dict[str, Any]] = [
    {"id": "1001", "item": "hydraulic pump", "quantity": 2, "status": "SHIPPED"},
    {"id": "1002", "item": "gasket set", "quantity": 40, "status": "OPEN"},
]


class Orders:
    """The orders of one sandbox; the last thousand are stored."""

    def __init__(self) -> None:
        self._orders: OrderedDict[str, dict[str, Any]] = OrderedDict((order["id"], dict(order)) for order in _INITIAL)
        self._next = 1003

    async def answer(self, flow_call: FlowCall) -> SandboxResponse:
        """Answer GET list, GET `/ID`, and POST with 201 and absolute URLs of OIC."""
        order_id = flow_call.rest.strip("/")
        if flow_call.request.method == "POST" and not order_id:
            return await self._create(flow_call)
        await flow_call.request.drain()
        if flow_call.request.method not in {"GET", "HEAD"}:
            return fault(405, "The method is not allowed.", [("Allow", "GET, HEAD, POST")])
        if not order_id:
            items = [_with_links(order, flow_call.base) for order in self._orders.values()]
            return _respond(200, {"items": items, "count": len(items)}, flow_call)
        order = self._orders.get(order_id)
        return (
            not_found("There is no such order.")
            if order is None
            else _respond(200, _with_links(order, flow_call.base), flow_call)
        )

    async def _create(self, flow_call: FlowCall) -> SandboxResponse:
        try:
            document = json.loads(await flow_call.request.read())
        except (ValueError, RecursionError, TooLarge):
            return fault(400, "The body is not JSON.")
        if not isinstance(document, dict):
            return fault(400, "The body is not a JSON object.")
        order = {**document, "id": str(self._next), "status": "OPEN"}
        self._next += 1
        self._orders[order["id"]] = order
        if len(self._orders) > _MAX_ORDERS:
            self._orders.popitem(last=False)
        name = f"{flow_call.base}/{order['id']}"
        headers: Fields = [
            ("Location", name),
            ("Content-Location", name),
            ("Link", f'<{name}>; rel="self", <{flow_call.base}/>; rel="collection"'),
        ]
        mapped = {"oicInstanceId": flow_call.body_instance_id} if flow_call.body_instance_id else {}
        return _respond(201, _with_links(order, flow_call.base) | mapped, flow_call, headers)


def _respond(
    status: int, content: dict[str, Any], flow_call: FlowCall, headers: Fields | None = None
) -> SandboxResponse:
    """Return the content, with the instance id in it if the switch requires it in bodies."""
    in_body = {"oicInstanceId": flow_call.run.instance_id} if flow_call.switches.instance_ids == "body" else {}
    response = json_response(status, content | in_body, headers)
    response.has_validators = True
    return response


def _with_links(order: dict[str, Any], base: str) -> dict[str, Any]:
    return {**order, "links": [{"rel": "self", "href": f"{base}/{order['id']}"}]}
