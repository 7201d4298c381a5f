"""What is shown of the objects of a request: no token, no field, no body."""

from typing import Any, cast

from gateway.http.response_parser import ResponseParser
from gateway.oauth.shared_fetch import FetchReason
from gateway.observe.record import Record
from gateway.proxy.direct_sender import DirectSender
from gateway.proxy.exchange import Exchange
from gateway.proxy.headers import RESPONSE_RULES
from gateway.proxy.response import ResponseRelay


def test_no_secret_of_a_call_is_in_a_repr() -> None:
    unknown: Any = None
    parser = ResponseParser(RESPONSE_RULES, head_limit=4096)
    parser.start_response(is_head_request=False)
    parser.feed(b"HTTP/1.1 200 OK\r\nSet-Cookie: s=secret\r\nX-A: secret\r\nContent-Length: 0\r\n\r\n")
    record = Record(request_id="r-1")
    exchange = Exchange(unknown, unknown, unknown, unknown, record, 0.0, unknown, [b"Cookie: secret"])
    exchange.token = exchange.request_target = "secret"
    relay = ResponseRelay(exchange, unknown, cast(Any, parser.head), [b"secret"], [b"X-B: secret"])
    shown = repr([parser.head, exchange, relay, DirectSender(exchange), FetchReason("rejected", rejected="secret")])
    assert "secret" not in shown
    assert "r-1" in shown
