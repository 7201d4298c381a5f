"""Begins the trace of each request, and decides which traces are exported.

The share of the traces is decided at the beginning, and OIC gets it as the `sampled` flag of `traceparent`. A request
that ends with an error is exported all the same, by its record.
"""

import ipaddress
import random
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Protocol

from gateway.observe.record import Record, complete_record, record_level
from gateway.telemetry.request_trace import FetchTrace, RequestTrace
from gateway.telemetry.trace_context import (
    FLAGS_DIGIT,
    KNOWN_FLAGS,
    RANDOM,
    SAMPLED,
    TRACE_ID,
    TRACEPARENT,
    TRACESTATE,
    is_in_share,
    match_traceparent,
    sampling_threshold,
)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Trace = RequestTrace | FetchTrace

_LOOPBACK = ipaddress.ip_address("127.0.0.1")
_CACHED_PEERS = 1024
_NOT_ZERO = 1 << 64
"""In a trace id: its first half is the id of the first span, which must not be zero."""


class TracedHead(Protocol):
    """What the tracer reads of a request."""

    @property
    def known_fields(self) -> Mapping[bytes, bytes]:
        """Return the fields that the gateway reads, by lower-case name."""

    @property
    def is_http11(self) -> bool:
        """Return whether the caller uses HTTP/1.1."""


class Tracer:
    """Traces with these settings. `share` of the traces that begin here are sampled; those of callers in the networks
    `trust` continue. `export` takes each trace that is to be exported and must not block.
    """

    def __init__(
        self,
        *,
        share: float,
        trust: Iterable[Network],
        export: Callable[[Trace], None],
        random_bits: Callable[[int], int] = random.getrandbits,
    ) -> None:
        self._threshold = sampling_threshold(share)
        self._trust = tuple(trust)
        self.export = export
        self._random_bits = random_bits
        self._is_trusted = lru_cache(maxsize=_CACHED_PEERS)(self._is_in_trusted_network)

    def start(self, head: TracedHead, peer: str | None, scheme: str, started_at: float) -> RequestTrace:
        """Return the trace of a request: the caller's, if it is valid and its network is trusted, else a new one."""
        known = head.known_fields
        value, state = known.get(TRACEPARENT), known.get(TRACESTATE)
        if value is not None and self._is_trusted(peer) and match_traceparent(value):
            return RequestTrace(
                value[TRACE_ID].decode(),
                (self._random_bits(64) or 1).to_bytes(8, "big").hex(),
                KNOWN_FLAGS[value[FLAGS_DIGIT]],
                started_at,
                scheme,
                head.is_http11,
                known.get(b"host"),
                value,
                state or b"",
                True,  # noqa: FBT003 - keywords cost time
            )
        bits = self._random_bits(128) | _NOT_ZERO
        trace_id = bits.to_bytes(16, "big").hex()
        flags = RANDOM | SAMPLED if not self._threshold or is_in_share(bits, self._threshold) else RANDOM
        trace = RequestTrace(trace_id, trace_id[:16], flags, started_at, scheme, head.is_http11, known.get(b"host"))
        if value is not None or state is not None:
            trace.replaces_fields = True
        return trace

    @staticmethod
    def ended_with_error(record: Record) -> bool:
        """Return whether the trace of a request is exported even if it is not sampled."""
        return record_level(record) != "info"

    def finish(self, trace: RequestTrace, record: Record) -> None:
        """Export the trace of a request that has ended, with its complete record."""
        complete_record(record)
        trace.record = record
        self.export(trace)

    def start_fetch(self, credential: str, token_url: str, now: float) -> FetchTrace:
        """Return the trace of a fetch of a token, which is always exported."""
        trace_id = f"{self._random_bits(128) | _NOT_ZERO:032x}"
        return FetchTrace(trace_id, trace_id[:16], credential, token_url, now)

    def finish_fetch(self, trace: FetchTrace, now: float) -> None:
        """Export the trace of a fetch that has ended."""
        trace.ended_at = now
        self.export(trace)

    def _is_in_trusted_network(self, peer: str | None) -> bool:
        """Return whether the peer is in a trusted network. One on a unix socket counts as 127.0.0.1."""
        address = _LOOPBACK if not peer else ipaddress.ip_address(peer)
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._trust if network.version == address.version)
