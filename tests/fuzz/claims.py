"""What must hold of whatever anybody sends: the claims that the fuzzer tries to break and the corpus is held against.

1. Nothing is raised but what the readers say that they raise (all else ends the fuzzer).
2. The same comes of any split of the bytes.
3. Nothing that is accepted holds a control byte; what passes, passes byte for byte and in order.
4. What was read and what lies behind it is all that came, and nothing of it is read twice.
5. What goes on to the other side is one message, and reads there as it did here.
6. Where llhttp accepts a message too, it reads the same.
"""

import re

from gateway.http.request_head import END_OF_HEAD, RequestHead
from gateway.http.response_parser import ResponseHead
from gateway.http.response_writer import make_status_line
from gateway.proxy.headers import DEFERRED_RESPONSE, build_request_head, build_response_lines, deferred_response_lines
from tests.fuzz.reference import Other, replies_of, requests_of
from tests.fuzz.wire import Conversation, Message, Reply, converse, read_reply, ways_to_cut

CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
FRAMING = re.compile(rb"\r\n(?:content-length|transfer-encoding):", re.IGNORECASE)
IDENTITY = re.compile(rb"\r\nauthorization:", re.IGNORECASE)
HOST = re.compile(rb"\r\nhost:", re.IGNORECASE)


# Requests -------------------------------------------------------------------------------------------------------------


def check_requests(data: bytes) -> None:
    """All claims of a caller's bytes."""
    whole = converse(data, [])
    for cuts in ways_to_cut(data):
        check_same_requests(converse(data, cuts), whole)
    for message in whole.messages:
        check_head(message)
        check_place(data, message)
        if message.complete and message.head.error is None:
            check_forwarded(message)
    check_requests_beside_llhttp(whole, requests_of(data))


def check_same_requests(parted: Conversation, whole: Conversation) -> None:
    """Claim 2. Of a body that breaks, more may have been seen before."""
    assert (parted.refused is None) == (whole.refused is None), "split: refused or not"
    assert len(parted.messages) == len(whole.messages), "split: another number of requests"
    for ours, theirs in zip(parted.messages, whole.messages, strict=True):
        assert shown(ours.head) == shown(theirs.head), "split: another head"
        assert ours.complete == theirs.complete, "split: complete or not"
        if ours.complete or whole.refused is None:
            assert (ours.body, ours.start, ours.end) == (theirs.body, theirs.start, theirs.end), "split: another body"
        else:
            assert ours.body.startswith(theirs.body), "split: another beginning of a body"


def shown(head: RequestHead) -> tuple[object, ...]:
    """A head with its fault by name."""
    fault = None if head.error is None else head.error.code
    return head.method, head.target, head.is_http11, head.lines, head.known_fields, head.length, head.chunked, fault


def check_head(message: Message) -> None:
    """Claim 3."""
    head = message.head
    parts = [head.method.encode(), head.target.encode(), *head.lines, *head.known_fields, *head.known_fields.values()]
    assert not any(CONTROL.search(part) for part in parts), "a control byte passes"
    line, *fields = message.block.split(b"\r\n")
    assert line == f"{head.method} {head.target} HTTP/1.{head.is_http11:d}".encode(), "the request line changed"
    left = iter(fields)
    assert all(line in left for line in head.lines), "a line changed, or lost its place"


def check_place(data: bytes, message: Message) -> None:
    """Claim 4."""
    raw = data[message.start : message.end]
    assert raw.startswith(message.block + END_OF_HEAD), "the head is not where it was read"
    body = raw[len(message.block) + 4 :]
    if not message.head.chunked:
        assert body == message.body, "the body is not where it was read"
    elif message.complete:
        again = converse(raw, [])
        assert [found.body for found in again.messages] == [message.body], "read again, the body is another"
        assert (again.messages[0].complete, again.messages[0].end) == (True, len(raw)), "read again, the end is another"


def check_forwarded(message: Message) -> None:
    """Claim 5: what OIC gets is one request with the same body, our bearer and our Host."""
    head, body = message.head, message.body
    out = build_request_head(head, "/x", b"Host: acme", request_id="i", bearer="t")
    assert len(FRAMING.findall(out)) <= 1, "framed twice"
    assert (len(IDENTITY.findall(out)), len(HOST.findall(out))) == (1, 1), "not the gateway's own identity"
    chunks = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"
    there = requests_of(out + (chunks if head.chunked else body))
    if head.method == "CONNECT" or not there:  # llhttp knows no other methods than those that are registered
        return
    assert len(there) == 1, "not one request"
    assert (there[0].first, there[0].second, there[0].body) == (head.method.encode(), b"/x", body), "another request"
    assert there[0].complete, "without its end"


