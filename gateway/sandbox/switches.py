"""Switches: what the sandbox does differently from a healthy identity domain and OIC instance.

Change any of them while the sandbox runs; the next request sees it.
"""

import asyncio
from dataclasses import dataclass
from typing import Literal

from gateway.sandbox.clients import DEFAULT_USER

ExpiresIn = Literal["int", "string", "float", "missing"]
TokenFault = Literal["", "empty", "html", "truncated", "no-token", "400", "429", "500", "503", "outage"]
InstanceIds = Literal["uuid", "decimal", "none"]


@dataclass(slots=True)
class Switches:
    """All switches; the defaults imitate what is confirmed of the real thing.

    Attributes (identity domain):
        token_lifetime: seconds a token lives, before `urn:opc:resource:expiry=N` shortens it.
        expires_in: how the reply writes the lifetime.
        audience_as_list: the claim `aud` is a list even for one audience.
        token_fault: what the token endpoint answers in place of a token; "outage" hangs up.
        token_retry_after: value of `Retry-After` on 429 and 503 of the token endpoint; empty: left out.
        token_gate: the token endpoint answers once this is set.
        token_delay: seconds the token endpoint takes.
        token_budget_per_second, token_budget_per_minute: token requests allowed in the window; more: 429.
        jwks_open: the signing key is published (a real domain answers 401 unless opened).
        assertion_algorithms: how assertions may be signed (a real domain takes RS256 only).
        signed_in: the user who signs in at the authorization endpoint; empty: nobody does, `access_denied`.
        rotate_refresh_tokens: each use of a refresh token gives a new one; used twice, its whole sign-in ends.
        refresh_grace: seconds for which a used refresh token is taken again, since its answer may have been lost.
        refresh_lifetime: seconds a refresh token lives.

    Attributes (OIC instance):
        instance_ids: `uuid` as OIC 3, `decimal` as Gen 2, `none`: no `x-oracle-ics-instance-id` at all.
        refuse_bearers: every bearer is refused with 401, as in an outage of token validation.
        fault_status: this status without an instance id for every trigger; 0: off.
        fault_retry_after: value of `Retry-After` beside `fault_status`; empty: left out.
        drops: this many of the next OIC requests are hung up on without an answer.
        slow_gate: SLOW answers once this is set, whatever its seconds.
        design_origin: origin of the design host; empty: the same listener under `localhost`.
    """

    token_lifetime: int = 3600
    expires_in: ExpiresIn = "int"
    audience_as_list: bool = False
    token_fault: TokenFault = ""
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

    instance_ids: InstanceIds = "uuid"
    refuse_bearers: bool = False
    fault_status: int = 0
    fault_retry_after: str = ""
    drops: int = 0
    slow_gate: asyncio.Event | None = None
    design_origin: str = ""
