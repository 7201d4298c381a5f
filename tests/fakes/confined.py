"""A real HTTP client that can reach one origin only: a request to another address fails.

`Confined` is a session of `requests`, as zeep uses it. `Portal` is another server, which redirects to the URL in its
query. `Balancer` ends TLS in front of the gateway, with another host name and path.
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
    """Reaches `origin` through `adapter`, and the portal; any other address raises `requests.exceptions.InvalidSchema`.

    `responses` are those of all requests that were not streamed.
    """

    def __init__(self, origin: str, *, adapter: BaseAdapter | None = None) -> None:
        super().__init__()
        self.trust_env = False
        self.adapters.clear()
        self.mount(f"{origin}/", adapter or HTTPAdapter())
        self.mount(PORTAL, Portal())
        self.responses: list[requests.Response] = []
        self.hooks["response"].append(self._note)

    def request(self, *arguments: Any, **options: Any) -> requests.Response:
        """Send a request with a time limit."""
        return super().request(*arguments, **{**options, "timeout": TIME_LIMIT})

    def received_bytes(self) -> bytes:
        """Return all heads and bodies so far, without the framing of chunks."""
        heads = (
            "".join(f"{name}: {value}\r\n" for name, value in response.headers.items()) for response in self.responses
        )
        return b"\r\n".join(
            head.encode() + response.content for head, response in zip(heads, self.responses, strict=True)
        )

    def _note(self, response: requests.Response, *_: Any, stream: bool = False, **__: Any) -> None:
        if not stream:
            self.responses.append(response)


class Portal(BaseAdapter):
    """Redirects each request, with its method and body, to the URL in `to` (307)."""

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        response = requests.Response()
        response.status_code = 307
        response.headers["Location"] = target(str(request.url))
        response.url, response.request, response._content = str(request.url), request, b""
        return response

    def close(self) -> None:
        """Do nothing: there are no connections."""


class Balancer(HTTPAdapter):
    """Forwards requests for `outside`, an https URL with a path, to `inside`, with the Host of `outside`."""

    def __init__(self, outside: str, inside: str) -> None:
        super().__init__()
        self._outside, self._inside = outside, inside

    def send(self, request: requests.PreparedRequest, *arguments: Any, **options: Any) -> requests.Response:
        url = str(request.url)
        within = request.copy()
        within.url = url.replace(self._outside, self._inside, 1)
        within.headers["Host"] = urlsplit(self._outside).netloc
        response = super().send(within, *arguments, **options)
        response.url = url
        return response


def target(url: str) -> str:
    """Return the URL to which the portal redirects; any other URL is returned unchanged."""
    return parse_qs(urlsplit(url).query)["to"][0] if url.startswith(PORTAL) else url


def mentions_host(data: bytes, host: str) -> bool:
    """Return whether the bytes contain the host in any encoding: letter case, XML references, JSON escapes, percent."""
    text = data.decode("utf-8", "replace")
    seen = [text]
    for _ in range(DEPTH):
        text = unquote(html.unescape(re.sub(r"\\u00([0-9a-fA-F]{2})", r"%\1", text)))
        seen.append(text)
    return any(host.lower() in text.lower() for text in seen)
