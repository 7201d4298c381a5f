"""Pure: which fields go to OIC and which to the caller, and what the gateway itself must know of them.

One pass over the fields as they came: what means nothing to us is copied to the outgoing head unchanged and in order,
what belongs to one hop or to the caller alone stays behind (RFC 9110 §7.6.1 and the contract), what we act on is noted.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

from gateway.errors import BadRequest, ExpectationFailed
from gateway.proxy.replies import ReplyHead

Field = tuple[bytes, bytes]

HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade http2-settings".split()
)
# Never from outside to OIC: the caller's own identity, and hop facts that would be believed (WL-Proxy: by WebLogic).
KEPT_BACK = frozenset(b"authorization cookie cookie2 host forwarded".split())
# Here and below: servers that turn names into variables (RFC 3875 §4.1.18) cannot tell `_` from `-`.
KEPT_BACK_PREFIXES = (b"proxy-", b"proxy_", b"x-forwarded", b"x_forwarded", b"wl-proxy-")
# Framing and identity that the gateway writes itself.
OURS = frozenset(b"content-length expect x-request-id via".split())
STOPPED = HOP_BY_HOP | KEPT_BACK | OURS
STOPPED |= {name.replace(b"-", b"_") for name in STOPPED}
NOTED = OURS | frozenset(b"connection host origin sec-fetch-site transfer-encoding upgrade".split())

NOTED_BACK = HOP_BY_HOP | frozenset(
    b"content-length strict-transport-security set-cookie set-cookie2 location content-location link x-request-id "
    b"x-gateway-error proxy-authenticate proxy-authentication-info".split()
)
COOKIES = frozenset(b"set-cookie set-cookie2".split())
REWRITTEN = frozenset(b"location content-location link".split())
LENGTH = re.compile(rb"[0-9]{1,18}")
REQUEST_ID = re.compile(rb"[!-~]{1,128}")
PER_CONNECTION = frozenset(b"close keep-alive".split())


@dataclass(slots=True, repr=False)
class CallerHead:
    """What a caller's head says to us, and the lines that go on to OIC. Its repr shows none of it: fields hold keys."""

    lines: list[bytes]
    """`name: value` and CRLF of each field that passes, in order."""
    noted: dict[bytes, bytes]
    """Fields that we act on, by lower-case name; repeated ones joined with a comma (RFC 9110 §5.2)."""

    @property
    def length(self) -> int | None:
        """Content-Length, or None."""
        value = self.noted.get(b"content-length")
        return None if value is None else int(value)

    @property
    def chunked(self) -> bool:
        """The body comes in chunks."""
        return b"transfer-encoding" in self.noted

    @property
    def has_body(self) -> bool:
        """A body follows."""
        return b"transfer-encoding" in self.noted or self.noted.get(b"content-length", b"0").strip(b"0") != b""

    @property
    def expects_continue(self) -> bool:
        """The caller waits for `100 Continue` (RFC 9110 §10.1.1)."""
        return b"expect" in self.noted

    def request_id(self, fresh: Callable[[], str]) -> str:
        """The caller's own X-Request-Id where it is one short visible word, else a fresh one."""
        given = self.noted.get(b"x-request-id")
        return given.decode("ascii") if given is not None and REQUEST_ID.fullmatch(given) else fresh()


def read_caller(fields: Iterable[Field]) -> CallerHead:
    """Reads a caller's head. Raises BadRequest for framing or an upgrade that cannot be served, ExpectationFailed."""
    head = _sort_out(fields)
    noted = head.noted
    if named := _named_by_connection(noted.get(b"connection")):
        head.lines = _without(named, head.lines)
        if b"via" in named:
            noted.pop(b"via", None)
    coding, length = noted.get(b"transfer-encoding"), noted.get(b"content-length")
    if coding is not None and (coding.lower() != b"chunked" or length is not None):
        raise BadRequest("Only `Transfer-Encoding: chunked` is understood, and never beside Content-Length.")
    if length is not None and not LENGTH.fullmatch(length):
        raise BadRequest("Content-Length is not one number.")
    _refuse_upgrade(noted)
    if noted.get(b"expect", b"100-continue").lower() != b"100-continue":
        raise ExpectationFailed
    return head


