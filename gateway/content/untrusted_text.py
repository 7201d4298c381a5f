"""Read URLs, authorities and dates in untrusted text, which callers, OIC and identity domains send, without raising.

The parsers of the standard library raise ValueError, IndexError or OverflowError for some texts that HTTP allows; some
raise only when an attribute such as `.port` is read. These functions return None instead.
"""

import ipaddress
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from urllib.parse import urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}

_AUTHORITY = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._~-]+))(?::([0-9]{0,5}))?")
"""A lower-case authority without user information: IPv6 address, name or IPv4 address, port."""
_PORT = re.compile(r"[0-9]{1,5}")
_SECONDS = re.compile(r"[0-9]{1,9}")
_UNPRINTABLE = re.compile(r"[^ -~]")


class UrlComponents(NamedTuple):
    """A URL or a relative reference. A missing part is empty; a missing `port` is None."""

    scheme: str
    authority: str
    host: str
    port: int | None
    path: str
    query: str

    @property
    def effective_port(self) -> int:
        """The port, or the default port of the scheme, which must be http or https."""
        return DEFAULT_PORTS[self.scheme] if self.port is None else self.port


def read_url(text: str) -> UrlComponents | None:
    """Split a URL or a relative reference (RFC 3986 §4.1). Return None for any other text."""
    try:
        parts = urlsplit(text)
        return UrlComponents(parts.scheme, parts.netloc, parts.hostname or "", parts.port, parts.path, parts.query)
    except ValueError:
        return None


def read_host(text: str) -> str:
    """Return the host of a URL in lower case; "" if it has none."""
    url = read_url(text)
    return "" if url is None else url.host


def read_origin(text: str) -> str | None:
    """Return the origin of an http or https URL (RFC 9110 §4.3.1); None for other texts.

    The origin is `scheme://host:port`, always with the port, and with the host as `normalize_host` writes it: equal
    origins are equal texts.
    """
    url = read_url(text)
    if url is None or not url.host or url.scheme not in DEFAULT_PORTS:
        return None
    return f"{url.scheme}://{normalize_host(url.host)}:{url.effective_port}"


def browser_origin(url: str) -> str | None:
    """Return the origin of a URL as browsers serialise it (HTML Standard, "serialization of an origin"): without the
    default port. None for other texts.
    """
    parts = read_url(url)
    if parts is None or parts.scheme not in DEFAULT_PORTS or not parts.host:
        return None
    host = bracket_ipv6(normalize_host(parts.host))
    is_default = parts.port in {None, DEFAULT_PORTS[parts.scheme]}
    return f"{parts.scheme}://{host}" if is_default else f"{parts.scheme}://{host}:{parts.port}"


class HostPort(NamedTuple):
    """The host of an authority, as `normalize_host` writes it, and its port; None if it has no port."""

    host: str
    port: int | None


def read_authority(text: str) -> HostPort | None:
    """Read `HOST`, `HOST:PORT` or `[IPV6]:PORT`. Return None for other texts, also for one with user information (RFC
    9110 §4.2.4).
    """
    parts = _AUTHORITY.fullmatch(text.lower())
    if parts is None:
        return None
    port = int(parts[3]) if parts[3] else None
    if parts[1] is not None:
        return HostPort(normalize_host(parts[1]), port) if ":" in parts[1] and read_ip_address(parts[1]) else None
    return HostPort(normalize_host(parts[2]), port)


def resolve_authority(text: str, *, default_port: int) -> tuple[str, int] | None:
    """Return host and port as `read_authority` does, with the default port of the scheme if the text has no port."""
    authority = read_authority(text)
    if authority is None:
        return None
    return authority.host, default_port if authority.port is None else authority.port


def split_host_port(text: str) -> tuple[str, int] | None:
    """Split a listen address `HOST:PORT` or `[IPV6]:PORT` into host, without brackets, and port. The host may be empty.
    Return None unless the port is a number up to 65535.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not _PORT.fullmatch(port) or int(port) > 65535:
        return None
    return host.removeprefix("[").removesuffix("]"), int(port)


def format_authority(host: str, port: int) -> str:
    """Return `HOST:PORT`."""
    return f"{bracket_ipv6(host)}:{port}"


def bracket_ipv6(host: str) -> str:
    """Return a host as it is written in an authority: an IPv6 address in brackets (RFC 3986 §3.2.2)."""
    return f"[{host}]" if ":" in host else host


def normalize_host(host: str) -> str:
    """Return the normal form of a host, so that equal hosts are equal texts.

    A name is in lower case, without a final dot. An IPv6 address is in its short form, without a zone; an IPv4-mapped
    one (RFC 4291 §2.5.5.2) becomes an IPv4 address.
    """
    address = read_ip_address(host)
    return host.lower().rstrip(".") if address is None else str(address)


def read_ip_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Read an IP address, without its zone; an IPv4-mapped one becomes an IPv4 address. Return None for a name."""
    if ":" not in host and not host[-1:].isdigit():  # as most: the last character of an IPv4 address is a digit
        return None
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_loopback_host(host: str) -> bool:
    """Return whether a host, in the form of `normalize_host`, is this machine itself."""
    address = read_ip_address(host)
    return host == "localhost" if address is None else address.is_loopback


def read_date(text: str) -> datetime | None:
    """Read an HTTP date (RFC 9110 §5.6.7), in UTC if it has no zone. Return None for other texts."""
    try:
        date = parsedate_to_datetime(text)
        date = date if date.tzinfo else date.replace(tzinfo=UTC)
        date.timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return date


def read_retry_after(text: str, *, now: float) -> float | None:
    """Return the seconds of a Retry-After field (RFC 9110 §10.2.3), a number or a date, at `now` (epoch seconds); None
    for other texts.
    """
    if seconds := _SECONDS.fullmatch(text.strip()):
        return float(seconds[0])
    date = read_date(text)
    return None if date is None else max(0.0, date.timestamp() - now)


def printable_line(text: str, limit: int) -> str:
    """Return the first `limit` characters of a text, with `?` for each that is not printable ASCII."""
    return _UNPRINTABLE.sub("?", text[:limit])