def check_requests_beside_llhttp(ours: Conversation, theirs: list[Other]) -> None:
    """Claim 6, as far as both go."""
    for mine, other in zip(ours.messages, theirs, strict=False):
        head = mine.head
        if head.method == "CONNECT" or b"upgrade" in head.known_fields or head.error is not None:
            return  # llhttp takes what follows for another protocol's
        fields = [line.partition(b":") for line in mine.block.split(b"\r\n")[1:]]
        assert (head.method.encode(), head.target.encode()) == other[:2], "llhttp: another request line"
        assert f"1.{head.is_http11:d}" == other.version, "llhttp: another version"
        assert [(name, value.strip(b" \t")) for name, _, value in fields] == other.fields, "llhttp: other fields"
        check_bodies(mine, other)


# Replies --------------------------------------------------------------------------------------------------------------


def check_replies(data: bytes) -> None:
    """All claims of an upstream's bytes, as a reply to GET and to HEAD."""
    for is_head_request in (False, True):
        whole = read_reply(data, [], is_head_request=is_head_request)
        for cuts in ways_to_cut(data):
            check_same_reply(read_reply(data, cuts, is_head_request=is_head_request), whole)
        if whole.head is not None:
            check_reply_head(whole.head)
            check_reply_place(data, whole)
        if not is_head_request:
            check_reply_beside_llhttp(whole, replies_of(data))


def check_same_reply(parted: Reply, whole: Reply) -> None:
    """Claim 2. Of a reply that breaks, more may have been seen before."""
    assert parted[2:] == whole[2:], "split: another verdict"
    if whole.broken:
        assert whole.head is None or parted.head == whole.head, "split: another head"
        assert parted.body.startswith(whole.body), "split: another beginning of a body"
    else:
        assert parted[:2] == whole[:2], "split: another reply"


def check_reply_head(head: ResponseHead) -> None:
    """Claims 3 and 5: nothing that a caller gets can end a line."""
    deferred = deferred_response_lines(head, rewrite=lambda _, value: value, kept=DEFERRED_RESPONSE)
    lines = build_response_lines(head, deferred)
    parts = [head.status_line, *lines, *head.known_fields, *head.known_fields.values()]
    assert not any(CONTROL.search(part) for part in parts), "a control byte passes"
    assert not FRAMING.search(b"\r\n" + b"\r\n".join(lines)), "framing passes"
    assert 200 <= head.status <= 599


def check_reply_place(data: bytes, reply: Reply) -> None:
    """Claim 4: a body is what stands behind a head, and a reusable connection has nothing behind that."""
    head = reply.head
    assert head is not None
    if head.has_no_body:
        assert (reply.body, reply.complete) == (b"", True), "a body where there is none"
    elif not head.chunked:
        assert reply.body in data, "a body that never came"
        assert head.length is None or len(reply.body) <= head.length, "more than was told"
        assert reply.complete == (head.length is not None and len(reply.body) == head.length), "complete or not"
    assert not (reply.reusable and reply.excess), "reused in spite of what lies behind"
    if reply.reusable and (head.has_no_body or not head.chunked):
        assert data.endswith(END_OF_HEAD + reply.body), "something lies behind"


def check_reply_beside_llhttp(ours: Reply, theirs: list[Other]) -> None:
    """Claim 6, of the final reply."""
    final = next((other for other in theirs if isinstance(other.first, int) and other.first >= 200), None)
    head = ours.head
    if head is None or final is None:
        return
    line = make_status_line(head.status, final.second)
    assert (head.status, head.status_line) == (final.first, line), "llhttp: another status line"
    lines = [*head.forwarded_lines, *[line for _, line in head.deferred]]
    fields = [(name, value.strip(b" \t")) for name, _, value in (line.partition(b":") for line in lines)]
    assert all(field in final.fields for field in fields), "llhttp: other fields"
    if not head.has_no_body:
        check_bodies(ours, final)


def check_bodies(mine: Message | Reply, other: Other) -> None:
    """Either may have refused the rest of a body, but not read another one."""
    if mine.complete and other.complete:
        assert mine.body == other.body, "llhttp: another body"
    assert mine.body.startswith(other.body) or other.body.startswith(mine.body), "llhttp: another beginning of a body"
