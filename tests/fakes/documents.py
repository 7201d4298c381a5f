"""Documents with OIC URLs, and a function that rewrites them in one or more pieces."""

from collections.abc import Iterable
from itertools import pairwise

from gateway.proxy.rewriting import RequestContext, RewritePlan, Rewriter, UrlMap, has_no_urls
from gateway.proxy.routing import UpstreamUrl

HOST = "acme.integration.us-phoenix-1.ocp.oraclecloud.com"
FLOW = "/ic/api/integration/v1/flows/rest/ORDERS/1.0"
ORDERS = UpstreamUrl.parse(f"https://{HOST}{FLOW}/")
API = UpstreamUrl.parse(f"https://{HOST}/ic/api/")
DESIGN = UpstreamUrl.parse("https://design.integration.us-phoenix-1.ocp.oraclecloud.com/ic/api/")
OTHER = UpstreamUrl.parse("https://other.example:8443/ic/ws/x")
NAMES = UrlMap.from_routes([(ORDERS, "/orders/"), (API, "/api"), (OTHER, "/other")], design_urls=[(API, DESIGN)])
GATE = "http://gw:8080"
HERE = RequestContext(ORDERS, GATE, route_path="/orders/")
U = f"https://{HOST}:443{FLOW}"
ALL = frozenset({"json", "xml", "yaml", "html"})


def rewrite(
    body: bytes,
    kind: str = "json",
    *,
    cuts: Iterable[int] = (),
    here: RequestContext = HERE,
    charset: str = "",
    coding: str = "",
    passes: bool = False,
) -> bytes:
    """`passes`: what can pass unchanged is not fed."""
    plan = RewritePlan(kind, charset, coding)
    rewriter = Rewriter(plan, NAMES, here)
    places = [0, *sorted(cuts), len(body)]
    pieces = [body[start:stop] for start, stop in pairwise(places)]
    output = [_rewrite_piece(rewriter, piece, passes=passes) for piece in pieces]
    whole = b"".join(output) + b"".join(b"".join(out) for out in rewriter.end())
    if not coding:
        assert rewriter.changed == (whole != body)
    assert whole == body or not has_no_urls(plan, pieces, NAMES, here.upstream)
    return whole


def _rewrite_piece(rewriter: Rewriter, piece: bytes, *, passes: bool) -> bytes:
    passed = rewriter.pass_unchanged(memoryview(piece)) if passes else None
    if passed is not None:
        return passed[0] + piece[: passed[1]]
    return b"".join(b"".join(out) for out in rewriter.feed([piece] if piece else []))


def text(body: str, kind: str = "json", *, here: RequestContext = HERE) -> str:
    whole = rewrite(body.encode(), kind, here=here)
    assert whole == rewrite(body.encode(), kind, here=here, cuts=range(len(body.encode())))
    return whole.decode()
