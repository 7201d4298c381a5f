"""Begins the trace of each request, and decides which traces are exported.

The share of the traces is decided at the beginning, and OIC gets it as the `sampled` flag of `traceparent`. A request
that ends with an error is exported all the same, by its record.
"""

import ipaddress
import random
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache

from gateway.observe.record import Record, record_level
from gateway.telemetry.request_trace import FetchTrace, RequestTrace
from gateway.telemetry.trace_context import (
    RANDOM,
    SAMPLED,
    TRACEPARENT,
    TRACESTATE,
    is_in_share,
    read_traceparent,
    sampling_threshold,
)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Trace = RequestTrace | FetchTrace

_LOOPBACK = ipaddress.ip_address("127.0.0.1")
_CACHED_PEERS = 1024
_NOT_ZERO = 1 << 64 | 1  # span ids must not be zero


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
        self._export = export
        self._random_bits = random_bits
        self._is_trusted = lru_cache(maxsize=_CACHED_PEERS)(self._is_in_trusted_network)

    def start(self, known_fields: Mapping[bytes, bytes], peer: str | None, started_at: float) -> RequestTrace:
        """Return the trace of a request: the caller's, if it is valid and its network is trusted, else a new one."""
        bits = self._random_bits(256)
        ids = f"{bits | _NOT_ZERO:064x}"
        flags = RANDOM | SAMPLED if is_in_share(bits >> 128, self._threshold) else RANDOM
        trace = RequestTrace(ids[:32], ids[32:48], ids[48:], flags, started_at)
        if TRACEPARENT in known_fields or TRACESTATE in known_fields:
            trace.replaces_fields = True
            parent = read_traceparent(known_fields.get(TRACEPARENT)) if self._is_trusted(peer) else None
            if parent is not None:
                trace.is_continued, trace.tracestate = True, known_fields.get(TRACESTATE, b"")
                trace.trace_id, trace.parent_id, trace.flags = parent
        return trace

    def finish(self, trace: RequestTrace, record: Record) -> bool:
        """Export the trace of a request that has ended, if it is sampled or ended with an error. Return whether."""
        if not trace.flags & SAMPLED and record_level(record) == "info":
            return False
        trace.record = record
        self._export(trace)
        return True

    def start_fetch(self, credential: str, token_url: str, now: float) -> FetchTrace:
        """Return the trace of a fetch of a token, which is always exported."""
        ids = f"{self._random_bits(192) | 1:048x}"
        return FetchTrace(ids[:32], ids[32:], credential, token_url, now)

    def finish_fetch(self, trace: FetchTrace, now: float) -> None:
        """Export the trace of a fetch that has ended."""
        trace.ended_at = now
        self._export(trace)

    def _is_in_trusted_network(self, peer: str | None) -> bool:
        """Return whether the peer is in a trusted network. One on a unix socket counts as 127.0.0.1."""
        address = _LOOPBACK if not peer else ipaddress.ip_address(peer)
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._trust if network.version == address.version)
