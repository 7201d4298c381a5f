"""The way of a reply back to its caller: steps 8, 9 and 11 of the walk.

A reply whose body may hold URLs of OIC is given in the gateway's names while it streams. One that says a short length
is taken whole first, so that it keeps what it says of itself (Content-Length, digests) where nothing in
it is ours, and says its new length where something is. Of any other nothing is said that only its end could prove.
"""

import asyncio
import time
from collections.abc import Iterable, Iterator
from itertools import chain

import msgspec

from gateway.errors import UpstreamBroken
from gateway.http.fields import MalformedMessage
from gateway.http.response_parser import ResponseHead
from gateway.http.response_writer import date_line
from gateway.http.upstream_connection import UpstreamConnection
from gateway.proxy.headers import has_date, modified_body, not_modified, response_lines, weak_lines
from gateway.proxy.rewriting import RequestContext, RewritePlan, Rewriter, begins_readable, has_no_urls, make_plan
from gateway.proxy.upstream_request import UpstreamRequest, public_base_url

BUFFERED_LIMIT = 64 * 1024
"""Bytes of a body that is taken whole before its head goes out."""
MAX_DECODED = 1024 * 1024
"""Bytes that such a body may hold, compressed: more of them stream."""
YIELD_AFTER = 2 * 1024
"""Bytes of its first part after which others have their turn, as they have after every further part."""
NEVER_REWRITTEN = frozenset({206, 304})
"""A part of a body cannot be renamed: its places are counted in what OIC said (RFC 9110 §14.4). 304 has none."""


