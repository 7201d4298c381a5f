"""How the OIC instance writes its responses: URLs, content coding, validators. Pure.

OIC writes its URLs with and without `:443`, with `http` if it is called over `https`, in any letter case [C]; programs
that write them for it escape slashes in JSON (RFC 8259 section 7), use character references in XML, or put a URL into
the query of another [C]. Content codings are those of RFC 9110 section 8.4. Entity tags, conditional requests and
ranges follow RFC 9110 sections 8.8.3, 13.1.2 and 14; `Content-Digest` and `Repr-Digest` RFC 9530, `Digest` RFC 3230. A
gateway that changes a body must drop or renew them. It is not confirmed that the real service sends them [U].
"""

import base64
import hashlib
import re
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from gateway.sandbox.http_messages import IncomingRequest, SandboxResponse
from gateway.sandbox.switches import ContentCoding, Switches, UrlStyle

_PORTS = {"http": 80, "https": 443}
_OTHER_SCHEMES = {"http": "https", "https": "http"}
_URL_FIELDS = frozenset({"Location", "Content-Location", "Link"})
_KINDS = ("json", "xml")


@dataclass(frozen=True, slots=True)
class UrlVariant:
    """The URL style of one instance, and its origins: the runtime host first, then the design host."""

    style: UrlStyle
    origins: tuple[str, ...]

    def rewrite(self, text: str, kind: str) -> str:
        """Return the text with every URL of the instance in its style; `kind` is `json`, `xml` or other."""
        if self.style == "plain":
            return text
        own = "|".join(re.escape(origin) for origin in self.origins)
        return re.sub(rf"(?:{own})/ic/[^\s\"'<>]*", lambda found: _STYLES[self.style](found[0], kind), text)

    def rewrite_response(self, response: SandboxResponse) -> SandboxResponse:
        """Rewrite the URLs in the head and a complete body; a streamed body stays as it is."""
        response.headers = [
            (name, self.rewrite(value, "head") if name in _URL_FIELDS else value) for name, value in response.headers
        ]
        if isinstance(response.body, bytes) and response.is_text:
            kind = next((kind for kind in _KINDS if kind in response.media_type), "text")
            response.body = self.rewrite(response.body.decode(), kind).encode()
        return response


def _with_port(url: str, _kind: str) -> str:
    parts = urlsplit(url)
    netloc = parts.netloc if parts.port else f"{parts.netloc}:{_PORTS[parts.scheme]}"
    return parts._replace(netloc=netloc).geturl()


def _with_other_scheme(url: str, _kind: str) -> str:
    scheme, rest = url.split(":", 1)
    return f"{_OTHER_SCHEMES[scheme]}:{rest}"


def _in_upper_case(url: str, _kind: str) -> str:
    end = url.index("/ic/")
    return url[:end].upper() + url[end:]


def _with_escaped_slashes(url: str, kind: str) -> str:
    return url.replace("/", "\\/") if kind == "json" else url


def _with_character_references(url: str, kind: str) -> str:
    return url.replace(":", "&#58;").replace("/", "&#x2F;") if kind == "xml" else url


def _in_other_query(url: str, _kind: str) -> str:
    return f"https://portal.example/open?to={quote(url, safe='')}"


_STYLES: dict[UrlStyle, Callable[[str, str], str]] = {
    "port": _with_port,
    "http": _with_other_scheme,
    "upper": _in_upper_case,
    "escaped": _with_escaped_slashes,
    "entities": _with_character_references,
    "percent": _in_other_query,
}


_WINDOW_BITS: dict[ContentCoding, int] = {"gzip": 31, "deflate": 15}  # `deflate` is the zlib format, section 8.4.1.2


def apply_content_coding(response: SandboxResponse, accepted: str | None, switches: Switches) -> SandboxResponse:
    """Encode the response as the switch requires, if `Accept-Encoding` allows it or the switch forces it."""
    coding = switches.content_coding
    if not coding or not response.body or not response.is_text:
        return response
    if not switches.content_coding_forced:
        response.headers.append(("Vary", "Accept-Encoding"))
        if not _allows(accepted or "", coding):
            return response
    response.headers.append(("Content-Encoding", coding))
    packer = zlib.compressobj(wbits=_WINDOW_BITS[coding])
    if isinstance(response.body, bytes):
        response.body = packer.compress(response.body) + packer.flush()
    else:
        response.body, response.length = _packed(response.body, packer), None
    return response


async def _packed(body: AsyncIterator[bytes], packer: "zlib._Compress") -> AsyncIterator[bytes]:
    async for piece in body:
        yield packer.compress(piece)
    yield packer.flush()


def _allows(accepted: str, coding: str) -> bool:
    """Return whether the field names the coding, or `*`, with a weight above zero (RFC 9110 section 12.5.3)."""
    weights: dict[str, bool] = {}
    for member in accepted.split(","):
        name, _, weight = member.partition(";")
        digits = weight.strip().lower().removeprefix("q=").strip()
        weights[name.strip().lower()] = not digits or bool(digits.strip("0."))
    return weights.get(coding, weights.get("*", False))


_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.IGNORECASE)


def add_validators(response: SandboxResponse, request: IncomingRequest) -> SandboxResponse:
    """Add the entity tag and digests of the content as sent; 304 if `If-None-Match` contains the tag."""
    if not response.has_validators or not isinstance(response.body, bytes):
        return response
    digest = hashlib.sha256(response.body).digest()
    packed = base64.b64encode(digest).decode()
    tag = f'"{digest.hex()[:32]}"'
    is_reading = request.method in {"GET", "HEAD"} and response.status == 200
    if is_reading and _names(request.headers.get("If-None-Match", ""), tag):
        kept = [field for field in response.headers if not field[0].startswith("Content-")]
        return SandboxResponse(304, [*kept, ("ETag", tag)])
    response.headers += [
        ("ETag", tag),
        ("Content-Digest", f"sha-256=:{packed}:"),
        ("Repr-Digest", f"sha-256=:{packed}:"),
        ("Digest", f"SHA-256={packed}"),
    ]
    return response


def requested_range(headers: Mapping[str, str], length: int, tag: str) -> range | None:
    """Return the requested range of bytes; None for all of them, an empty range if it cannot be satisfied.

    Several ranges, or a range of another version (`If-Range`), are answered with all (RFC 9110 section 14.2).
    """
    match = _RANGE.fullmatch(headers.get("Range", "").strip())
    if match is None or headers.get("If-Range", tag) != tag or not (match[1] or match[2]):
        return None
    if not match[1]:
        return range(max(0, length - int(match[2])), length)
    first, last = int(match[1]), int(match[2] or length)
    return None if last < first else range(first, min(last + 1, length))


def _names(condition: str, tag: str) -> bool:
    """Compare weakly (RFC 9110 section 8.8.3.2)."""
    tags = [one.strip().removeprefix("W/") for one in condition.split(",")]
    return tag in tags or tags == ["*"]
