"""Relays one upstream response to the caller: instance id, response fields, rewritten body.

A body that may contain OIC URLs is rewritten while it streams. A short body with a known length is read whole first:
if nothing in it is rewritten, its Content-Length and digests stay, else it gets its new length. For streamed bodies,
header fields that depend on the whole body are left out.
"""

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain

import msgspec

from gateway.content.charsets import UnreadableText
from gateway.content.content_coding import can_be_in_coding, decode_beginning
from gateway.errors import UpstreamBroken
from gateway.http.fields import CRLF, remove_fields
from gateway.http.response_parser import ResponseHead, find_status_in_broken_head
from gateway.http.upstream_connection import UpstreamConnection
from gateway.oic.instance_id import (
    BODY_PART,
    INSTANCE_ID,
    InstanceIdScanner,
    find_ids_in_broken_head,
    media_kind,
    read_ids,
)
from gateway.proxy import retry
from gateway.proxy.direct_sender import DirectSender
from gateway.proxy.exchange import Exchange
from gateway.proxy.response_fields import edit_response_head, request_context
from gateway.proxy.rewriting import RewritePlan, Rewriter, UrlMap, has_no_urls, make_plan

log = logging.getLogger("gateway.forward")

BUFFERED_LIMIT = 64 * 1024
"""Bytes of a body that is read whole before its head is sent."""
MAX_DECODED = 1024 * 1024
"""Decoded bytes of a compressed body that is read whole; a larger body is streamed."""
YIELD_AFTER = 2 * 1024
"""Decoded bytes of a body after which other tasks run; they run after every further piece."""
NEVER_REWRITTEN = frozenset({206, 304})
"""The offsets of a partial body count OIC's bytes (RFC 9110 §14.4); 304 has no body."""


