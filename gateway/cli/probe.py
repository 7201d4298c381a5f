"""A container's health check: asks a gateway's admin port whether it is ready. Standard library only, no loop."""

from typing import Any

from gateway.admin.client import AdminUnavailable, fetch, mapping

_LONGEST = 256 * 1024  # bytes of a readiness document that are read


def probe(address: str, timeout: float = 3.0) -> tuple[bool, str]:
    """Whether the gateway whose admin port listens on `address` is ready, and one line that says why not.

    `address` is what the server was given, `0.0.0.0:9090` and `[::]:9090` included. `timeout` in seconds is for each
    step of the exchange. Never raises: what cannot be reached is not ready.
    """
    try:
        status, body = fetch(address, "/readyz", timeout=timeout, limit=_LONGEST)
    except AdminUnavailable as error:
        return False, _row(str(error))
    document = mapping(body)
    return status == 200 and "state" in document, _row(_told(status, document))


def _told(status: int, document: dict[str, Any]) -> str:
    """The document's state, then each credential that has no token and why."""
    state = str(document.get("state") or document.get("detail") or f"answered {status}, and not as a gateway does")
    credentials = document.get("credentials")
    troubles = [
        f"{name}: {facts['error']}"
        for name, facts in (credentials.items() if isinstance(credentials, dict) else ())
        if isinstance(facts, dict) and facts.get("error")
    ]
    return "; ".join((state, *troubles))


def _row(text: str) -> str:
    """`text` on one line, without what a terminal would act upon."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())
