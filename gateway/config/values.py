"""Types of single values in the configuration file, with their validation. Pure.

The message of a ValueError is "problem; remedy" and never contains the value.
"""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal, NamedTuple
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
)

from gateway.config.typography import typographic
from gateway.content.untrusted_text import is_loopback_host, normalize_host, split_host_port
from gateway.network.egress_proxy import read_proxy_url
from gateway.system.confined_path import ConfinedPath

DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
SIZE_UNITS = {"B": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
PERIODS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
MAX_WORKERS = 64
DURATION_PATTERN = r"^[0-9]{1,9}(\.[0-9]{1,9})?(ms|s|m|h|d)$"
SIZE_PATTERN = r"^[0-9]{1,9}(B|KB|MB|GB|KiB|MiB|GiB)$"
RATE_PATTERN = r"^[1-9][0-9]{0,8}/[smhd]$"
QUOTA_PATTERN = r"^[1-9][0-9]{0,8}/[hd]$"
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
PATH_PATTERN = r"^/"
VARIABLE_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"
CREDENTIAL_PATTERN = r"^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,254}$"
OCID_PATTERN = r"^ocid1\.vaultsecret\.[a-z0-9-]+\.[a-z0-9-]*\.[A-Za-z0-9._-]+$"
VAULT_PATH_PATTERN = r"^[^/\x00-\x1f\x7f]+(/[^/\x00-\x1f\x7f]+)*$"
HOST_PATTERN = r"^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?$"
ORIGIN_PATTERN = r"^(\*|https?://[^/?#@\s]+)$"
FIELD_PATTERN = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$"
VALUE_PATTERN = r"^([!-~]([ -~]*[!-~])?)?$"  # ASCII, nothing that breaks a line, no blank at its ends (RFC 9110 §5.5)
POINTER_PATTERN = r"^(/([^~/]|~[01])*)+$"
TAG_PATTERN = r"^[^\s:<>/&'\x22=]+$"  # no `\"`: an escape that ECMA-262 refuses in its Unicode mode

# Fields for framing, authentication and connections, which the gateway itself sets (RFC 9110 §7.6.1, RFC 9112 §6).
OWN_FIELDS = frozenset(
    "authorization connection content-length expect host http2-settings keep-alive proxy-authorization "
    "proxy-connection te trailer transfer-encoding upgrade via x-request-id".split()
)
VARIABLES = ("request_id", "route", "client", "method", "path", "host", "caller")
"""Names of `${…}` in a value that is set on a request."""

_DOT_SEGMENT = re.compile(r"(?:^|/)(?:\.|%2e){1,2}(?:/|\Z)", re.IGNORECASE)


def duration_text(seconds: float) -> str:
    """Return a duration in the syntax of the file, in the largest unit without a fraction: 330.0 is `330s`."""
    return _quantity_text(seconds, DURATION_UNITS)


def size_text(size: int) -> str:
    """Return a size in the syntax of the file, in the largest unit without a fraction: 8192 is `8KiB`."""
    return _quantity_text(size, dict(SIZE_UNITS))


def _quantity_text(value: float, units: dict[str, float]) -> str:
    largest_first = sorted(units.items(), key=lambda item: -item[1])
    fits = (item for item in largest_first if value and round(value / item[1], 9).is_integer())
    unit, factor = next(fits, ("", 1.0))
    return f"{value / factor:.12g}{unit or min(units, key=lambda unit: units[unit])}"


def _quantity(value: object, pattern: str, *, units: dict[str, float], example: str) -> float:
    if isinstance(value, str) and re.fullmatch(pattern, value):
        digits = value.rstrip("".join({letter for unit in units for letter in unit}))
        return float(digits) * units[value[len(digits) :]]
    raise ValueError(f"needs a number with a unit; write it like {example}")


def _duration(value: object) -> float:
    return _quantity(value, DURATION_PATTERN, units=DURATION_UNITS, example="330s, 250ms or 5m")


def duration_of(value: object) -> float | None:
    """Return the seconds of a duration in the syntax of the file; None for other values."""
    try:
        return _duration(value)
    except ValueError:
        return None


def _size(value: object) -> int:
    return int(_quantity(value, SIZE_PATTERN, units=dict(SIZE_UNITS), example="64KiB or 25MiB"))


class Frequency(NamedTuple):
    """`amount` in each period of so many `seconds`."""

    amount: int
    seconds: int


def _frequency(value: object, pattern: str, remedy: str) -> Frequency:
    if isinstance(value, Frequency):
        return value
    if isinstance(value, str) and re.fullmatch(pattern, value):
        count, _, period = value.partition("/")
        return Frequency(int(count), PERIODS[period])
    raise ValueError(f"needs a number above 0 and a period; {remedy}")


def _frequency_text(value: Frequency) -> str:
    return f"{value.amount}/{next(unit for unit, seconds in PERIODS.items() if seconds == value.seconds)}"


def _rate(value: object) -> Frequency:
    return _frequency(value, RATE_PATTERN, "write it like 10/s, 600/m, 5000/h or 20000/d")


def _quota(value: object) -> Frequency:
    return _frequency(value, QUOTA_PATTERN, "write it like 5000/h or 20000/d; for shorter periods use `rate`")


def _positive(value: float) -> float:
    if value <= 0:
        raise ValueError("must be longer than zero; write it like 5s")
    return value


def _line_size(value: int) -> int:
    if not 1024 <= value <= 1024**2:
        raise ValueError("must be from 1KiB to 1MiB; write it like 16KiB")
    return value


def _workers(value: object) -> int:
    if value == "auto":
        return 0
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_WORKERS:
        return value
    raise ValueError(f"needs a number from 1 to {MAX_WORKERS}, or `auto`; write it like 2")


def _workers_text(value: int) -> int | str:
    return value or "auto"


Duration = Annotated[
    float,
    BeforeValidator(_duration, json_schema_input_type=Annotated[str, Field(pattern=DURATION_PATTERN)]),
    AfterValidator(_positive),
    PlainSerializer(duration_text, when_used="json"),
]
Size = Annotated[
    int,
    BeforeValidator(_size, json_schema_input_type=Annotated[str, Field(pattern=SIZE_PATTERN)]),
    PlainSerializer(size_text, when_used="json"),
]
Workers = Annotated[
    int,
    BeforeValidator(
        _workers,
        json_schema_input_type=Annotated[int, Field(ge=1, le=MAX_WORKERS)] | Literal["auto"],
    ),
    PlainSerializer(_workers_text, when_used="json"),
]
Rate = Annotated[
    Frequency,
    BeforeValidator(_rate, json_schema_input_type=Annotated[str, Field(pattern=RATE_PATTERN)]),
    PlainSerializer(_frequency_text, when_used="json"),
]
QuotaSize = Annotated[
    Frequency,
    BeforeValidator(_quota, json_schema_input_type=Annotated[str, Field(pattern=QUOTA_PATTERN)]),
    PlainSerializer(_frequency_text, when_used="json"),
]
LineSize = Annotated[Size, AfterValidator(_line_size)]


def split_address(value: str) -> tuple[str, int]:
    """Return host and port of `HOST:PORT` or `[v6]:PORT`, or `(path, 0)` of `unix:/path`. Raise ValueError."""
    if value.startswith("unix:/"):
        return value.removeprefix("unix:"), 0
    host_port = split_host_port(value)
    if host_port is None or not _is_host(value.rpartition(":")[0]):
        raise ValueError("is not an address; write HOST:PORT, like 127.0.0.1:8080, or unix:/path")
    return host_port


def is_loopback(address: str) -> bool:
    """Return whether only this machine can reach the address: unix socket, `localhost`, 127.0.0.0/8 or ::1."""
    host, _ = split_address(address)
    return address.startswith("unix:") or is_local(host)


def is_local(host: str) -> bool:
    """Return whether the host name or address, without brackets, is this machine."""
    return is_loopback_host(normalize_host(host))


def _is_host(host: str) -> bool:
    if host.startswith("[") and host.endswith("]"):
        try:
            return ipaddress.IPv6Address(host[1:-1]).scope_id is None
        except ValueError:
            return False
    return re.fullmatch(HOST_PATTERN, host) is not None


def _address(value: str) -> str:
    split_address(value)
    if value.startswith("unix:/") and not 1 < len(value.removeprefix("unix:").encode()) <= 107:
        raise ValueError("is not a socket path of up to 107 bytes; write it like unix:/run/gateway.sock")
    return value


def _http_url(value: str) -> str:
    if found := typographic(value):
        raise ValueError(f"has {found}; remove it")
    try:
        parts: SplitResult = urlsplit(value)
        port = parts.port
    except ValueError:
        raise ValueError("is not a URL; write it like https://host/path") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise ValueError("is not an http or https URL with a host; write it like https://host/path")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not contain a user or password; set `username` and `password`")
    if not re.fullmatch(r"[!-~]+", value):
        raise ValueError("has a space or non-ASCII character; percent-encode it")
    if not _is_host(re.sub(r":[0-9]*$", "", parts.netloc)):
        raise ValueError("has no valid host; write it like https://host/path")
    return value


def _base_url(value: str) -> str:
    _http_url(value)
    if "?" in value or "#" in value:
        raise ValueError("must not have a query or fragment; remove what follows the path")
    if "\\" in value or has_dot_segment(urlsplit(value).path):
        raise ValueError("has a backslash, `.` or `..` in its path; write the resolved path")
    return value


def _proxy_address(value: str) -> str:
    proxy = read_proxy_url(value)
    if proxy.username or proxy.password or "@" in value:
        raise ValueError("must not contain a user or password; set `username` and `password`")
    return value


def has_dot_segment(path: str) -> bool:
    """Return whether a segment of the path is `.` or `..`, percent-encoded or not (RFC 3986 §5.2.4)."""
    return _DOT_SEGMENT.search(path) is not None


def _network(value: object) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return value
    try:
        return ipaddress.ip_network(value if isinstance(value, str) else "")
    except ValueError as cause:
        if "host bits" in str(cause):
            raise ValueError("has host bits set; write the address of the network") from None
        raise ValueError("is not a network; write it like 10.0.0.0/8 or fd00::/8") from None


def _file_path(value: object, validate: ValidatorFunctionWrapHandler, info: ValidationInfo) -> str:
    """Return an absolute path. A confined one stays as it is; pydantic would make a plain string of it."""
    path = validate(value)
    return value if isinstance(value, ConfinedPath) else str(Path((info.context or {}).get("base", ""), path))


def _site_url(value: str) -> str:
    _base_url(value)
    if urlsplit(value).path not in {"", "/"}:
        raise ValueError("must be a host without a path; remove the path")
    return value.rstrip("/")


def _field_name(value: str) -> str:
    if value.lower() in OWN_FIELDS:
        raise ValueError("is a field that the gateway itself sets; remove it")
    return value


def _template(value: str) -> str:
    unknown = [found for found in re.findall(r"\$\{([^}]*)\}?", value) if found not in VARIABLES]
    if unknown:
        known = ", ".join(f"${{{name}}}" for name in VARIABLES)
        raise ValueError(f"has an unknown `${{…}}`; the names are {known}")
    return value


def _editor_pattern(pattern: str) -> WithJsonSchema:
    """Return a necessary condition for editors, for text that a function validates."""
    return WithJsonSchema({"type": "string", "pattern": pattern})


Address = Annotated[str, AfterValidator(_address), _editor_pattern(r"^(unix:/.+|[^/\s]+:[0-9]{1,5})$")]
HttpUrl = Annotated[str, AfterValidator(_http_url), _editor_pattern(r"^[Hh][Tt][Tt][Pp][Ss]?://[!-~]+$")]
BaseUrl = Annotated[str, AfterValidator(_base_url), _editor_pattern(r"^[Hh][Tt][Tt][Pp][Ss]?://[!\x22$->@-~]+$")]
ProxyAddress = Annotated[str, AfterValidator(_proxy_address)]
Network = Annotated[
    ipaddress.IPv4Network | ipaddress.IPv6Network, BeforeValidator(_network, json_schema_input_type=str)
]
FilePath = Annotated[str, Field(min_length=1), WrapValidator(_file_path)]
Text = Annotated[str, Field(min_length=1)]
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
HostName = Annotated[str, Field(pattern=HOST_PATTERN)]
Origin = Annotated[str, Field(pattern=ORIGIN_PATTERN)]
SiteUrl = Annotated[str, AfterValidator(_site_url)]
HeaderName = Annotated[str, Field(pattern=FIELD_PATTERN)]
FieldName = Annotated[HeaderName, AfterValidator(_field_name)]
FieldValue = Annotated[str, Field(pattern=VALUE_PATTERN, max_length=4096), AfterValidator(_template)]
Parameter = Annotated[str, Field(max_length=4096), AfterValidator(_template)]
QueryName = Annotated[str, Field(min_length=1, max_length=256)]
Pointer = Annotated[str, Field(pattern=POINTER_PATTERN, max_length=256)]
Tag = Annotated[str, Field(pattern=TAG_PATTERN, max_length=128)]
