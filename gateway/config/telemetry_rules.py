"""Checks of `telemetry` across keys. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.config.issue import ConfigIssue
from gateway.config.values import is_local
from gateway.content.untrusted_text import read_url


def check_telemetry(tree: Mapping[str, Any]) -> Iterator[ConfigIssue]:
    """Yield issues of URLs to which header fields, which contain keys, would be sent unencrypted."""
    telemetry = tree.get("telemetry")
    if not isinstance(telemetry, dict) or not telemetry.get("headers") or telemetry.get("insecure") is True:
        return
    for steps in (("telemetry",), ("telemetry", "traces"), ("telemetry", "metrics")):
        settings = telemetry if len(steps) == 1 else telemetry.get(steps[-1])
        url = settings.get("endpoint") if isinstance(settings, dict) else None
        named = read_url(url) if isinstance(url, str) else None
        if named is not None and named.scheme == "http" and not is_local(named.host):
            remedy = "use https, or set `telemetry.insecure: true` if the network is trusted"
            yield ConfigIssue((*steps, "endpoint"), "sends `telemetry.headers` unencrypted", remedy)
