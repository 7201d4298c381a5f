"""Long foreign texts cost no more than their length, whole or byte by byte: a quadratic step would exceed the processor
time that all of them together may take.
"""

import resource
import subprocess
import sys

import pytest

from tests.fakes.process import ROOT

MOST_SECONDS = 8  # of processor time, for a script that takes two or less
PRELUDE = """
from contextlib import suppress
from gateway.config.corrections.pasted_text import InvalidInput, strip_pasted
from gateway.errors import GatewayError
from gateway.content.untrusted_text import read_authority, read_date, read_url
from gateway.history.query import BadQuery, parse_query
from gateway.network.tunnel import TunnelRefused, find_tunnel_start
from gateway.oic.instance_id import DEFAULT_LOCATIONS, InstanceIdFinder, InstanceIdLocation, find_ids_in_broken_head
from gateway.oic.soap_credentials import SoapCredentialFilter
from gateway.content.media_type import read_media_type
from gateway.diagnosis.route_health import RouteHealth
from gateway.http.chunked import ChunkedDecoder
from gateway.http.fields import MalformedMessage
from gateway.proxy.redirects import resolve_redirect
from gateway.proxy.headers import REQUEST_RULES, RESPONSE_RULES, deferred_request_lines, parse_entity_tags, via_contains
from gateway.proxy.method_override import overriding_methods
from gateway.http.response_parser import ResponseParser
from gateway.http.request_head import RequestLimits, check_partial_head, may_begin_request, parse_request_head
from gateway.proxy.rewriting import RequestContext, Rewriter, UrlMap, make_plan
from gateway.proxy.routing import UpstreamUrl, Router
from gateway.signin.authorization_response import UnrelatedRequest, NotSignedIn, read_pasted

K = 1024
BASE = UpstreamUrl.parse("https://acme.example/ic/")
NAMES, HERE = UrlMap.from_routes([(BASE, "/orders/")]), RequestContext(BASE, "http://gw:8080", route_path="/orders/")
LIMITS = RequestLimits(uri=8 * K, field=128 * K, fields=100_000, head=128 * K, connections=1)
FAILURES = (
    GatewayError, MalformedMessage, TunnelRefused, BadQuery, InvalidInput, UnrelatedRequest, NotSignedIn, ValueError,
)

def rewrite(kind, text):
    rewriter = Rewriter(make_plan(kind, None, frozenset({"json", "xml", "yaml", "html"})), NAMES, HERE)
    for _ in (*rewriter.feed([text]), *rewriter.end()):
        pass

def feed_bytes(feed, text):
    with suppress(*FAILURES):
        for at in range(len(text)):
            feed(text[at : at + 1])
"""
BODIES = """
import sys
for unit in sys.argv[1:]:
    print(unit, flush=True)
    text = unit.encode("latin-1") * (20 * K // len(unit))
    for kind, before, after in (
        (b"application/json", b'{"href":"', b'"}'),
        (b"application/xml", b'<a href="', b'"/>'),
        (b"text/html", b"<a>", b"</a>"),
        (b"application/yaml", b"href: ", b""),
    ):
        rewrite(kind, before + text + after)
    for rename in (NAMES.rewrite, NAMES.rewrite_link):
        rename("/x?u=" + text.decode("latin-1"), HERE)
"""
HEADS = """
for name in (b"date", b"connection", b"x-oracle-ics-instance-id", b"link"):
    reader = ResponseParser(RESPONSE_RULES, head_limit=64 * K)
    line = name + b":\\r\\n"
    reader.feed(b"HTTP/1.1 200 OK\\r\\n" + line * (63 * K // len(line)) + b"\\r\\n")
for pump in (b" ", b"\\t", b"\\r\\n ", b"\\n ", b",", b"a", b"\\r\\nx-oracle-ics-instance-id:"):
    for end in (b"", b"\\r\\n \\r\\n", b"\\n", b"\\r"):
        find_ids_in_broken_head(b"HTTP/1.1 200\\nx-oracle-ics-instance-id:" + pump * (64 * K // len(pump)) + end)
for pump in (
    b" ", b"a", b"/", b"/v1/flows/rest/", b"%25", b"/.;", b"W/", b",", b", W/", b"\\r\\n", b"_method=", b"A",
    b"?", b'W/"',
):
    text = pump * (100 * K // len(pump))
    for head in (b"GET /%b HTTP/1.1\\r\\nhost: a", b"GET / HTTP/1.1\\r\\nx-http-method: %b\\r\\nhost: a", b"%b"):
        with suppress(*FAILURES):
            parse_request_head(head % text, LIMITS, REQUEST_RULES)
    may_begin_request(text)
    deferred_request_lines([(b"if-match", b"if-match:" + text)], asks_whole=True)
    parse_entity_tags(text)
    via_contains(text, "oic-gateway")
    read_media_type(text)
    short = text[: 64 * K].decode("latin-1")
    RouteHealth().record_response(404, has_instance_id=False, at=0.0, target=short)
    for call in (
        lambda: Router([("/orders/", BASE, 1)]).resolve_path("/orders/" + short),
        lambda: resolve_redirect("/ic/" + short, at=BASE, bases=[BASE]),
        lambda: overriding_methods({b"x-http-method": text}, "/?" + short),
        lambda: (read_authority(short), read_url(short), read_date(short)),
        lambda: parse_query([("since", short)], now=0.0),
        lambda: parse_query([(short, short)], now=0.0),
        lambda: strip_pasted(short),
        lambda: strip_pasted(chr(34) + " " + short),
        lambda: read_pasted("?" + short, state="a", is_issuer=bool),
    ):
        with suppress(*FAILURES):
            call()
with suppress(*FAILURES):
    strip_pasted("' " * (256 * K))
"""
SEARCHES = """
rules = (*DEFAULT_LOCATIONS, InstanceIdLocation("json", "/a/b"), InstanceIdLocation("json", "/a/9999"))
search = InstanceIdFinder.compile(rules)
tops = b'{"oicInstanceId":1,"a":'
for pump in (
    b'"', b'"\\\\', b'\\\\"', b"{", b"[", b'{"a":', b'"oicInstanceId" ', b'"a":',
    b" ", b"1", b"<a>", b"<a b='", b",", b"[1,",
):
    text = pump * (64 * K // len(pump))
    for first in (text, tops + text, text + tops, tops + b"[" + text, b"<oicInstanceId>" + text):
        for kind in ("json", "xml"):
            search.find({}, [], kind, first)
for field in (b";", b"; ", b";a", b';a="', b';a="\\\\', b";a =", b'"', b"=", b";charset="):
    text = b"text/xml" + field * (64 * K // len(field))
    read_media_type(text)
    make_plan(text, None, frozenset({"xml"}))
for pump in (b"<a>", b"<UsernameToken/>", b"<Security>", b" ", b"<a b='", b"\\n--b\\n", b"\\n--b ", b"&amp;"):
    for media in (b"text/xml", b"multipart/related; boundary=b"):
        for before in (b"", b"<s:Envelope xmlns:s='soap'><s:Header>", b"<s:Envelope xmlns:s='soap'><s:Body/>"):
            with suppress(*FAILURES):
                SoapCredentialFilter(media, soap_action=True).feed(before + pump * (256 * K // len(pump)), last=True)
"""
BYTE_BY_BYTE = """
def head_beginning():
    window, size = b"", 0
    def feed(data):
        nonlocal window, size
        seen, window = max(0, len(window) - 3), window + data
        check_partial_head(window, seen, LIMITS)
    return feed

for text in (b"1;" + b"a" * (15 * K), b"1" + b" " * (15 * K), b"0\\r\\n" + b"a: " + b"b" * (15 * K)):
    feed_bytes(ChunkedDecoder(16 * K).feed, text)
    feed_bytes(ChunkedDecoder(64 * K).feed, text + text[-1:] * (16 * K))
feed_bytes(head_beginning(), b"GET /" + b"a" * (8 * K - 50) + b" HTTP/1.1\\r\\nx: " + b"b" * (16 * K))
feed_bytes(ResponseParser(RESPONSE_RULES, head_limit=64 * K).collect_broken_head, b"a" * (40 * K))
for text in (b"HTTP/1.1 100\\n\\n" * 1000, b"HTTP/1.1 200 " + b"a" * (8 * K)):
    window = b""
    def read(data):
        global window
        window += data
        find_tunnel_start(window)
    feed_bytes(read, text)
screen = SoapCredentialFilter(b"text/xml", soap_action=True)
feed_bytes(lambda data: screen.feed(data, last=False), b"<a b='" + b"x" * (16 * K))
"""
URL = "http://acme.example/ic/a"
CODED = "http%3A%2F%2Facme.example%2Fic%2Fa"
TWICE = "http%253A%252F%252Facme.example%252Fic%252Fa"
UNITS = [
    f"{CODED}%22",
    f"{CODED}%20%",
    f"{CODED}%3C",
    f"{TWICE}%2522",
    URL + "\\u0022",
    URL + "\\u2003",
    URL + "\\x22",
    f"{URL}&#34;",
    f"{URL}&#x0022;",
    f"{URL}\xa0",
    f"{URL}/",
    "/",
    "http:",
    "%2F",
    "\\",
    "&#",
    "='/a",
    "<",
    "http://b/",
    ';anchor="',
    ";anchor=a",
]


def _run(script: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + script, *arguments],
        cwd=ROOT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS)),
        check=False,
        capture_output=True,
    )
    assert done.returncode == 0, (done.returncode, done.stdout[-200:], done.stderr[-500:])


def test_a_body_full_of_urls_costs_no_more_than_its_length() -> None:
    _run(BODIES, *UNITS)


@pytest.mark.parametrize("script", [HEADS, SEARCHES, BYTE_BY_BYTE], ids=["heads", "searches", "byte by byte"])
def test_a_long_text_costs_no_more_than_its_length(script: str) -> None:
    _run(script)
