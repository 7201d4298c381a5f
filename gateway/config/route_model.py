"""The shape of a route: where it leads, how long each step may take, what is changed on the way and back.

What is changed is named here and compiled elsewhere: `proxy.outgoing` for requests, `proxy.rewriting` for replies,
`oic.instances` for the ids.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gateway.config.strict_model import Proxy, StrictModel, Tls, exactly_one
from gateway.config.values import (
    PATH_PATTERN,
    BaseUrl,
    Duration,
    FieldName,
    FieldValue,
    HeaderName,
    Name,
    Origin,
    Parameter,
    Pointer,
    QueryName,
    SiteUrl,
    Size,
    Tag,
)

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class Timeout(StrictModel):
    """How long each step may take."""

    connect: Duration | None = None
    """To reach the upstream: name, TCP, TLS, and a free connection of the pool. Default 5s."""
    response: Duration | None = None
    """From the whole request sent to the first byte of the reply. Default 330s: OIC may run for five minutes."""
    idle: Duration | None = None
    """Longest silence within a body, either way. Default 60s."""


BodyKind = Literal["json", "xml", "yaml", "html"]
IdLocation = Literal["header", "json", "xml"]


class HeaderSettings(StrictModel):
    """Changes to the fields of a request, after those that the gateway makes anyway."""

    set: dict[FieldName, FieldValue] = Field(default_factory=dict)
    """Fields to set, in place of the caller's of the same name; `${request_id}`, `${route}`, `${client}`, `${method}`,
    `${path}` and `${host}` stand for what is known of the request."""
    remove: list[FieldName] = Field(default_factory=list)
    """Fields of the caller to leave out."""

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if both := {name.lower() for name in self.set} & {name.lower() for name in self.remove}:
            raise ValueError(f"sets and removes {', '.join(sorted(both))}; what is set takes the caller's place anyway")
        if len({name.lower() for name in self.set}) < len(self.set):
            raise ValueError("sets one field twice, in different letter case; write it once")
        return self


class QuerySettings(StrictModel):
    """Changes to the query of a request."""

    set: Annotated[dict[QueryName, Parameter], Field(min_length=1)]
    """Parameters to set, in place of the caller's of the same name; values as in `headers.set`, percent-encoded by the
    gateway."""


class InstanceIdRule(StrictModel):
    """One place where the instance id may stand; exactly one of these."""

    model_config = exactly_one("header", "json", "xml")

    header: HeaderName | None = None
    """Field of the reply."""
    json_: Annotated[Pointer | None, Field(alias="json")] = None
    """JSON pointer (RFC 6901) into a JSON body, like /oicInstanceId."""
    xml: Tag | None = None
    """Local name of an element of an XML body."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(value is not None for _, value in self) != 1:
            raise ValueError("needs exactly one of `header`, `json` and `xml`; write {json: /oicInstanceId}")
        return self

    @property
    def place(self) -> tuple[IdLocation, str]:
        """The kind of place, and what is looked for there."""
        places: dict[IdLocation, str | None] = {"header": self.header, "json": self.json_, "xml": self.xml}
        return next((kind, name) for kind, name in places.items() if name is not None)


class RouteSettings(StrictModel):
    """What a route may say and `defaults` may say for all routes."""

    credential: str | None = None
    """Name of the credential whose token is injected."""
    methods: Annotated[list[Literal[METHODS]], Field(min_length=1)] | None = None  # type: ignore[valid-type] # a tuple of names is one list of words
    """Methods that the route takes; omitted: all. GET brings HEAD. A method that a caller names in
    `X-HTTP-Method-Override`, `X-HTTP-Method`, `X-Method-Override` or as `_method` in the query must be one too."""
    timeout: Timeout | None = None
    """How long each step may take."""
    replay: Literal["any", "safe", "never"] | None = None
    """Which methods may be sent a second time: any (default), safe ones only, never."""
    idempotent: bool | None = None
    """True: every method of the route may be repeated after 429, 502, 503, 504 as if it were safe. Default false."""
    replay_limit: Size | None = None
    """Up to this size a body is complete before a connection is taken for it, and is kept so that it can be sent a
    second time; 0B: it streams from its first byte. Default 256KiB."""
    origins: list[Origin] | None = None
    """Browser origins that may call the route, or `*`; omitted: none."""
    keep_cookies: bool | None = None
    """True: `Set-Cookie` of the upstream is passed to the caller. Default false."""
    rewrite: list[BodyKind] | None = None
    """Kinds of bodies in which URLs of OIC are given in the gateway's names: `json`, `xml`, `yaml`, `html`; an empty
    list for none. Default [json, xml, yaml]."""
    headers: HeaderSettings | None = None
    """Fields of the request that are set or left out on the way to OIC."""
    query: QuerySettings | None = None
    """Parameters of the request that are set on the way to OIC."""
    instance_id: Annotated[list[InstanceIdRule], Field(min_length=1)] | None = None
    """Where the OIC instance id of a run is found in a reply: the first of these that says one. Omitted: the header
    `x-oracle-ics-instance-id`, then what flows are often made to say of it in a body."""
    design: SiteUrl | None = None
    """The design host, to which a 307 of the developer API is followed, like https://design.integration.REGION.ocp.oraclecloud.com;
    omitted: that of the region, where the upstream's name tells it."""
    tls: Tls | None = None
    """How the upstream's certificate is checked."""
    proxy: Proxy | None = None
    """Egress proxy to the upstream; omitted: HTTPS_PROXY and NO_PROXY decide."""


class RouteEntry(RouteSettings):
    """A path prefix and where it leads."""

    name: Name
    """Unique name; used in logs, metrics and messages."""
    path: Annotated[str, Field(pattern=PATH_PATTERN)]
    """Path prefix; the longest wins, on segment borders."""
    upstream: BaseUrl
    """URL that takes the prefix's place."""
    insecure: bool = False
    """True: `upstream` and `design` may be http:// URLs of another machine; tokens and bodies go there unencrypted."""
