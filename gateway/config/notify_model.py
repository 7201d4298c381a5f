"""The shape of `notify:`, the hooks that are called when a person should act."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from gateway.config.strict_model import ProxySettings, SecretRef, StrictModel, TlsSettings
from gateway.config.values import Duration

MAX_HOOKS = 16
NotifyEvent = Literal["sign-in-needed", "token-refused", "breaker-open", "quota", "certificate"]
NOTIFY_EVENTS: tuple[NotifyEvent, ...] = ("sign-in-needed", "token-refused", "breaker-open", "quota", "certificate")


def _distinct(events: list[NotifyEvent]) -> list[NotifyEvent]:
    if len(set(events)) < len(events):
        raise ValueError("names an event twice; write it once")
    return events


class NotifySettings(StrictModel):
    """A hook, which gets one JSON POST for each event."""

    url: SecretRef
    """URL of the hook, by reference: everyone who knows it may post there."""
    on: Annotated[list[NotifyEvent], Field(min_length=1), AfterValidator(_distinct)] = Field(
        default_factory=lambda: [*NOTIFY_EVENTS]
    )
    """Events that call the hook; docs/notifications.md describes them. Omitted: all of them."""
    repeat: Duration = 3600.0
    """Shortest time between two notifications about the same thing, of all replicas together if `state` is shared."""
    timeout: Duration = 10.0
    """Time limit of one attempt; there are three."""
    tls: TlsSettings | None = None
    """Verification of the hook's certificate."""
    proxy: ProxySettings | None = None
    """Egress proxy to the hook; omitted: that of HTTPS_PROXY, with the exceptions of NO_PROXY."""
