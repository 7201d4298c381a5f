"""ORDERS: a small believable business behind a REST trigger, for the demo."""

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

    async def answer(self, visit: FlowCall) -> SandboxResponse:
        """Answer GET list, GET `/ID`, and POST with 201 and absolute URLs of OIC."""
        order_id = visit.rest.strip("/")
        if visit.request.method == "POST" and not order_id:
            return await self._create(visit)
        await visit.request.drain()
        if visit.request.method not in {"GET", "HEAD"}:
            return fault(405, "The method is not allowed.", [("Allow", "GET, HEAD, POST")])
        if not order_id:
            items = [_with_links(order, visit.base) for order in self._orders.values()]
            return _respond(200, {"items": items, "count": len(items)}, visit)
        order = self._orders.get(order_id)
        return (
            not_found("There is no such order.")
            if order is None
            else _respond(200, _with_links(order, visit.base), visit)
        )

    async def _create(self, visit: FlowCall) -> SandboxResponse:
        try:
            document = json.loads(await visit.request.read())
        except (ValueError, TooLarge):
            return fault(400, "The body is not JSON.")
        if not isinstance(document, dict):
            return fault(400, "The body is not a JSON object.")
        order = {**document, "id": str(self._next), "status": "OPEN"}
        self._next += 1
        self._orders[order["id"]] = order
        if len(self._orders) > _MAX_ORDERS:
            self._orders.popitem(last=False)
        name = f"{visit.base}/{order['id']}"
        headers: Fields = [
            ("Location", name),
            ("Content-Location", name),
            ("Link", f'<{name}>; rel="self", <{visit.base}/>; rel="collection"'),
        ]
        mapped = {"oicInstanceId": visit.body_instance_id} if visit.body_instance_id else {}
        return _respond(201, _with_links(order, visit.base) | mapped, visit, headers)


def _respond(status: int, content: dict[str, Any], visit: FlowCall, headers: Fields | None = None) -> SandboxResponse:
    """Return the content, with the instance id in it if the switch requires it in bodies."""
    in_body = {"oicInstanceId": visit.run.instance_id} if visit.switches.instance_ids == "body" else {}
    response = json_response(status, content | in_body, headers)
    response.has_validators = True
    return response


def _with_links(order: dict[str, Any], base: str) -> dict[str, Any]:
    return {**order, "links": [{"rel": "self", "href": f"{base}/{order['id']}"}]}
