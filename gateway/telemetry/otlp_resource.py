"""The resource and the attributes of OTLP messages. Imported only with `telemetry`: it loads protobuf."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TypeVar

from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from gateway import __version__
from gateway.observe.json_line import escape_surrogates

M = TypeVar("M", bound=Message)
AttributeValue = str | int | None
UNIQUE = frozenset(
    ("oic.instance_id", "oic.opc_request_id", "oic_gateway.request_id", "url.path", "url.full", "client.address")
)
"""Attributes whose values differ from call to call; the others are encoded once."""
SCOPE = InstrumentationScope(name="oic-gateway", version=__version__)
SCHEMA_URL = "https://opentelemetry.io/schemas/1.37.0"
"""The version of the semantic conventions whose names are used."""


def make_resource(attributes: Iterable[tuple[str, str]], *, instance_id: str, process_id: int) -> Resource:
    """Return the resource of this process; `attributes` replace those that the gateway finds out itself."""
    own: dict[str, AttributeValue] = {
        "service.version": __version__,
        "service.instance.id": instance_id,
        "process.pid": process_id,
    }
    return Resource(attributes=make_attributes(own | dict(attributes)))


def make_attributes(values: Mapping[str, AttributeValue]) -> list[KeyValue]:
    """Return the attributes that have a value."""
    return [_make_attribute(key, value) for key, value in values.items() if value is not None]


def add_attributes(span: Span, values: Mapping[str, AttributeValue]) -> None:
    """Add the attributes that have a value. Those that many spans share are encoded once, several times faster."""
    span.MergeFromString(
        _encode_shared(tuple((key, value) for key, value in values.items() if value is not None and key not in UNIQUE))
    )
    for key in UNIQUE.intersection(values):
        value = values[key]
        if value is not None:
            span.attributes.add(key=key).value.string_value = valid_text(str(value))


def decode_message(kind: type[M], body: bytes) -> M:
    """Return a message. Raise ValueError if it is malformed."""
    try:
        message: M = kind.FromString(body)
    except DecodeError as cause:
        raise ValueError("is not a message of OTLP") from cause
    return message


def valid_text(text: str) -> str:
    """Return a text as valid UTF-8: protobuf accepts no lone surrogates."""
    return text if text.isascii() else escape_surrogates(text)


def _make_attribute(key: str, value: str | int) -> KeyValue:
    if isinstance(value, int):
        return KeyValue(key=key, value=AnyValue(int_value=value))
    return KeyValue(key=key, value=AnyValue(string_value=valid_text(value)))


@lru_cache(maxsize=4096)
def _encode_shared(pairs: tuple[tuple[str, str | int], ...]) -> bytes:
    """Return a part of a span with these attributes."""
    body: bytes = Span(attributes=[_make_attribute(key, value) for key, value in pairs]).SerializeToString()
    return body
