"""Switches: what the sandbox does differently from a healthy identity domain and OIC instance.

Change any of them while the sandbox runs; the next request sees it. `settings` reads them from words. Marks: [C] the
switch plays what is confirmed of the real thing, [U] a variant that is not: a gateway must live with both.
"""

import asyncio
from dataclasses import dataclass
from typing import Literal, get_args

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
Grant = Literal[
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
Certificate = Literal["", "trusted", "untrusted", "inspection", "expired", "wrong-name"]
EgressProxy = Literal["", "407", "refuses"]


@dataclass(slots=True)
class Switches:
    """All switches; the defaults imitate what is confirmed of the real thing.

    Attributes (both):
        clock_offset: seconds by which the clock of both is ahead: `Date`, `iat`, `exp`, ids, and when things expire.

    Attributes (the way to both; read at the start):
        certificate: HTTPS with a certificate made on the fly; of all but `untrusted` and `inspection` the printed
            configuration names the authority (`tls: {ca: …}`); empty: plain HTTP.
        egress_proxy: the printed configuration names an egress proxy: one that wants a password (`407`), or
            opens no tunnel.
        unknown_host: the printed configuration says a host name under `.invalid` (RFC 6761 section 6.4).

    Attributes (identity domain):
        application: `inactive`: no application is activated, `invalid_client` for all [C; its very words U].
        allowed_grants: the grants ticked; another one: 401 `unauthorized_client` [C; the status U]. A client may have
            fewer of its own.
        token_lifetime: seconds a token lives, before `urn:opc:resource:expiry=N` shortens it [C].
        expires_in: how the reply writes the lifetime; all but `int` [U].
        audience_as_list: the claim `aud` is a list even for one audience [C].
        token_fault: what the token endpoint answers in place of a token; "outage" hangs up, "reset"
            by a TCP reset [U].
        token_audience: the claim `aud` in place of the scope's own; empty: the scope's.
        token_client: the claim `client_id` in place of the client's own; empty: the client's.
        token_retry_after: value of `Retry-After` on 429 and 503 of the token endpoint; empty: left out [U].
        token_gate: the token endpoint answers once this is set.
        token_delay: seconds the token endpoint takes.
        token_budget_per_second, token_budget_per_minute: token requests allowed in the window; more: 429 [C: a Free
            domain has 10 and 150].
        jwks_open: the signing key is published (a real domain answers 401 unless opened [C]).
        assertion_algorithms: how assertions may be signed (a real domain takes RS256 only [C]).
        signed_in: the user who signs in at the authorization endpoint; empty: nobody does, `access_denied`.
        rotate_refresh_tokens: each use of a refresh token gives a new one; used twice, its whole sign-in ends [U].
        refresh_grace: seconds for which a used refresh token is taken again, since its answer may have been lost [U].
        refresh_lifetime: seconds a refresh token lives [C].

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
        reply_delay: seconds every reply of a trigger takes.
        cut_replies: the connection closes in place of the reply of a trigger, once the token is found good.
        drops: this many of the next OIC requests are hung up on without an answer.
        slow_gate: SLOW answers once this is set, whatever its seconds.
        runtime_origin: origin that the runtime host believes to have; empty: that of the listener.
        design_origin: origin of the design host; empty: the same listener under `localhost`.
        url_style: how it spells its own URLs in bodies, `Location`, `Content-Location` and `Link`: with the port even
            where it is the scheme's own, `http` for `https` and the other way round, in upper case, with slashes
            escaped in JSON, with characters of XML by number, within the query of another's [C; which when U].
        content_coding: bodies of text are sent in this coding where `Accept-Encoding` allows it [U].
        content_coding_forced: and where it does not, too [U].
    """

    clock_offset: float = 0.0

    certificate: Certificate = ""
    egress_proxy: EgressProxy = ""
    unknown_host: bool = False

    application: Application = "active"
    allowed_grants: tuple[Grant, ...] = get_args(Grant)
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

    roles: tuple[Role, ...] = ("ServiceInvoker", "ServiceDeveloper")
    role_refusal: RoleRefusal = 401
    allowlisted: bool = True
    allowlist_refusal: AllowlistRefusal = "403"
    instance_ids: InstanceIds = "uuid"
    refuse_bearers: bool = False
    fault_status: int = 0
    fault_retry_after: str = ""
    fault_location: str = ""
    reply_delay: float = 0.0
    cut_replies: bool = False
    drops: int = 0
    slow_gate: asyncio.Event | None = None
    runtime_origin: str = ""
    design_origin: str = ""
    url_style: UrlStyle = "plain"
    content_coding: ContentCoding = ""
    content_coding_forced: bool = False
