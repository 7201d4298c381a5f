"""How many messages OIC bills for a call, at least. Pure.

Oracle counts each call of a trigger as one message, or as one for every 50 KB of its payload. It does not document
whether a KB is 1000 or 1024 bytes, nor whether refused calls count. Here a call counts only if a flow ran for certain,
and a KB has 1024 bytes, so that the result is never too high. Further messages that OIC bills are not visible in a
call: large responses of invoked systems, files, and runs of a schedule.
"""

import re

from gateway.oic.urls import DEVELOPER_CALL, FLOWS

MESSAGE_SIZE = 50 * 1024
"""Bytes of payload of one message."""
# A REST trigger runs for every method; a SOAP trigger, or one of another adapter, for POST.
_REST_TRIGGER = re.compile(rf"{FLOWS}rest/(?!(?:[^?]*/)?metadata(?:[/?]|$))")
_OTHER_TRIGGER = re.compile(rf"{FLOWS}(?!rest/)")
_WITHOUT_RUN = frozenset(("HEAD", "OPTIONS"))


def count_messages(payload: int, method: str, target: str, status: int, *, has_instance_id: bool) -> int:
    """Return the messages of a call with a response of `status`, 0 if it is not certain that a flow ran.

    `payload` is the size of the request body in bytes, `target` the path and query that was sent to OIC. An instance id
    proves a run, except in a response of the developer API. Without one, only a 2xx of a trigger does: OIC may have
    refused a call with any other status.
    """
    if DEVELOPER_CALL.match(target) if has_instance_id else not (200 <= status < 300 and _runs_flow(method, target)):
        return 0
    return -(-payload // MESSAGE_SIZE) or 1


def _runs_flow(method: str, target: str) -> bool:
    """Return whether a request calls a trigger, not its description."""
    if _REST_TRIGGER.match(target):
        return method not in _WITHOUT_RUN
    return method == "POST" and _OTHER_TRIGGER.match(target) is not None
