"""Filters of the templates: durations, sizes, counts and times as text. Pure."""

from datetime import UTC, datetime

from markupsafe import Markup, escape

THIN_SPACE = "\u202f"
"""A narrow space without a line break, between groups of three digits (ISO 80000-1 §7.3.1)."""
UNKNOWN = "–"  # noqa: RUF001 - an en dash in place of a value
_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def format_count(number: float | None) -> str:
    """Return a whole number with its digits in groups of three: `12 345`."""
    return UNKNOWN if number is None else f"{number:,.0f}".replace(",", THIN_SPACE)


def format_decimal(number: float | None) -> str:
    """Return a rate: two significant digits below 10, whole numbers above it."""
    if number is None:
        return UNKNOWN
    if 0 < number < 0.095:
        return f"{number:.2f}"
    return format_count(number) if number >= 9.95 or number == 0 else f"{number:.1f}"


def format_duration(seconds: float | None) -> str:
    """Return seconds in at most two units, like `59 min 48 s` or `2 d 4 h`; below 10 seconds with one decimal."""
    if seconds is None:
        return UNKNOWN
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.1f}".removesuffix(".0") + " s"
    left = round(seconds)
    parts: list[tuple[int, str]] = []
    for size, unit in _UNITS:
        amount, left = divmod(left, size)
        if amount or parts:
            parts.append((amount, unit))
    return " ".join(f"{amount} {unit}" for amount, unit in parts[:2] if amount)


def format_milliseconds(milliseconds: float | None) -> str:
    """Return milliseconds with three significant digits, in seconds or minutes if they are many."""
    if milliseconds is None:
        return UNKNOWN
    if milliseconds >= 9_995:
        return format_duration(milliseconds / 1000)
    if milliseconds >= 999.5:
        return f"{milliseconds / 1000:.2f} s"
    decimals = 0 if milliseconds >= 99.95 or milliseconds == 0 else 1 if milliseconds >= 9.995 else 2
    return f"{milliseconds:.{decimals}f} ms"


def format_size(size: float | None) -> str:
    """Return bytes with a binary unit: `331 B`, `1.2 KiB`."""
    if size is None:
        return UNKNOWN
    for unit in ("B", "KiB", "MiB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 9.95 else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def format_percent(percent: float | None) -> str:
    """Return a percentage: `0 %`, `0.4 %`, `12 %`, `100 %`."""
    if percent is None:
        return UNKNOWN
    if 0 < percent < 0.05:
        return "< 0.1 %"
    if 99.5 <= percent < 100:
        return f"{min(percent, 99.9):.1f} %"
    return f"{percent:.1f} %" if 0 < percent < 9.95 else f"{percent:.0f} %"


def time_element(at: float | str | None, form: str = "second") -> Markup | str:
    """Return a `time` element of epoch seconds, or of a time in ISO 8601; its text is UTC.

    The script shows the same instant in the viewer's zone, in the `form` `second` or `hour`; then UTC is the title.
    """
    if at is None or at == "":
        return UNKNOWN
    try:
        moment = datetime.fromisoformat(at) if isinstance(at, str) else datetime.fromtimestamp(at, UTC)
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return str(at)
    text = f"{moment:%Y-%m-%d %H:%M:%S} UTC"
    machine = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Markup('<time datetime="{}" data-form="{}" title="{}">{}</time>').format(machine, form, text, text)


def hour_element(hour: str | None) -> Markup | str:
    """Return a `time` element of an ISO 8601 time, shown with its day and without seconds."""
    return time_element(hour, "hour")


def url_text(url: str) -> Markup:
    """Return a URL that a browser may wrap after each slash."""
    return Markup("/<wbr>").join(url.split("/"))


def prose(text: str) -> Markup:
    """Return a text in which what stands between backquotes is code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if index % 2 else part for index, part in enumerate(parts)
    )


FILTERS = {
    "count": format_count,
    "decimal": format_decimal,
    "duration": format_duration,
    "milliseconds": format_milliseconds,
    "size": format_size,
    "percent": format_percent,
    "time": time_element,
    "hour": hour_element,
    "url": url_text,
    "prose": prose,
}
"""The filters of the templates by name."""
