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
from gateway.proxy.connection import Connection
from gateway.proxy.delivery import date_line
from gateway.proxy.errand import Errand, public_name
from gateway.proxy.fields import Malformed
from gateway.proxy.headers import altered_lines, confirming_lines, has_date, reply_lines, weak_lines
from gateway.proxy.replies import ReplyHead
from gateway.proxy.rewriting import Here, Plan, Rewriter, begins_readable, is_clear, plan

COLLECTED = 64 * 1024
"""Bytes of a body that is taken whole before its head goes out."""
MOST_DECODED = 1024 * 1024
"""Bytes that such a body may hold, compressed: more of them stream."""
UNBROKEN = 2 * 1024
"""Bytes of its first part after which others have their turn, as they have after every further part."""
UNTOUCHED = frozenset({206, 304})
"""A part of a body cannot be renamed: its places are counted in what OIC said (RFC 9110 §14.4). 304 has none."""


class Return(msgspec.Struct):
    """One reply on its way; `deliver` once."""

    errand: Errand
    connection: Connection
    reply: ReplyHead
    first: list[bytes] = []
    """What has been taken of the body already."""
    more: list[bytes] = []
    """Further lines of the head."""
    known_here: Here | None = None
    may_rename: bool = False
    """Its body may hold URLs of OIC: then its ETag is weak, whatever is found, so that HEAD and GET say the same."""

    async def deliver(self) -> None:
        """Gives the caller head and body. Raises UpstreamBroken, UpstreamTimeout, CallerGone."""
        reply, connection, kinds = self.reply, self.connection, self.errand.way.route.rewrite
        noted, length = reply.noted, reply.length
        self.errand.exchange.record.status = reply.status
        design = None
        if kinds and reply.status not in UNTOUCHED:
            design = plan(noted.get(b"content-type"), noted.get(b"content-encoding"), kinds)
        self.may_rename = design is not None
        if design is not None and reply.bodyless:
            self._begin([], altered=True, decoded=bool(design.coding), length=None)
        elif design is None:
            await self._pass(self._taken())
        else:
            is_short = length is not None and length <= COLLECTED
            pieces = self._taken()
            # The usual case, at once: a short reply that came with its head, with nothing in it to be named.
            if connection.complete and is_clear(design, pieces):
                self._begin(pieces, altered=not is_short, length=length)
            else:
                self.first = pieces
                await self._rename(design, is_short=is_short)
        self.errand.exchange.delivery.end()

    async def _pass(self, pieces: list[bytes]) -> None:
        """The body as it is."""
        self._begin(pieces, length=self.reply.length)
        connection, delivery = self.connection, self.errand.exchange.delivery
        if connection.complete:  # and all of it was taken
            return
        while more := await connection.body(self.errand.way.route.idle_timeout):
            self._send(more)
            if not connection.complete:  # the upstream need not wait for a caller that is slow to take the rest
                await delivery.drain(self.errand.way.route.idle_timeout)

    async def _rename(self, design: Plan, *, is_short: bool) -> None:
        """The body in the gateway's names."""
        connection = self.connection
        pieces = await self.gather(self.reply.length or 0 if is_short else bool(design.coding))
        if design.coding and not begins_readable(design, b"".join(pieces[:2])):
            self.may_rename = False
            await self._pass(pieces)
        elif connection.complete and is_clear(design, pieces):
            self._begin(pieces, altered=not is_short, length=self.reply.length)
        elif connection.complete and (is_short or sum(map(len, pieces)) <= COLLECTED):
            await self._give_whole(design, pieces, is_short=is_short)
        else:
            await self._stream(design, pieces)

    async def _give_whole(self, design: Plan, pieces: list[bytes], *, is_short: bool) -> None:
        """A body that is all here. One that is not coded as it says passes unchanged: nothing has been said of it."""
        rewriter = Rewriter(design, self.errand.table.names, self._here())
        parts = _renamed(rewriter, pieces)
        whole: list[bytes] = []
        size = 0
        try:
            while size <= MOST_DECODED and (part := next(parts, None)) is not None:
                added = sum(map(len, part))
                if size or added > UNBROKEN or not added:
                    await asyncio.sleep(0)
                whole += part
                size += added
            rest = next(parts, None)
        except Malformed:
            self.may_rename = False
            await self._pass(pieces)
            return
        decoded, altered = bool(design.coding), bool(design.coding) or rewriter.changed
        length = self.reply.length
        if rest is not None:
            await self._put(chain([whole, rest], parts), decoded=decoded)
            return
        if length is not None and altered:
            length = size
        self._begin(whole, altered=altered or not is_short, decoded=decoded, length=length)

    async def _stream(self, design: Plan, pieces: list[bytes]) -> None:
        rewriter = Rewriter(design, self.errand.table.names, self._here())
        idle, decoded = self.errand.way.route.idle_timeout, bool(design.coding)
        while pieces or (pieces := await self.connection.body(idle)):
            for piece in pieces:
                await self._put(rewriter.feed([piece]), decoded=decoded)
            pieces = []
        await self._put(rewriter.end(), decoded=decoded)
        if not self.errand.exchange.delivery.began:
            self._begin([], altered=True, decoded=decoded, length=None)

    async def _put(self, parts: Iterable[list[bytes]], *, decoded: bool) -> None:
        """Sends what a few bytes may have become: others have their turn in between, a slow caller is waited for.
        Raises UpstreamBroken where the content coding is broken.
        """
        delivery = self.errand.exchange.delivery
        try:
            for part in parts:
                if not part:
                    pass
                elif delivery.began:
                    self._send(part)
                    await delivery.drain(self.errand.way.route.idle_timeout)
                else:
                    self._begin(part, altered=True, decoded=decoded, length=None)
                await asyncio.sleep(0)
        except Malformed as error:
            raise UpstreamBroken(reason=str(error)) from None

    def _taken(self) -> list[bytes]:
        return [*self.first, *self.connection.arrived()] if self.first else self.connection.arrived()

    async def gather(self, least: int) -> list[bytes]:
        """At least so many bytes of the body, or all, those that were taken before included."""
        pieces = self._taken()
        size = sum(map(len, pieces))
        while size < least and not self.connection.complete:
            more = await self.connection.body(self.errand.way.route.idle_timeout)
            size += sum(map(len, more))
            pieces += more
        return pieces

    def _send(self, pieces: list[bytes]) -> None:
        if self.errand.exchange.trail is not None:
            self.errand.exchange.show(pieces)
        self.errand.exchange.delivery.send(pieces)

    def _begin(self, body: list[bytes], *, length: int | None, altered: bool = False, decoded: bool = False) -> None:
        """Writes the head with what there is of the body."""
        reply, exchange = self.reply, self.errand.exchange
        lines = reply_lines(reply, rename=self._renamed_field, kept=self.errand.way.route.kept)
        if altered:
            lines = altered_lines(lines, reply.noted, decoded=decoded)
        elif self.may_rename and b"etag" in reply.noted:
            lines = weak_lines(lines)
        elif reply.status == 304 and self.errand.way.route.rewrite:
            lines = confirming_lines(lines, reply.noted, self.errand.head.noted)
            length = None
        if not has_date(lines, reply.noted):
            lines.append(date_line(time.time()))
        lines += self.more
        lines.append(b"X-Request-Id: %b" % (exchange.record.request_id or "").encode())
        if exchange.trail is not None:
            exchange.show(body)
        exchange.delivery.begin(
            reply.status,
            reply.reason,
            lines,
            length=length,
            bodyless=reply.bodyless,
            body=body,
            arrived=exchange.is_request_over,
        )

    def _renamed_field(self, name: bytes, value: bytes) -> bytes:
        """Step 9, for the head."""
        names = self.errand.table.names
        rename = names.rename_link if name == b"link" else names.rename
        return rename(value.decode("latin-1"), self._here()).encode("latin-1")

    def _here(self) -> Here:
        """Made for the few replies that need it."""
        if self.known_here is None:
            way, errand = self.errand.way, self.errand
            self.known_here = Here(way.route.base, public_name(errand), way.named, way.route.path)
        return self.known_here


def _renamed(rewriter: Rewriter, pieces: list[bytes]) -> Iterator[list[bytes]]:
    """A whole body."""
    yield from rewriter.feed(pieces)
    yield from rewriter.end()
