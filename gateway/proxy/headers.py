"""Pure: which fields go to OIC and which to the caller, and what the gateway itself must know of them.

Two tables say what becomes of each field (RFC 9110 §7.6.1 and the contract); the readers sort by them in one pass.
What means nothing to us is copied to the outgoing head unchanged and in order, what belongs to one hop or to the caller
alone stays behind, what we act on is noted.
"""

import re
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime

from gateway.proxy.fields import Kind, Kinds, named_by, value_of, without
from gateway.proxy.replies import ReplyHead
from gateway.proxy.requests import RequestHead

HOP_BY_HOP = b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade http2-settings".split()
# Never from outside to OIC: the caller's own identity, and hop facts that would be believed (WL-Proxy: by WebLogic).
KEPT_BACK = b"authorization cookie cookie2 host forwarded".split()
KEPT_BACK_PREFIXES = (b"proxy-", b"proxy_", b"x-forwarded", b"x_forwarded", b"wl-proxy-")
# Framing and identity that the gateway writes itself.
OURS = b"content-length expect x-request-id via".split()
NOTED = b"connection host transfer-encoding upgrade".split()
SHOWN = b"content-type origin sec-fetch-site soapaction".split()
STOPPED = [*HOP_BY_HOP, *KEPT_BACK, *OURS]

COOKIES = frozenset(b"set-cookie set-cookie2".split())
HSTS = b"strict-transport-security"
NOTED_BACK = b"connection content-length transfer-encoding".split()
SHOWN_BACK = b"date opc-request-id retry-after x-oracle-ics-instance-id".split()
HELD_BACK = [*COOKIES, HSTS, *b"location content-location link".split()]
STOPPED_BACK = [*HOP_BY_HOP, *b"x-request-id x-gateway-error proxy-authenticate proxy-authentication-info".split()]

CALLER = Kinds(
    {
        # Servers that turn names into variables (RFC 3875 §4.1.18) cannot tell `_` from `-`.
        **dict.fromkeys([name.replace(b"-", b"_") for name in STOPPED], Kind.DROP),
        **dict.fromkeys(STOPPED, Kind.DROP),
        **dict.fromkeys([*OURS, *NOTED], Kind.NOTE),
        **dict.fromkeys(SHOWN, Kind.SHOW),
    },
    dropped=KEPT_BACK_PREFIXES,
)
REPLY = Kinds(
    {
        **dict.fromkeys(STOPPED_BACK, Kind.DROP),
        **dict.fromkeys(NOTED_BACK, Kind.NOTE),
        **dict.fromkeys(SHOWN_BACK, Kind.SHOW),
        **dict.fromkeys(HELD_BACK, Kind.HOLD),
    }
)
REQUEST_ID = re.compile(rb"[!-~]{1,128}")


def request_id(head: RequestHead, fresh: Callable[[], str]) -> str:
    """The caller's own X-Request-Id where it is one short visible word, else a fresh one."""
    given = head.noted.get(b"x-request-id")
    return given.decode("ascii") if given is not None and REQUEST_ID.fullmatch(given) else fresh()


def request_head(head: RequestHead, target: str, host: bytes, *, request_id: str, bearer: str) -> bytes:
    """Puts together the head that goes upstream; `host` is the Host line without its end, the bearer goes in last.

    A body keeps the framing it came with. POST, PUT and PATCH without one say so (RFC 9110 §8.6): some servers answer
    411 otherwise.
    """
    if head.length is not None:
        framing = f"Content-Length: {head.length}\r\n"
    elif head.chunked:
        framing = "Transfer-Encoding: chunked\r\n"
    else:
        framing = "Content-Length: 0\r\n" if head.method in {"POST", "PUT", "PATCH"} else ""
    via = head.noted.get(b"via")
    hops = "" if via is None else f"{via.decode('latin-1')}, "
    ours = (
        f"{framing}Via: {hops}1.1 oic-gateway\r\nX-Request-Id: {request_id}\r\nAuthorization: Bearer {bearer}\r\n\r\n"
    )
    line = f"{head.method} {target} HTTP/1.1"
    return b"\r\n".join([line.encode("ascii"), host, *head.lines, ours.encode("latin-1")])


def reply_lines(
    head: ReplyHead, *, rename: Callable[[bytes, bytes], bytes], keep_cookies: bool, tls_listener: bool
) -> list[bytes]:
    """Gives the lines that pass to the caller; framing and X-Request-Id are left out.

    `rename(lower-case name, value)` gives Location and its kin in the gateway's names.
    """
    lines = [*head.passed]
    for key, line in head.held:
        if key in COOKIES or key == HSTS:
            if keep_cookies if key in COOKIES else tls_listener:
                lines.append(line)
        else:
            lines.append(b"%b: %b" % (line.partition(b":")[0], rename(key, value_of(line))))
    connection = head.noted.get(b"connection")
    if connection is not None and (named := named_by(connection)):
        return without(named, lines)
    return lines


def retry_after(value: bytes | None, *, now: float) -> float | None:
    """Seconds that a Retry-After asks to wait (RFC 9110 §10.2.3), as a number or a date; None without a readable one.
    `now` in epoch seconds.
    """
    if value is None:
        return None
    if value.isdigit() and len(value) < 10:
        return float(value)
    try:
        then = parsedate_to_datetime(value.decode("latin-1"))
    except (ValueError, OverflowError):
        return None
    # RFC 9110 §5.6.7: a date is UTC, also in the old form that has no word for it.
    return max(0.0, (then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp() - now)
