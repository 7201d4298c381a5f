"""Spelling: how the OIC instance writes its own URLs. Pure.

OIC writes them with and without `:443`, over `http` where it is called over `https`, in any letter case [C]; others who
write them for it escape slashes in JSON (RFC 8259 section 7), write characters of XML by number, or put a URL into the
query of another [C]. Which of these is used is a switch.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from gateway.sandbox.responses import SandboxResponse
from gateway.sandbox.switches import UrlStyle

_PORTS = {"http": 80, "https": 443}
_SWAPPED = {"http": "https", "https": "http"}
_NAMING = frozenset({"Location", "Content-Location", "Link"})
_KINDS = ("json", "xml")


@dataclass(frozen=True, slots=True)
class Spelling:
    """The style of one instance, and its origins: that of the runtime host first, then that of the design host."""

    style: UrlStyle
    origins: tuple[str, ...]

    def text(self, text: str, kind: str) -> str:
        """The text with every URL of the instance in its style; `kind` is `json`, `xml` or anything else."""
        if self.style == "plain":
            return text
        own = "|".join(re.escape(origin) for origin in self.origins)
        return re.sub(rf"(?:{own})/ic/[^\s\"'<>]*", lambda found: _STYLES[self.style](found[0], kind), text)

    def reply(self, reply: SandboxResponse) -> SandboxResponse:
        """The reply with the URLs in its head and its body in the style; a body that is a stream stays as it is."""
        reply.headers = [
            (name, self.text(value, "head") if name in _NAMING else value) for name, value in reply.headers
        ]
        if isinstance(reply.body, bytes) and reply.is_text:
            kind = next((kind for kind in _KINDS if kind in reply.media_type), "text")
            reply.body = self.text(reply.body.decode(), kind).encode()
        return reply


def _with_port(url: str, _kind: str) -> str:
    parts = urlsplit(url)
    netloc = parts.netloc if parts.port else f"{parts.netloc}:{_PORTS[parts.scheme]}"
    return parts._replace(netloc=netloc).geturl()


def _swapped(url: str, _kind: str) -> str:
    scheme, rest = url.split(":", 1)
    return f"{_SWAPPED[scheme]}:{rest}"


def _upper(url: str, _kind: str) -> str:
    end = url.index("/ic/")
    return url[:end].upper() + url[end:]


def _escaped(url: str, kind: str) -> str:
    return url.replace("/", "\\/") if kind == "json" else url


def _by_number(url: str, kind: str) -> str:
    return url.replace(":", "&#58;").replace("/", "&#x2F;") if kind == "xml" else url


def _in_query(url: str, _kind: str) -> str:
    return f"https://portal.example/open?to={quote(url, safe='')}"


_STYLES: dict[UrlStyle, Callable[[str, str], str]] = {
    "port": _with_port,
    "http": _swapped,
    "upper": _upper,
    "escaped": _escaped,
    "entities": _by_number,
    "percent": _in_query,
}
