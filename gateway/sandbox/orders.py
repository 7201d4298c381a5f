"""ORDERS: a small believable business behind a REST trigger, for the demo."""

import json
from collections import OrderedDict
from typing import Any

from gateway.sandbox.flows import Visit
from gateway.sandbox.request import TooLarge
from gateway.sandbox.responses import Fields, SandboxResponse, fault, json_reply, not_found

_KEPT = 1000
_FIRST: list[dict[str, Any]] = [
    {"id": "1001", "item": "hydraulic pump", "quantity": 2, "status": "SHIPPED"},
    {"id": "1002", "item": "gasket set", "quantity": 40, "status": "OPEN"},
]


class Orders:
    """The orders of one sandbox; the last thousand are kept."""

    def __init__(self) -> None:
        self._orders: OrderedDict[str, dict[str, Any]] = OrderedDict((order["id"], dict(order)) for order in _FIRST)
        self._next = 1003

    async def answer(self, visit: Visit) -> SandboxResponse:
        """GET list, GET `/ID`, POST; POST answers 201 with absolute names of OIC's own."""
        order_id = visit.rest.strip("/")
        if visit.arrival.method == "POST" and not order_id:
            return await self._create(visit)
        await visit.arrival.drain()
        if visit.arrival.method not in {"GET", "HEAD"}:
            return fault(405, "The method is not allowed.", [("Allow", "GET, HEAD, POST")])
        if not order_id:
            items = [_linked(order, visit.base) for order in self._orders.values()]
            return _told(200, {"items": items, "count": len(items)}, visit)
        order = self._orders.get(order_id)
        return not_found("There is no such order.") if order is None else _told(200, _linked(order, visit.base), visit)

    async def _create(self, visit: Visit) -> SandboxResponse:
        try:
            wish = json.loads(await visit.arrival.read())
        except (ValueError, TooLarge):
            return fault(400, "The body is not JSON.")
        if not isinstance(wish, dict):
            return fault(400, "The body is not a JSON object.")
        order = {**wish, "id": str(self._next), "status": "OPEN"}
        self._next += 1
        self._orders[order["id"]] = order
        if len(self._orders) > _KEPT:
            self._orders.popitem(last=False)
        name = f"{visit.base}/{order['id']}"
        headers: Fields = [
            ("Location", name),
            ("Content-Location", name),
            ("Link", f'<{name}>; rel="self", <{visit.base}/>; rel="collection"'),
        ]
        mapped = {"oicInstanceId": visit.told_id} if visit.told_id else {}
        return _told(201, _linked(order, visit.base) | mapped, visit, headers)


def _told(status: int, content: dict[str, Any], visit: Visit, headers: Fields | None = None) -> SandboxResponse:
    """The content; with the instance id in it where the switch has it in bodies."""
    in_body = {"oicInstanceId": visit.run.instance_id} if visit.switches.instance_ids == "body" else {}
    reply = json_reply(status, content | in_body, headers)
    reply.has_validators = True
    return reply


def _linked(order: dict[str, Any], base: str) -> dict[str, Any]:
    return {**order, "links": [{"rel": "self", "href": f"{base}/{order['id']}"}]}
