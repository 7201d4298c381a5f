"""The shape of a caller: the proofs by which the gateway recognizes it, and its limits."""

import re
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from gateway.config.strict_model import FileScopedModel, OneOrMoreSecrets, StrictModel, exactly_one
from gateway.config.values import Network, QuotaSize, Rate, Text

FINGERPRINT_PATTERN = r"^([0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}$"
PROOFS = ("basic", "api_key", "wsse", "certificate", "unix_user", "networks")
"""The keys of a caller that are proofs."""


def _user_name(value: str) -> str:
    if ":" in value:  # RFC 7617 §2
        raise ValueError("has a colon, which Basic authentication cannot carry; use another user")
    if re.search(r"[\x00-\x1f\x7f]", value):
        raise ValueError("has a control character; remove it")
    return value


def _host_name(value: str) -> str:
    return value.lower().rstrip(".")


def _fingerprint(value: str) -> str:
    return value.replace(":", "").lower()


def _unix_user(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else value


UnixUser = Annotated[Text, BeforeValidator(_unix_user, json_schema_input_type=str | int)]


class BasicProof(StrictModel):
    """User and password of HTTP Basic authentication."""

    username: Annotated[Text, AfterValidator(_user_name)]
    """User that the caller sends."""
    password: OneOrMoreSecrets
    """Password, by reference; each one of a list is accepted, so that it can be rotated without a gap."""


class WsseProof(StrictModel):
    """User and password of a WS-Security UsernameToken in the SOAP header, as text or digest."""

    username: Text
    """User that the caller sends."""
    password: OneOrMoreSecrets
    """Password, by reference; each one of a list is accepted, so that it can be rotated without a gap."""


class CertificateProof(StrictModel):
    """A name in the caller's client certificate, which the listener has verified; exactly one of these keys."""

    model_config = exactly_one("dns", "uri", "cn", "sha256")

    dns: Annotated[Text, AfterValidator(_host_name)] | None = None
    """DNS name among the alternative names of the certificate."""
    uri: Text | None = None
    """URI among the alternative names of the certificate."""
    cn: Text | None = None
    """Common name of the subject."""
    sha256: Annotated[str, Field(pattern=FINGERPRINT_PATTERN), AfterValidator(_fingerprint)] | None = None
    """SHA-256 fingerprint of the certificate, in hex, with or without colons."""

    @model_validator(mode="after")
    def _has_one_key(self) -> Self:
        if sum(value is not None for _, value in self) != 1:
            raise ValueError("needs exactly one of `dns`, `uri`, `cn` and `sha256`; write {dns: plant.corp}")
        return self


class QuotaSettings(StrictModel):
    """Largest amounts in each hour or day (UTC). A call above one of them gets 429 `too-many-requests`."""

    calls: QuotaSize | None = None
    """Calls, like 5000/h or 20000/d."""
    messages: QuotaSize | None = None
    """Messages that OIC bills, at least, like 8000/h or 50000/d. They are known after a call: one that begins below the
    quota is never cut off."""

    @model_validator(mode="after")
    def _has_quota(self) -> Self:
        if self.calls is None and self.messages is None:
            raise ValueError("is empty; write {calls: 5000/h} or {messages: 8000/h}, or remove it")
        return self


class CallerSettings(FileScopedModel):
    """A caller, and what proves that a request is its own: any one of these proofs."""

    basic: BasicProof | None = None
    """User and password of HTTP Basic authentication."""
    api_key: OneOrMoreSecrets | None = None
    """Key in the field `X-Api-Key` or `Authorization: Bearer`, by reference; each one of a list is accepted, so that it
    can be rotated without a gap. `oic-gateway caller key NAME` makes one."""
    wsse: WsseProof | None = None
    """WS-Security UsernameToken in the SOAP header, as text or digest."""
    certificate: CertificateProof | None = None
    """Name in the client certificate of a TLS listener."""
    unix_user: UnixUser | None = None
    """User of the calling process on a unix socket, by name or number."""
    networks: Annotated[list[Network], Field(min_length=1)] | None = None
    """Networks (CIDR) of the caller's address. They prove only where the request comes from."""
    rate: Rate | None = None
    """Calls in each second, minute, hour or day, evenly spread, like 10/s or 600/m: of all workers together, and with
    `state.redis` of all replicas. A call above it gets 429 `too-many-requests`. Omitted: no limit."""
    burst: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Calls that may come at once after a pause, with `rate`. Default: the calls of one second, at least 1."""
    quota: QuotaSettings | None = None
    """Largest numbers of calls and messages in each hour or day. Omitted: no limit."""
    share: Annotated[int, Field(ge=1, le=100)] = 1
    """Share of the places of a service (`services`) while calls wait: a caller with 2 is served twice as often as one
    with 1."""

    @model_validator(mode="after")
    def _has_proof(self) -> Self:
        if all(getattr(self, key) is None for key in PROOFS):
            raise ValueError(f"has no proof; add one of {', '.join(PROOFS)}")
        if self.burst is not None and self.rate is None:
            raise ValueError("has `burst` but no `rate`; add `rate`, or remove `burst`")
        return self
