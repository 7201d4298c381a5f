"""The readers of both sides, fed as the connections feed them: what comes of bytes however they are split.

`Conversation` mirrors what `CallerConnection` does with a caller's bytes, without the handler; `test_corpus` holds
it against the real one.
"""

import zlib
from itertools import pairwise
from typing import NamedTuple

from gateway.errors import BadRequest, HeadersTooLarge, UriTooLong
from gateway.http.chunked import ChunkedDecoder
from gateway.http.fields import MalformedMessage
from gateway.http.head_reader import HeadReader
from gateway.http.request_head import END_OF_HEAD, RequestHead, RequestLimits, skip_empty_lines
from gateway.http.response_parser import ResponseHead, ResponseParser
from gateway.proxy.headers import REQUEST_RULES, RESPONSE_RULES

LIMITS = RequestLimits(uri=100, field=120, fields=12, head=400, connections=1)  # small: the fuzzer is to reach them
OVERHEAD = 40
HEAD_LIMIT = 300


class Message(NamedTuple):
    """A request: its head as it came and as it was read, what has come of its body, and where in the input it lies."""

    block: bytes
    head: RequestHead
    body: bytes
    complete: bool
    start: int
    end: int


class Conversation:
    """A caller's connection: `messages` are complete but for the last; `refused` is the code of what ended it,
    None too where bytes behind a body did.
    """

    def __init__(self, overhead: int) -> None:
        """`overhead`: bytes that extensions and trailers of one body may have."""
        self.messages: list[Message] = []
        self.refused: str | None = None
        self._overhead = overhead
        self._is_over = self._is_trailing = False
        self._reader = HeadReader(LIMITS, REQUEST_RULES)
        self._fed = self._left = 0
        self._chunks: ChunkedDecoder | None = None

    def feed(self, data: bytes) -> None:
        """Reads what arrived."""
        self._reader.feed(data)
        self._fed += len(data)
        while self._reader.pending and not self._is_over and self._step():
            pass

    def _step(self) -> bool:
        """Reads one part of a message; False where more has to come first."""
        try:
            if self.messages and not self.messages[-1].complete:
                return self._read_body(self.messages.pop())
            return self._read_head()
        except (BadRequest, UriTooLong, HeadersTooLarge) as error:
            self._is_over = True
            if not self._is_trailing:
                self.refused = error.code
            return False

    def _read_head(self) -> bool:
        reader = self._reader
        self._is_trailing = reader.is_trailing(reader.pending)
        before = reader.pending
        if (head := reader.take_head()) is None:
            return False
        block = skip_empty_lines(before[: len(before) - len(reader.pending)])
        start = self._fed - len(reader.pending) - len(block)
        self._left = head.length or 0
        self._chunks = ChunkedDecoder(self._overhead) if head.chunked else None
        self._keep(
            Message(
                block.removesuffix(END_OF_HEAD), head, b"", not head.has_body, start, self._fed - len(reader.pending)
            )
        )
        return True

    def _read_body(self, message: Message) -> bool:
        if self._chunks is None:
            pending = self._reader.pending
            pieces, rest = [pending[: self._left]], pending[self._left :]
            self._left -= len(pieces[0])
            complete = not self._left
        else:
            try:
                pieces, rest = self._chunks.feed(self._reader.take_pending())
            except MalformedMessage:
                self.messages.append(message)
                raise BadRequest from None
            complete = self._chunks.has_ended
        self._reader.pending = rest
        body = message.body + b"".join(pieces)
        self._keep(message._replace(body=body, complete=complete, end=self._fed - len(rest)))
        return complete

    def _keep(self, message: Message) -> None:
        self.messages.append(message)
        self._is_over = message.head.error is not None or (message.complete and not message.head.keeps_alive)


def converse(data: bytes, cuts: list[int], *, overhead: int = OVERHEAD) -> Conversation:
    """What comes of a caller's bytes, cut there."""
    conversation = Conversation(overhead)
    for part in parted(data, cuts):
        conversation.feed(part)
    return conversation


class Reply(NamedTuple):
    """All that a reader shows of a reply, and whether it broke before or at the end of the connection."""

    head: ResponseHead | None
    body: bytes
    complete: bool
    excess: bool
    reusable: bool
    broken: bool
    cut: bool


def read_reply(data: bytes, cuts: list[int], *, is_head_request: bool) -> Reply:
    """What comes of an upstream's bytes, cut there, and of their end."""
    reader = ResponseParser(RESPONSE_RULES, head_limit=HEAD_LIMIT)
    reader.start_response(is_head_request=is_head_request)
    broken = cut = False
    try:
        for part in parted(data, cuts):
            reader.feed(part)
    except MalformedMessage:
        broken = True
    reusable, complete = reader.can_keep_alive, reader.is_complete
    try:
        if not broken:
            reader.end()
    except MalformedMessage:
        cut = True
    return Reply(reader.head, b"".join(reader.body), complete, reader.has_trailing_data, reusable, broken, cut)


def parted(data: bytes, cuts: list[int]) -> list[bytes]:
    """The data cut at these places; no part is empty."""
    return [data[start:stop] for start, stop in pairwise([0, *sorted(cuts), len(data)]) if start < stop]


def ways_to_cut(data: bytes) -> list[list[int]]:
    """A few ways to cut, always the same for the same data: byte by byte, and at three places that it names itself."""
    size = len(data) + 1
    named = [zlib.crc32(data, salt) % size for salt in range(3)]
    return [list(range(len(data))), named, named[:1]]
