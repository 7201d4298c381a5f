"""Switches: how the sandbox differs from a healthy identity domain and OIC instance.

A switch can be changed while the sandbox runs; the next request sees it. Every switch except those that hold an event
of a test (`token_gate`, `cut_gate`, `secret_gate`, `slow_gate`) can be written as `NAME=VALUE`. Marks: [C] the
behaviour is confirmed for the real service, [U] it is not: a gateway must handle both.
"""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from gateway.sandbox.clients import DEFAULT_USER

Application = Literal["active", "inactive"]
ExpiresIn = Literal["int", "string", "float", "missing"]
TokenFault = Literal[
    "",
    "empty",
    "html",
    "truncated",
    "no-token",
    "token-type",
    "redirect",
    "400",
    "429",
    "500",
    "503",
    "outage",
    "reset",
    "unsupported_grant_type",
    "invalid_target",
    "access_denied",
]
GrantName = Literal[
    "client_credentials",
    "authorization_code",
    "refresh_token",
    "password",
    "urn:ietf:params:oauth:grant-type:jwt-bearer",
    "tls_client_auth",
]
InstanceIds = Literal["uuid", "decimal", "body", "none"]
UrlStyle = Literal["plain", "port", "http", "upper", "escaped", "entities", "percent"]
ContentCoding = Literal["", "gzip", "deflate"]
Role = Literal["ServiceInvoker", "ServiceDeveloper", "ServiceUser", "ServiceAdministrator"]
RoleRefusal = Literal[401, 403]
AllowlistRefusal = Literal["403", "reset"]
CertificateFault = Literal["", "trusted", "untrusted", "inspection", "expired", "wrong-name"]
EgressProxy = Literal["", "407", "refuses"]


@dataclass(slots=True)
class Switches:
    """All switches; the defaults imitate what is confirmed for the real services.

    Attributes (both):
        clock_offset: seconds by which the clock of both is ahead; it affects `Date`, `iat`, `exp`, instance ids and
        expiry.

    Attributes (connections to both; read at the start):
        certificate: HTTPS with a new certificate; of all but `untrusted` and `inspection` the printed
            configuration names the authority (`tls: {ca: …}`); empty: plain HTTP.
        egress_proxy: the printed configuration names an egress proxy that requires a password (`407`) or
            opens no tunnel.
        unknown_host: the printed configuration contains a host name under `.invalid` (RFC 6761 section 6.4).

    Attributes (identity domain):
        application: `inactive`: no application is activated, `invalid_client` for all [C; the exact text U].
        allowed_grants: the grants that are enabled; another one: 401 `unauthorized_client` [C; the status U]. A client
            may have fewer.
        token_lifetime: lifetime of a token in seconds, before `urn:opc:resource:expiry=N` shortens it [C].
        expires_in: form of the lifetime in the response; all but `int` [U].
        audience_as_list: the claim `aud` is a list even for one audience [C].
        token_fault: the response of the token endpoint in place of a token; "outage" closes the connection, "reset"
            by a TCP reset [U].
        token_audience: the claim `aud` in place of that of the scope; empty: the scope's.
        token_client: the claim `client_id` in place of that of the client; empty: the client's.
        token_retry_after: value of `Retry-After` on 429 and 503 of the token endpoint; empty: left out [U].
        token_gate: the token endpoint answers once this is set.
        token_delay: seconds until the token endpoint answers.
        token_budget_per_second, token_budget_per_minute: token requests allowed in the window; more: 429 [C: a Free
            domain has 10 and 150].
        jwks_open: the signing key is published (a real domain answers 401 unless opened [C]).
        assertion_algorithms: the algorithms of assertions (a real domain accepts RS256 only [C]).
        signed_in: the user who signs in at the authorization endpoint; empty: no sign-in, `access_denied`.
        rotate_refresh_tokens: each use of a refresh token gives a new one; used twice, its whole sign-in ends [U].
        refresh_grace: seconds for which a used refresh token is accepted again: its response may have been lost [U].
        refresh_lifetime: lifetime of a refresh token in seconds [C].
        application_administrator: the applications have the role that lets them administer applications: find one, and
            give it a new client secret.
        cut_gate: an application gets a new secret once this is set.
        secret_gate: the new secret is sent once this is set; the old one has ended.
        lost_secrets: the connections of this many responses with a new secret are closed without the response.

    Attributes (OIC instance):
        roles: the application roles granted on the instance to clients that have none of their own.
        role_refusal: status for a good token without the role: 401 [C], or 403 [U].
        allowlisted: False: the instance's allow-list lacks the caller's address [C].
        allowlist_refusal: how it refuses that: 403, or a TCP reset [U].
        instance_ids: `uuid` as OIC 3 [C], `decimal` as Gen 2 [C] in the header `x-oracle-ics-instance-id`; `body`: no
            header, ORDERS and HELLO write `oicInstanceId` [C of flows that map it]; `none`: nowhere [U].
        refuse_bearers: every bearer is refused with 401, as in an outage of token validation.
        fault_status: this status without an instance id for every trigger; 0: off.
        fault_retry_after: value of `Retry-After` beside `fault_status`; empty: left out.
        fault_location: value of `Location` beside `fault_status`; empty: left out.
        concurrency: synchronous runs at once; more: 429 [C: a limit exists; the response U]; nothing: no limit.
        async_depth: asynchronous runs that the queue holds; more: 429 with the body that Oracle documents [C].
        async_run_time: seconds that an asynchronous run stays in the queue.
        reply_delay: seconds until a trigger answers.
        cut_replies: the connection closes in place of the response of a trigger, after the token was accepted.
        drops: the connections of this many OIC requests are closed without a response.
        slow_gate: SLOW answers once this is set, whatever its seconds.
        runtime_origin: origin that the runtime host uses for itself; empty: that of the listener.
        design_origin: origin of the design host; empty: the same listener under `localhost`.
        url_style: how it writes its own URLs in bodies, `Location`, `Content-Location` and `Link`: with the port even
            if it is the default, `http` for `https` and vice versa, in upper case, with slashes
            escaped in JSON, with character references in XML, within the query of another URL [C; which when U].
        content_coding: text bodies are sent in this coding if `Accept-Encoding` allows it [U].
        content_coding_forced: even if it does not [U].
    """

    clock_offset: float = 0.0

    certificate: CertificateFault = ""
    egress_proxy: EgressProxy = ""
    unknown_host: bool = False

    application: Application = "active"
    allowed_grants: tuple[GrantName, ...] = get_args(GrantName)
    token_lifetime: int = 3600
    expires_in: ExpiresIn = "int"
    audience_as_list: bool = False
    token_fault: TokenFault = ""
    token_audience: str = ""
    token_client: str = ""
    token_retry_after: str = ""
    token_gate: asyncio.Event | None = None
    token_delay: float = 0.0
    token_budget_per_second: int | None = None
    token_budget_per_minute: int | None = None
    jwks_open: bool = False
    assertion_algorithms: tuple[str, ...] = ("RS256",)
    signed_in: str = DEFAULT_USER
    rotate_refresh_tokens: bool = False
    refresh_grace: int = 0
    refresh_lifetime: int = 7 * 86400
    application_administrator: bool = False
    cut_gate: asyncio.Event | None = None
    secret_gate: asyncio.Event | None = None
    lost_secrets: int = 0

    roles: tuple[Role, ...] = ("ServiceInvoker", "ServiceDeveloper")
    role_refusal: RoleRefusal = 401
    allowlisted: bool = True
    allowlist_refusal: AllowlistRefusal = "403"
    instance_ids: InstanceIds = "uuid"
    refuse_bearers: bool = False
    fault_status: int = 0
    fault_retry_after: str = ""
    fault_location: str = ""
    concurrency: int | None = None
    async_depth: int | None = None
    async_run_time: float = 60.0
    reply_delay: float = 0.0
    cut_replies: bool = False
    drops: int = 0
    slow_gate: asyncio.Event | None = None
    runtime_origin: str = ""
    design_origin: str = ""
    url_style: UrlStyle = "plain"
    content_coding: ContentCoding = ""
    content_coding_forced: bool = False


