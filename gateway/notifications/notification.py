"""The JSON document that a hook gets. Pure."""

import html
from typing import Any
from urllib.parse import quote

from gateway.notifications.conditions import Condition, SubjectKind
from gateway.observe.timestamp import timestamp

MAX_TEXT = 1000
"""Maximum characters of a text that another system wrote."""
_TITLES = {
    "sign-in-needed": "a person must sign in",
    "token-refused": "the identity domain refuses it",
    "breaker-open": "the service does not answer",
    "quota": "a quota is used up",
    "certificate": "the certificate needs attention",
}
_PAGES: dict[SubjectKind, str] = {
    "credential": "/console/credentials/{name}",
    "service": "/console/",
    "caller": "/console/callers",
    "listener": "/console/",
}


def notification(condition: Condition, *, gateway: str, console_url: str | None) -> dict[str, Any]:
    """Return the document about a condition. `gateway` names the gateway, `console_url` is scheme and host of the
    console, None without one.

    `text` is what Slack and Teams show. They interpret `<` and `&`, so these are written as references.
    """
    name, title = condition.name, _TITLES[condition.event]
    seen, means, remedy = (_one_line(text) for text in (condition.seen, condition.means, condition.remedy))
    url = None
    if console_url is not None:
        url = console_url.rstrip("/") + _PAGES[condition.kind].format(name=quote(name, safe=""))
    lines = (f"OIC gateway {gateway}: {condition.kind} {name}: {title}: {seen}", means, remedy, url or "")
    return {
        "text": "\n".join(html.escape(line, quote=False) for line in lines if line),
        "event": condition.event,
        "gateway": gateway,
        condition.kind: name,
        "code": condition.code,
        "seen": seen,
        "means": means,
        "remedy": remedy,
        "url": url,
        "at": timestamp(condition.at),
    }


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text[:MAX_TEXT])
