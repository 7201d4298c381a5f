"""The one-line addon of mitmproxy: a fixed bearer."""

from typing import Any


def request(flow: Any) -> None:
    """Called by mitmproxy for each request."""
    flow.request.headers["Authorization"] = "Bearer TOKEN"