def request_head(method: str, target: str, host: bytes, head: CallerHead, *, request_id: str, bearer: str) -> bytes:
    """Puts together the head that goes upstream; the bearer goes in last.

    A body keeps the framing it came with. POST, PUT and PATCH without one say so (RFC 9110 §8.6): some servers answer
    411 otherwise.
    """
    noted = head.noted
    parts = [f"{method} {target} HTTP/1.1\r\n".encode("utf-8", "surrogateescape"), host, *head.lines]
    if b"content-length" in noted:
        parts.append(b"Content-Length: %b\r\n" % noted[b"content-length"])
    elif head.chunked:
        parts.append(b"Transfer-Encoding: chunked\r\n")
    elif method in {"POST", "PUT", "PATCH"}:
        parts.append(b"Content-Length: 0\r\n")
    via = noted.get(b"via")
    parts.append(b"Via: 1.1 oic-gateway\r\n" if via is None else b"Via: %b, 1.1 oic-gateway\r\n" % via)
    parts.append(f"X-Request-Id: {request_id}\r\nAuthorization: Bearer {bearer}\r\n\r\n".encode())
    return b"".join(parts)


def reply_lines(
    head: ReplyHead, *, rename: Callable[[bytes, bytes], bytes], keep_cookies: bool, tls_listener: bool
) -> list[bytes]:
    """Gives the `name: value` CRLF lines that pass to the caller, in order; framing and X-Request-Id are left out.

    `rename(lower-case name, value)` gives Location and its kin in the gateway's names.
    """
    lines: list[bytes] = []
    named: frozenset[bytes] = frozenset()
    for name, value in head.fields:
        key = name.lower()
        if key not in NOTED_BACK:
            lines.append(b"%b: %b\r\n" % (name, value))
        elif key in REWRITTEN:
            lines.append(b"%b: %b\r\n" % (name, rename(key, value)))
        elif (key in COOKIES and keep_cookies) or (key == b"strict-transport-security" and tls_listener):
            lines.append(b"%b: %b\r\n" % (name, value))
        elif key == b"connection":
            named |= _named_by_connection(value)
    return _without(named, lines) if named else lines


def retry_after(fields: Iterable[Field], *, now: float) -> float | None:
    """Seconds that a reply asks to wait (RFC 9110 §10.2.3), as a number or a date; None without a readable one.
    `now` in epoch seconds.
    """
    for name, value in fields:
        if name.lower() != b"retry-after":
            continue
        if value.isdigit() and len(value) < 10:
            return float(value)
        try:
            then = parsedate_to_datetime(value.decode("latin-1"))
        except (ValueError, OverflowError):
            return None
        # RFC 9110 §5.6.7: a date is UTC, also in the old form that has no word for it.
        return max(0.0, (then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp() - now)
    return None


def wants_keep_alive(version: tuple[int, int], connection: bytes | None) -> bool:
    """The caller's wish: HTTP/1.1 keeps the connection unless it says close, HTTP/1.0 only when it asks."""
    if connection is None:
        return version >= (1, 1)
    options = {option.strip() for option in connection.lower().split(b",")}
    return b"close" not in options and (version >= (1, 1) or b"keep-alive" in options)


def _sort_out(fields: Iterable[Field]) -> CallerHead:
    lines: list[bytes] = []
    noted: dict[bytes, bytes] = {}
    for name, value in fields:
        key = name.lower()
        if key in NOTED:
            noted[key] = value if key not in noted else b"%b, %b" % (noted[key], value)
        if key not in STOPPED and not key.startswith(KEPT_BACK_PREFIXES):
            lines.append(b"%b: %b\r\n" % (name, value))
    return CallerHead(lines, noted)


def _without(named: frozenset[bytes], lines: list[bytes]) -> list[bytes]:
    return [line for line in lines if line.partition(b":")[0].lower() not in named]


def _named_by_connection(value: bytes | None) -> frozenset[bytes]:
    if value is None or value.lower() in PER_CONNECTION:
        return frozenset()
    return frozenset(option.strip() for option in value.lower().split(b","))


def _refuse_upgrade(noted: dict[bytes, bytes]) -> None:
    """h2c may be ignored (RFC 9113 §3.1: deprecated; Java's client offers it on every call); anything else asks for a
    protocol that the gateway does not speak, and saying so is kinder than answering something else.
    """
    upgrade = noted.get(b"upgrade")
    if upgrade is not None and upgrade.strip().lower() != b"h2c":
        raise BadRequest("The gateway does not switch protocols; leave the Upgrade field out.")