class ResponseRelay(msgspec.Struct):
    """One response on its way to the caller. Call `record_ids`, then maybe `scan_body_for_id`, then
    `deliver_at_once`, and `deliver` if that returns False.
    """

    exchange: Exchange
    connection: UpstreamConnection
    response: ResponseHead
    first_pieces: Sequence[bytes] = ()
    """Pieces of the body that are read already."""
    extra_lines: Sequence[bytes] = ()
    """Field lines to add to the head."""
    plan: RewritePlan | None = None
    """How OIC URLs in the body are rewritten; None for a body that cannot contain any. With a plan the ETag is weak,
    whether or not anything is rewritten, so that HEAD and GET have the same.
    """
    may_have_urls: bool = False
    """A search of the whole body has found something that may be rewritten."""

    def __repr__(self) -> str:
        """Return a text without fields and body."""
        return f"<ResponseRelay {self.exchange} {self.response}>"

    def record_ids(self) -> bool:
        """Record the status, and the ids in OIC's own header fields. Return whether the route's rules accept that
        instance id.
        """
        exchange, response = self.exchange, self.response
        record = exchange.record
        record.upstream_status = response.status
        record.instance_id, record.opc_request_id = read_ids(response.known_fields)
        if exchange.trace is not None:
            exchange.trace.status = response.status
        return record.instance_id is not None and exchange.route.instance_id_finder.header_first

    async def scan_body_for_id(self) -> None:
        """Search head and body for the instance id by the route's rules. The head is held back until the first bytes of
        the body have come, which usually follow it at once.
        """
        exchange, response = self.exchange, self.response
        record, finder = exchange.record, exchange.route.instance_id_finder
        known, lines = response.known_fields, response.forwarded_lines
        kind = None if response.has_no_body else media_kind(known.get(b"content-type"))
        record.instance_id = finder.find_in_head(known, lines, kind)
        if record.instance_id is not None or not finder.can_find_in_body(kind):
            return
        # An instance id forbids a retry: before one, read all of the body that may contain it.
        self.first_pieces = await self._read_at_least(BODY_PART if response.status in retry.RETRYABLE_STATUSES else 1)
        try:
            beginning = decode_beginning(known.get(b"content-encoding"), b"".join(self.first_pieces), BODY_PART)
            record.instance_id = finder.find(known, lines, kind, beginning)
        except Exception:  # a flow may have run: the response is delivered, and the request is not sent again
            log.exception("cannot search a body for the instance id", extra={"event": "defect"})
            exchange.retry_state.is_final = True
            return
        if record.instance_id is None:
            if not self.connection.is_complete:
                exchange.id_scanner = InstanceIdScanner(finder, known, lines, kind=kind)
        elif not known.get(INSTANCE_ID):
            response.forwarded_head = CRLF.join([response.status_line, *remove_fields(frozenset({INSTANCE_ID}), lines)])
            response.is_plain = False
            self.extra_lines = [b"%b: %b" % (INSTANCE_ID, record.instance_id.encode("ascii"))]

    def deliver_at_once(self) -> bool:
        """Send the response if all of it has come and nothing in it is rewritten, as in most cases. Return False if
        `deliver` must relay it. Raise CallerGone.
        """
        exchange, response = self.exchange, self.response
        route = exchange.route
        length = response.length
        status = exchange.record.status = response.status
        if status >= 300 or route.health.has_problem:
            self._defer_health_update()
        plan = None
        if route.rewrite and status not in NEVER_REWRITTEN:
            known = response.known_fields
            self.plan = plan = make_plan(known.get(b"content-type"), known.get(b"content-encoding"), route.rewrite)
        pieces = self.connection.read_whole()
        if pieces is None:
            return False
        if self.first_pieces:
            pieces = [*self.first_pieces, *pieces]
        if plan is None:
            self._send_head(pieces, length, is_whole=True)
        elif response.has_no_body:
            self._send_head(pieces, None, modified=True, decoded=bool(plan.coding))
        elif has_no_urls(plan, pieces, exchange.route_table.url_maps[route.file_scope], route.upstream.url):
            is_streamed = length is None or length > BUFFERED_LIMIT
            self._send_head(pieces, length, modified=is_streamed, is_whole=True)
        else:
            self.first_pieces, self.may_have_urls = pieces, True
            return False
        return True

    async def deliver(self) -> None:
        """Send head and body to the caller as they come. Raise UpstreamBroken, UpstreamTimeout, CallerGone."""
        length = self.response.length
        if self.plan is None:
            await self._relay_unchanged(self._read_available())
        else:
            await self._relay_rewritten(self.plan, is_short=length is not None and length <= BUFFERED_LIMIT)
        self.exchange.response.end_body()

    def _defer_health_update(self) -> None:
        """Have the health of the route updated, once the response is out."""
        exchange, response = self.exchange, self.response
        exchange.health_update = partial(
            exchange.route.health.record_response,
            response.status,
            has_instance_id=exchange.record.instance_id is not None,
            at=time.time(),
            target=exchange.request_target,
            lines=(*response.forwarded_lines, *(line for _, line in response.deferred)),
        )

    # The body -------------------------------------------------------------------------------------------------------

    async def _relay_unchanged(self, pieces: list[bytes]) -> None:
        self._send_head(pieces, self.response.length)
        connection, idle = self.connection, self.exchange.route.idle_timeout
        if connection.is_complete:  # and `pieces` are all of it
            return
        sender = DirectSender(self.exchange)
        while more := await connection.read_body(idle, sender):
            self._send(more)
            if not connection.is_complete:  # after its end the upstream need not wait for a slow caller
                await self.exchange.response.drain(idle)

    async def _relay_rewritten(self, plan: RewritePlan, *, is_short: bool) -> None:
        connection, upstream = self.connection, self.exchange.route.upstream
        pieces = await self._read_at_least(self.response.length or 0 if is_short else bool(plan.coding))
        if plan.coding and not can_be_in_coding(plan.coding, b"".join(pieces[:2])):
            self.plan = None
            await self._relay_unchanged(pieces)
        elif not connection.is_complete:
            await self._stream(plan, pieces)
        elif not self.may_have_urls and has_no_urls(plan, pieces, self._url_map(), upstream.url):
            self._send_head(pieces, self.response.length, modified=not is_short)
        elif is_short or sum(map(len, pieces)) <= BUFFERED_LIMIT:
            await self._send_buffered(plan, pieces, is_short=is_short)
        else:
            await self._stream(plan, pieces)

    async def _send_buffered(self, plan: RewritePlan, pieces: list[bytes], *, is_short: bool) -> None:
        """Rewrite and send a whole body. If it does not have the coding that its head names, it passes unchanged."""
        rewriter = self._make_rewriter(plan)
        parts = _rewrite_all(rewriter, pieces)
        whole: list[bytes] = []
        size = 0
        try:
            while size <= MAX_DECODED and (part := next(parts, None)) is not None:
                added = sum(map(len, part))
                size += added
                if size > YIELD_AFTER or not added:
                    await asyncio.sleep(0)
                whole += part
            rest = next(parts, None)
        except UnreadableText:
            self.plan = None
            await self._relay_unchanged(pieces)
            return
        decoded, changed = bool(plan.coding), bool(plan.coding) or rewriter.changed
        length = self.response.length
        if rest is not None:
            await self._send_parts(chain([whole, rest], parts), decoded=decoded)
            return
        if length is not None and changed:
            length = size
        self._send_head(whole, length, modified=changed or not is_short, decoded=decoded)

    async def _stream(self, plan: RewritePlan, pieces: list[bytes]) -> None:
        rewriter = self._make_rewriter(plan)
        sender = DirectSender(self.exchange, rewriter)
        idle, decoded = self.exchange.route.idle_timeout, bool(plan.coding)
        while pieces or (pieces := await self.connection.read_body(idle, sender)):
            for number, piece in enumerate(pieces):
                if number:
                    await asyncio.sleep(0)
                if not sender.try_send(piece):
                    await self._send_parts(rewriter.feed([piece]), decoded=decoded)
            pieces = []
        await self._send_parts(rewriter.end(), decoded=decoded)
        if not self.exchange.response.started:
            self._send_head([], None, modified=True, decoded=decoded)

    async def _send_parts(self, parts: Iterable[list[bytes]], *, decoded: bool) -> None:
        """Send rewritten parts: a few bytes may decode to many. Between them other tasks get their turn, and a slow
        caller is waited for. Raise UpstreamBroken if the content coding is broken.
        """
        response = self.exchange.response
        try:
            for number, part in enumerate(parts):
                if number:
                    await asyncio.sleep(0)
                if not part:
                    pass
                elif response.started:
                    self._send(part)
                    await response.drain(self.exchange.route.idle_timeout)
                else:
                    self._send_head(part, None, modified=True, decoded=decoded)
        except UnreadableText as error:
            raise UpstreamBroken(reason=str(error)) from None

    def _read_available(self) -> list[bytes]:
        """Return the pieces that have arrived, those that were read before included."""
        pieces = self.connection.read_available()
        return [*self.first_pieces, *pieces] if self.first_pieces else pieces

    async def _read_at_least(self, least: int) -> list[bytes]:
        """Return at least so many bytes of the body, or all, those that were read before included."""
        pieces = self._read_available()
        size = sum(map(len, pieces))
        while size < least and not self.connection.is_complete:
            more = await self.connection.read_body(self.exchange.route.idle_timeout)
            size += sum(map(len, more))
            pieces += more
        return pieces

    def _send(self, pieces: list[bytes]) -> None:
        if self.exchange.id_scanner is not None:
            self.exchange.scan_for_id(pieces)
        self.exchange.response.send_body(pieces)

    def _make_rewriter(self, plan: RewritePlan) -> Rewriter:
        return Rewriter(plan, self._url_map(), request_context(self.exchange))

    def _url_map(self) -> UrlMap:
        exchange = self.exchange
        return exchange.route_table.url_maps[exchange.route.file_scope]

    # The head -------------------------------------------------------------------------------------------------------

    def _send_head(
        self,
        body: list[bytes],
        length: int | None,
        *,
        modified: bool = False,
        decoded: bool = False,
        is_whole: bool = False,
    ) -> None:
        """Send the head with the pieces of the body that are ready. `modified`: the body is not OIC's, byte for byte;
        `decoded`: its content coding is removed; `is_whole`: the pieces are all of it.
        """
        response, exchange = self.response, self.exchange
        head = edit_response_head(
            exchange,
            response,
            self.extra_lines,
            modified=modified,
            decoded=decoded,
            weaken_etag=modified or self.plan is not None,
        )
        if response.status == 304 and exchange.route.rewrite:
            length = None
        if exchange.id_scanner is not None:
            exchange.scan_for_id(body)
        exchange.response.send_head(
            b"%b\r\nX-Request-Id: %b\r\n" % (head, (exchange.record.request_id or "").encode()),
            body,
            length,
            response.has_no_body,
            exchange.body.is_complete and not (exchange.caller.reader.pending and exchange.caller.trailing_size()),
            is_whole=is_whole,
        )


def record_unreadable_response(exchange: Exchange, connection: UpstreamConnection) -> None:
    """Record the status and ids of a response that cannot be relayed: a flow ran, even if its head is broken."""
    if (head := connection.response_head) is not None:
        ResponseRelay(exchange, connection, head).record_ids()
    elif raw := connection.unparsed_head:
        record = exchange.record
        record.upstream_status = status = find_status_in_broken_head(raw) or record.upstream_status
        record.instance_id, record.opc_request_id = find_ids_in_broken_head(raw)
        if exchange.trace is not None:
            exchange.trace.status = status


def _rewrite_all(rewriter: Rewriter, pieces: list[bytes]) -> Iterator[list[bytes]]:
    yield from rewriter.feed(pieces)
    yield from rewriter.end()
