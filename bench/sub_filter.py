"""The cost of rewriting URLs, compared with the `sub_filter` of nginx on the same bodies of 8 MiB.

nginx replaces one text by another one wherever it is, in any letter case. The gateway decides by member, attribute and
element, and reads escapes. Both costs include forwarding the body.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count

from bench.callers import fetch
from bench.contenders import ask
from bench.measure import Bench, Figures, measure_whole
from bench.scale import Fact, gateway, route
from bench.stage import NGINX, BenchFailed, Process, Stage, free_port

MIBS = 8  # of a body
TEXT = "Flow meter DN 80, flanged, ordered 2026-01-31; "
CONFIG = """
worker_processes 1;
daemon off;
pid sub-filter.pid;
error_log stderr error;
events { worker_connections 1024; }
http {
  access_log off;
  proxy_temp_path sub-proxy; client_body_temp_path sub-body;
  fastcgi_temp_path sub-fastcgi; uwsgi_temp_path sub-uwsgi; scgi_temp_path sub-scgi;
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_set_header Authorization "Bearer TOKEN";
  proxy_buffering off;
  server {
    listen 127.0.0.1:PORT;
    location /renamed/ {
      proxy_pass http://127.0.0.1:UPSTREAM/ic/;
      sub_filter "http://localhost:UPSTREAM/ic" "http://127.0.0.1:PORT/renamed";
      sub_filter_once off;
      sub_filter_types *;
    }
  }
}
"""
CASES = {
    "links": '{"rel":"self","id":%d,"href":"OURS/orders/%d","name":"' + TEXT * 2 + '"},',
    "capitals": '{"rel":"self","id":%d,"href":"UPPER/orders/%d","name":"' + TEXT * 2 + '"},',
    "token-url": '{"rel":"self","id":%d,"tokenUrl":"OURS/orders/%d","name":"' + TEXT * 2 + '"},',
    "text": '{"rel":"self","id":%d,"name":"see OURS/orders/%d ' + TEXT * 2 + '"},',
    "none": '{"rel":"self","id":%d,"number":"%d","name":"' + TEXT * 2 + '"},',
    "paths": '{"rel":"self","id":%d,"name":"/ic/orders/%d","text":"' + TEXT * 2 + '"},',
    "xml-901": '<order id="%d"><link rel="self" href="OURS/orders/%d"/><name>' + TEXT * 2 + "</name></order>",
    "xml-902": '<order id="%d" xmlns:q="OURS/orders/%d"><name>' + TEXT * 2 + "</name></order>",
    "xml-903": "<order id='%d'><Action>OURS/orders/%d</Action><name>" + TEXT * 2 + "</name></order>",
    "xml-904": "<order id='%d'>&#65;/%d<name>" + TEXT * 2 + "</name></order>",
}
"""Items of bodies. The first number is that of the item, the second one too."""
LABELS = {
    "links": "links in JSON",
    "capitals": "links in JSON, the host in capitals",
    "token-url": "`tokenUrl` in JSON, which stays",
    "text": "URLs in running text of JSON",
    "none": "JSON without a URL",
    "paths": "paths in JSON under a name that is no link",
    "xml-901": "links in XML",
    "xml-902": "namespaces in XML, which stay",
    "xml-903": "the element Action, which stays",
    "xml-904": "XML with character references",
}


def sub_filter(bench: Bench) -> list[Fact]:
    """Compare rewriting with the `sub_filter` of nginx, on bodies of 8 MiB with about 6,000 URLs per MiB."""
    stage = bench.stage
    upstream = f"http://localhost:{stage.words['UPSTREAM']}/ic"
    for name, item in CASES.items():
        (stage.folder / "www" / "ic" / name).write_text(_body(item, upstream))
    routes = [route("renamed", "/renamed/", f"{upstream}/")]
    with gateway(stage, "sub-filter-gateway", routes=routes) as running, _nginx(stage) as (process, url):
        for name in CASES:
            _verify(name, running.url, url)
        loads = {f"{name}.gateway": _load(running.pid, running.url, name) for name in CASES}
        loads |= {f"{name}.nginx": _load(process.pid, url, name) for name in CASES}
        found = bench.turns(loads)
    return [fact for name in CASES for fact in _facts(name, found[f"{name}.gateway"], found[f"{name}.nginx"])]


@contextmanager
def _nginx(stage: Stage) -> Iterator[tuple[Process, str]]:
    port = free_port()
    file = stage.write("sub-filter.conf", CONFIG, PORT=port)
    with stage.running(NGINX, file, port) as process:
        yield process, f"http://127.0.0.1:{port}"


def _body(item: str, upstream: str) -> str:
    texts, size = [], 0
    for number in count():
        text = item % (number, number)
        text = text.replace("OURS", upstream).replace("UPPER", upstream.replace("localhost", "LOCALHOST"))
        texts.append(text)
        size += len(text)
        if size >= MIBS << 20:
            break
    whole = "".join(texts)
    return f"[{whole}0]" if item.startswith("{") else f"<orders>{whole}</orders>"


def _path(name: str) -> str:
    return f"/renamed/{name}" + ("/1" if name.startswith("xml") else "")


def _verify(name: str, *urls: str) -> None:
    for url in urls:
        status, body = ask(url + _path(name))
        is_rewritten = f"{url}/renamed/orders".encode() in body
        if status != 200 or (name in {"links", "capitals", "text", "xml-901"} and not is_rewritten):
            raise BenchFailed(f"{name}: {url} does not rewrite it")


def _load(pid: int, url: str, name: str) -> Callable[[float], Figures]:
    return lambda seconds: measure_whole(pid, partial(fetch, url + _path(name)), seconds)


def _facts(name: str, ours: Figures, nginx: Figures) -> Iterator[Fact]:
    for peer, figures in (("gateway", ours), ("nginx", nginx)):
        cost = figures.cpu_us / 1000 / MIBS
        yield Fact(f"sub_filter.{name}.{peer}_ms", f"{LABELS[name]}: {peer}, CPU per MiB", cost, "ms")
    yield Fact(f"sub_filter.{name}.ratio", f"{LABELS[name]}: gateway / nginx", ours.cpu_us / nginx.cpu_us)
