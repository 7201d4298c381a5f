"""An event as readable text. Pure."""

from typing import Any

from gateway.observe.record import escape_unprintable


def event_row(message: str, fields: dict[str, Any], trace: str) -> str:
    """Return the message and the fields in one row, and the stack trace on further rows. Control characters are
    escaped.
    """
    details = "".join(
        f"  {escape_unprintable(name)}={escape_unprintable(str(value))}" for name, value in fields.items()
    )
    rows = (escape_unprintable(message) + details, *(escape_unprintable(each) for each in trace.splitlines()))
    return "\n    ".join(rows)
