"""A real HTTP client that can reach one origin only: whoever is given an address elsewhere fails with it.

`Confined` is a session of `requests`, as zeep uses it. `Portal` stands for another server whose pages lead on to what
their query names; `Balancer` for one that ends TLS in front of the gateway, under a name and a path of its own.
"""

import html
import re
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import requests
from requests.adapters import BaseAdapter, HTTPAdapter

from tests.fakes.waiting import TIME_LIMIT

PORTAL = "https://portal.example/open"
DEPTH = 3  # spellings within one another


class Confined(requests.Session):
    """Reaches `origin` through `way`, and the portal; any other address raises `requests.exceptions.InvalidSchema`.

    `replies` are those of all requests that were not streamed.
    """

    def __init__(self, origin: str, *, way: BaseAdapter | None = None) -> None:
        super().__init__()
        self.trust_env = False
        self.adapters.clear()
        self.mount(f"{origin}/", way or HTTPAdapter())
        self.mount(PORTAL, Portal())
        self.replies: list[requests.Response] = []
        self.hooks["response"].append(self._note)

    def request(self, *arguments: Any, **options: Any) -> requests.Response:
        """As it is, but never without a limit of time."""
        return super().request(*arguments, **{**options, "timeout": TIME_LIMIT})

    def heard(self) -> bytes:
        """All that was read so far: heads and bodies, as they came but for their chunks."""
        heads = ("".join(f"{name}: {value}\r\n" for name, value in reply.headers.items()) for reply in self.replies)
        return b"\r\n".join(head.encode() + reply.content for head, reply in zip(heads, self.replies, strict=True))

    def _note(self, reply: requests.Response, *_: Any, stream: bool = False, **__: Any) -> None:
        if not stream:
            self.replies.append(reply)


class Portal(BaseAdapter):
    """Sends whoever asks on to the URL in `to`, with what they said (307)."""

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        reply = requests.Response()
        reply.status_code = 307
        reply.headers["Location"] = target(str(request.url))
        reply.url, reply.request, reply._content = str(request.url), request, b""
        return reply

    def close(self) -> None:
        """There is nothing to close."""


class Balancer(HTTPAdapter):
    """Gives what is asked of `outside`, an https URL with a path, to `inside`, under the Host of `outside`."""

    def __init__(self, outside: str, inside: str) -> None:
        super().__init__()
        self._outside, self._inside = outside, inside

    def send(self, request: requests.PreparedRequest, *arguments: Any, **options: Any) -> requests.Response:
        asked = str(request.url)
        within = request.copy()
        within.url = asked.replace(self._outside, self._inside, 1)
        within.headers["Host"] = urlsplit(self._outside).netloc
        reply = super().send(within, *arguments, **options)
        reply.url = asked
        return reply


def target(url: str) -> str:
    """What a URL of the portal leads to; any other URL as it is."""
    return parse_qs(urlsplit(url).query)["to"][0] if url.startswith(PORTAL) else url


def names(heard: bytes, host: str) -> bool:
    """Whether these bytes say that name in any spelling: letter case, references of XML, escapes of JSON, percent."""
    text = heard.decode("utf-8", "replace")
    seen = [text]
    for _ in range(DEPTH):
        text = unquote(html.unescape(re.sub(r"\\u00([0-9a-fA-F]{2})", r"%\1", text)))
        seen.append(text)
    return any(host.lower() in one.lower() for one in seen)