_FLAGS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Setting:
    """One switch as it is written: its name, its possible values, its default, and the function that reads a value."""

    name: str
    values: str
    default: str
    read: Callable[[str], Any]


def read_setting(word: str) -> tuple[str, Any]:
    """Return name and typed value of a switch written `NAME=VALUE`. Raise ValueError with all possibilities."""
    name, equals, value = word.partition("=")
    known = settings()
    if not equals or name not in known:
        listed = "\n".join(f"  {one.name}={one.values}" for one in known.values())
        raise ValueError(f"{word!r} is not NAME=VALUE of a switch; the switches are\n{listed}")
    try:
        return name, known[name].read(value)
    except (ValueError, KeyError) as cause:
        raise ValueError(f"{name} cannot be {value!r}; it takes {known[name].values}") from cause


def settings() -> dict[str, Setting]:
    """Return all switches that can be written, by name."""
    hints = get_type_hints(Switches)
    kinds = [(field.name, _value_kind(hints[field.name]), field.default) for field in fields(Switches)]
    return {name: Setting(name, kind[0], _format_default(default), kind[1]) for name, kind, default in kinds if kind}


_Kind = tuple[str, Callable[[str], Any]]


def _value_kind(hint: Any) -> _Kind | None:
    """Return the possible values of a type and its reader; None for what cannot be written."""
    if get_origin(hint) is Literal:
        choices = {str(choice): choice for choice in get_args(hint)}
        return ", ".join(choice or "(nothing)" for choice in choices), choices.__getitem__
    if get_origin(hint) is tuple:
        return _several(_value_kind(get_args(hint)[0]))
    if isinstance(hint, UnionType):
        return _optional(_value_kind(get_args(hint)[0]))
    return _KINDS.get(hint)


def _several(one: _Kind | None) -> _Kind | None:
    return one and (f"several of {one[0]}", lambda text: tuple(one[1](word) for word in text.split(",") if word))


def _optional(one: _Kind | None) -> _Kind | None:
    return one and (f"{one[0]}, (nothing)", lambda text: one[1](text) if text else None)


def _format_default(default: object) -> str:
    if isinstance(default, tuple):
        return ",".join(default)
    if isinstance(default, bool):
        return str(default).lower()
    return "" if default is None else str(default)


def _read_int(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError
    return number


def _read_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError
    return number


_KINDS: dict[Any, _Kind] = {
    bool: ("true, false", _FLAGS.__getitem__),
    int: ("a whole number", _read_int),
    float: ("a number", _read_float),
    str: ("text", str),
}
