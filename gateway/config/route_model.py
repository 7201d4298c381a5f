"""The shape of a route: path, upstream, timeouts, changes of requests and responses.

The changes are compiled elsewhere: by `proxy.request_edits` for requests, `proxy.rewriting` for responses,
`oic.instance_id` for instance ids.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gateway.config.strict_model import FileScopedModel, ProxySettings, StrictModel, TlsSettings, exactly_one
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


class TimeoutSettings(StrictModel):
    """Time limits."""

    connect: Duration | None = None
    """Connecting to the upstream: name, TCP, TLS, or a free connection of the pool. Default 5s."""
    response: Duration | None = None
    """From the end of the request to the first byte of the response. Default 330s: OIC may run for five minutes."""
    idle: Duration | None = None
    """Longest pause within a body, in both directions. Default 60s."""


BodyKind = Literal["json", "xml", "yaml", "html"]
HalfClose = Literal["answer", "abort"]
IdLocationKind = Literal["header", "json", "xml"]


class HeaderSettings(StrictModel):
    """Changes of request fields, in addition to those that the gateway always makes."""

    set: dict[FieldName, FieldValue] = Field(default_factory=dict)
    """Fields to set; they replace the caller's fields of the same name. `${request_id}`, `${route}`, `${client}`,
    `${method}`, `${path}`, `${host}` and `${caller}` (the name of the caller, empty on a route without `callers`) are
    replaced by the values of the request."""
    remove: list[FieldName] = Field(default_factory=list)
    """Fields of the caller to remove."""

    @model_validator(mode="after")
    def _are_distinct(self) -> Self:
        if both := {name.lower() for name in self.set} & {name.lower() for name in self.remove}:
            raise ValueError(f"sets and removes {', '.join(sorted(both))}; `set` replaces the caller's fields anyway")
        if len({name.lower() for name in self.set}) < len(self.set):
            raise ValueError("sets one field twice, in different letter case; write it once")
        return self


class QuerySettings(StrictModel):
    """Changes of the query of a request."""

    set: Annotated[dict[QueryName, Parameter], Field(min_length=1)]
    """Parameters to set; they replace the caller's parameters of the same name. Values as in `headers.set`; the gateway
    percent-encodes them."""


class InstanceIdSettings(StrictModel):
    """One location of the instance id; exactly one of these keys."""

    model_config = exactly_one("header", "json", "xml")

    header: HeaderName | None = None
    """Field of the response."""
    json_: Annotated[Pointer | None, Field(alias="json")] = None
    """JSON pointer (RFC 6901) into a JSON body, like /oicInstanceId."""
    xml: Tag | None = None
    """Local name of an element of an XML body."""

    @model_validator(mode="after")
    def _has_one_key(self) -> Self:
        if sum(value is not None for _, value in self) != 1:
            raise ValueError("needs exactly one of `header`, `json` and `xml`; write {json: /oicInstanceId}")
        return self

    @property
    def place(self) -> tuple[IdLocationKind, str]:
        """The kind of location, and the name there."""
        places: dict[IdLocationKind, str | None] = {"header": self.header, "json": self.json_, "xml": self.xml}
        return next((kind, name) for kind, name in places.items() if name is not None)


class RouteSettings(StrictModel):
    """Settings of a route; `defaults` may have them for all routes."""

    credential: str | None = None
    """Name of the credential whose token is added to requests."""
    callers: Annotated[list[Name], Field(min_length=1)] | None = None
    """Names of the callers that may use the route; every request must prove that it comes from one of them. Omitted:
    all addresses of `allow`, without a proof."""
    methods: Annotated[list[Literal[METHODS]], Field(min_length=1)] | None = None  # type: ignore[valid-type] # a tuple of names is one list of words
    """Allowed methods; omitted: all. GET includes HEAD. A method that a caller names in
    `X-HTTP-Method-Override`, `X-HTTP-Method`, `X-Method-Override` or as `_method` in the query must be allowed, too."""
    timeout: TimeoutSettings | None = None
    """Time limits."""
    replay: Literal["any", "safe", "never"] | None = None
    """Methods that may be retried: any (default), safe ones only, never."""
    idempotent: bool | None = None
    """True: every method of the route may be retried after 429, 502, 503, 504, as if it were safe. Default false."""
    replay_limit: Size | None = None
    """Largest body that is read completely before a connection is used, and that can be sent a second time; 0B: bodies
    stream from their first byte. Default 256KiB."""
    origins: list[Origin] | None = None
    """Origins of web pages that may call the route, or `*`; the gateway answers their preflight requests (CORS).
    Omitted: none."""
    half_close: HalfClose | None = None
    """What a caller gets that closes its sending side after its request: `answer` (default), the response; `abort`,
    nothing: it counts as gone, and the request is given up."""
    keep_cookies: bool | None = None
    """True: callers keep the cookies of OIC, and send them back, for this route alone. Default false."""
    rewrite: list[BodyKind] | None = None
    """Kinds of bodies in which URLs of OIC are rewritten to URLs of the gateway: `json`, `xml`, `yaml`, `html`; an
    empty list: none. Default [json, xml, yaml]."""
    headers: HeaderSettings | None = None
    """Changes of request fields."""
    query: QuerySettings | None = None
    """Changes of query parameters."""
    instance_id: Annotated[list[InstanceIdSettings], Field(min_length=1)] | None = None
    """Locations of the instance id in a response; the first one with a value counts. Omitted: the field
    `x-oracle-ics-instance-id`, then the usual names in a body."""
    design: SiteUrl | None = None
    """Design host, such as https://design.integration.REGION.ocp.oraclecloud.com; a 307 of the developer API to it is
    followed. Omitted: that of the region in the name of the upstream."""
    tls: TlsSettings | None = None
    """Verification of the upstream's certificate."""
    proxy: ProxySettings | None = None
    """Egress proxy to the upstream; omitted: that of HTTPS_PROXY, with the exceptions of NO_PROXY."""


class RouteEntry(RouteSettings, FileScopedModel):
    """A path prefix and its upstream."""

    name: Name
    """Unique name; used in logs, metrics and messages."""
    path: Annotated[str, Field(pattern=PATH_PATTERN)]
    """Path prefix, in whole segments; the longest matching prefix wins."""
    upstream: BaseUrl
    """URL that replaces the prefix."""
    insecure: bool = False
    """True: allow http:// URLs of other machines; tokens and bodies are sent unencrypted."""