class ResponseRelay(msgspec.Struct):
    """One reply on its way; `deliver` once."""

    request: UpstreamRequest
    connection: UpstreamConnection
    response: ResponseHead
    first_pieces: list[bytes] = []
    """What has been taken of the body already."""
    extra_lines: list[bytes] = []
    """Further lines of the head."""
    url_context: RequestContext | None = None
    may_rename: bool = False
    """Its body may hold URLs of OIC: then its ETag is weak, whatever is found, so that HEAD and GET say the same."""

    async def relay(self) -> None:
        """Gives the caller head and body. Raises UpstreamBroken, UpstreamTimeout, CallerGone."""
        reply, connection, kinds = self.response, self.connection, self.request.match.route.rewrite
        noted, length = reply.known_fields, reply.length
        self.request.exchange.record.status = reply.status
        design = None
        if kinds and reply.status not in NEVER_REWRITTEN:
            design = make_plan(noted.get(b"content-type"), noted.get(b"content-encoding"), kinds)
        self.may_rename = design is not None
        if design is not None and reply.has_no_body:
            self._send_head([], altered=True, decoded=bool(design.coding), length=None)
        elif design is None:
            await self._relay_unchanged(self._take_available())
        else:
            is_short = length is not None and length <= BUFFERED_LIMIT
            pieces = self._take_available()
            # The usual case, at once: a short reply that came with its head, with nothing in it to be named.
            if connection.complete and has_no_urls(design, pieces):
                self._send_head(pieces, altered=not is_short, length=length)
            else:
                self.first_pieces = pieces
                await self._relay_rewritten(design, is_short=is_short)
        self.request.exchange.response.end()

    async def _relay_unchanged(self, pieces: list[bytes]) -> None:
        """The body as it is."""
        self._send_head(pieces, length=self.response.length)
        connection, delivery = self.connection, self.request.exchange.response
        if connection.complete:  # and all of it was taken
            return
        while more := await connection.read_body(self.request.match.route.idle_timeout):
            self._send(more)
            if not connection.complete:  # the upstream need not wait for a caller that is slow to take the rest
                await delivery.drain(self.request.match.route.idle_timeout)

    async def _relay_rewritten(self, design: RewritePlan, *, is_short: bool) -> None:
        """The body in the gateway's names."""
        connection = self.connection
        pieces = await self.read_at_least(self.response.length or 0 if is_short else bool(design.coding))
        if design.coding and not begins_readable(design, b"".join(pieces[:2])):
            self.may_rename = False
            await self._relay_unchanged(pieces)
        elif connection.complete and has_no_urls(design, pieces):
            self._send_head(pieces, altered=not is_short, length=self.response.length)
        elif connection.complete and (is_short or sum(map(len, pieces)) <= BUFFERED_LIMIT):
            await self._send_buffered(design, pieces, is_short=is_short)
        else:
            await self._stream(design, pieces)

    async def _send_buffered(self, design: RewritePlan, pieces: list[bytes], *, is_short: bool) -> None:
        """A body that is all here. One that is not coded as it says passes unchanged: nothing has been said of it."""
        rewriter = Rewriter(design, self.request.table.url_map, self._request_context())
        parts = _rewrite_all(rewriter, pieces)
        whole: list[bytes] = []
        size = 0
        try:
            while size <= MAX_DECODED and (part := next(parts, None)) is not None:
                added = sum(map(len, part))
                if size or added > YIELD_AFTER or not added:
                    await asyncio.sleep(0)
                whole += part
                size += added
            rest = next(parts, None)
        except MalformedMessage:
            self.may_rename = False
            await self._relay_unchanged(pieces)
            return
        decoded, altered = bool(design.coding), bool(design.coding) or rewriter.changed
        length = self.response.length
        if rest is not None:
            await self._send_parts(chain([whole, rest], parts), decoded=decoded)
            return
        if length is not None and altered:
            length = size
        self._send_head(whole, altered=altered or not is_short, decoded=decoded, length=length)

    async def _stream(self, design: RewritePlan, pieces: list[bytes]) -> None:
        rewriter = Rewriter(design, self.request.table.url_map, self._request_context())
        idle, decoded = self.request.match.route.idle_timeout, bool(design.coding)
        while pieces or (pieces := await self.connection.read_body(idle)):
            for piece in pieces:
                await self._send_parts(rewriter.feed([piece]), decoded=decoded)
            pieces = []
        await self._send_parts(rewriter.end(), decoded=decoded)
        if not self.request.exchange.response.started:
            self._send_head([], altered=True, decoded=decoded, length=None)

    async def _send_parts(self, parts: Iterable[list[bytes]], *, decoded: bool) -> None:
        """Sends what a few bytes may have become: others have their turn in between, a slow caller is waited for.
        Raises UpstreamBroken where the content coding is broken.
        """
        delivery = self.request.exchange.response
        try:
            for part in parts:
                if not part:
                    pass
                elif delivery.started:
                    self._send(part)
                    await delivery.drain(self.request.match.route.idle_timeout)
                else:
                    self._send_head(part, altered=True, decoded=decoded, length=None)
                await asyncio.sleep(0)
        except MalformedMessage as error:
            raise UpstreamBroken(reason=str(error)) from None

    def _take_available(self) -> list[bytes]:
        return (
            [*self.first_pieces, *self.connection.read_available()]
            if self.first_pieces
            else self.connection.read_available()
        )

    async def read_at_least(self, least: int) -> list[bytes]:
        """At least so many bytes of the body, or all, those that were taken before included."""
        pieces = self._take_available()
        size = sum(map(len, pieces))
        while size < least and not self.connection.complete:
            more = await self.connection.read_body(self.request.match.route.idle_timeout)
            size += sum(map(len, more))
            pieces += more
        return pieces

    def _send(self, pieces: list[bytes]) -> None:
        if self.request.exchange.id_scanner is not None:
            self.request.exchange.show(pieces)
        self.request.exchange.response.send(pieces)

    def _send_head(
        self, body: list[bytes], *, length: int | None, altered: bool = False, decoded: bool = False
    ) -> None:
        """Writes the head with what there is of the body."""
        reply, exchange = self.response, self.request.exchange
        lines = response_lines(reply, rename=self._rewrite_field, kept=self.request.match.route.response_fields)
        if altered:
            lines = modified_body(lines, reply.known_fields, decoded=decoded)
        elif self.may_rename and b"etag" in reply.known_fields:
            lines = weak_lines(lines)
        elif reply.status == 304 and self.request.match.route.rewrite:
            lines = not_modified(lines, reply.known_fields, self.request.head.known_fields)
            length = None
        if not has_date(lines, reply.known_fields):
            lines.append(date_line(time.time()))
        lines += self.extra_lines
        lines.append(b"X-Request-Id: %b" % (exchange.record.request_id or "").encode())
        if exchange.id_scanner is not None:
            exchange.show(body)
        exchange.response.begin(
            reply.status,
            reply.reason,
            lines,
            length=length,
            bodyless=reply.has_no_body,
            body=body,
            arrived=exchange.is_request_over,
        )

    def _rewrite_field(self, name: bytes, value: bytes) -> bytes:
        """Step 9, for the head."""
        names = self.request.table.url_map
        rename = names.rewrite_link if name == b"link" else names.rewrite
        return rename(value.decode("latin-1"), self._request_context()).encode("latin-1")

    def _request_context(self) -> RequestContext:
        """Made for the few replies that need it."""
        if self.url_context is None:
            way, errand = self.request.match, self.request
            self.url_context = RequestContext(way.route.base, public_base_url(errand), way.proxied_as, way.route.path)
        return self.url_context


def _rewrite_all(rewriter: Rewriter, pieces: list[bytes]) -> Iterator[list[bytes]]:
    """A whole body."""
    yield from rewriter.feed(pieces)
    yield from rewriter.end()
