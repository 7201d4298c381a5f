"""An OpenTelemetry collector on a real socket: it decodes exports with the official messages, and plays a script."""

import asyncio
import gzip
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.fakes.identity import Answer, answer
from tests.fakes.waiting import BACKLOG, TIME_LIMIT

KINDS = {
    Span.SPAN_KIND_SERVER: "server",
    Span.SPAN_KIND_CLIENT: "client",
    Span.SPAN_KIND_INTERNAL: "internal",
}


def values(attributes: Any) -> dict[str, Any]:
    """Attributes as plain values."""
    return {each.key: _value(each) for each in attributes}


def _value(pair: KeyValue) -> Any:
    return getattr(pair.value, pair.value.WhichOneof("value") or "string_value")


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """A span as it arrived, with the attributes of its resource."""

    span: Span
    resource: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.span.name)

    @property
    def kind(self) -> str:
        return str(KINDS[self.span.kind])

    @property
    def trace_id(self) -> str:
        return bytes(self.span.trace_id).hex()

    @property
    def span_id(self) -> str:
        return bytes(self.span.span_id).hex()

    @property
    def parent_id(self) -> str:
        return bytes(self.span.parent_span_id).hex()

    @property
    def attributes(self) -> dict[str, Any]:
        return values(self.span.attributes)

    @property
    def has_failed(self) -> bool:
        return bool(self.span.status.code == 2)


@dataclass(frozen=True, slots=True)
class Export:
    """A request as it arrived."""

    path: str
    headers: dict[str, str]
    body: bytes
    raw: bytes

    @property
    def spans(self) -> Iterator[ReceivedSpan]:
        if not self.path.endswith("/traces"):
            return
        for group in ExportTraceServiceRequest.FromString(self.body).resource_spans:
            for scope in group.scope_spans:
                for span in scope.spans:
                    yield ReceivedSpan(span, values(group.resource.attributes))

    @property
    def metrics(self) -> Iterator[tuple[Metric, dict[str, Any]]]:
        if not self.path.endswith("/metrics"):
            return
        for group in ExportMetricsServiceRequest.FromString(self.body).resource_metrics:
            for scope in group.scope_metrics:
                for metric in scope.metrics:
                    yield metric, values(group.resource.attributes)


TAKEN = answer(200, b"", content_type="application/x-protobuf")


class Collector:
    """The collector: plays `script` answer by answer, then takes everything."""

    def __init__(self, *script: Answer, tls: ssl.SSLContext | None = None) -> None:
        self.script = list(script)
        self._tls = tls
        self.exports: list[Export] = []
        self.url = ""
        self._change = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls, backlog=BACKLOG)
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def spans(self) -> list[ReceivedSpan]:
        """The spans of all exports so far."""
        return [span for export in self.exports for span in export.spans]

    def metric(self, name: str) -> list[Metric]:
        """This metric in each export that has it, in the order of arrival."""
        return [metric for export in self.exports for metric, _ in export.metrics if metric.name == name]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until what has arrived makes this true."""
        async with asyncio.timeout(TIME_LIMIT), self._change:
            await self._change.wait_for(condition)

    async def wait_for_spans(self, count: int = 1) -> list[ReceivedSpan]:
        """Wait for so many spans."""
        await self.until(lambda: len(self.spans) >= count)
        return self.spans

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve_request(reader, writer)
            writer.close()
            await writer.wait_closed()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            self._tasks.discard(task)

    async def _serve_request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, *fields = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (item.partition(":") for item in fields)}
        raw = await reader.readexactly(int(headers.get("content-length", 0)))
        body = gzip.decompress(raw) if headers.get("content-encoding") == "gzip" else raw
        played = self.script.pop(0) if self.script else TAKEN
        async with self._change:
            self.exports.append(Export(line.split(" ")[1], headers, body, raw))
            self._change.notify_all()
        await played.play(writer)
