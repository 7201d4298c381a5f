"""The addon of mitmproxy, one line: a fixed bearer."""

from typing import Any


def request(flow: Any) -> None:
    """Set the bearer; mitmproxy calls this for each request."""
    flow.request.headers["Authorization"] = "Bearer TOKEN"
