"""Clean pasted text and parse pasted URLs. Pure.

No message contains the pasted text: it may be a secret that belongs to another prompt.
"""

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

import msgspec
from msgspec.structs import replace

from gateway.config.typography import INVISIBLE
from gateway.config.values import HOST_PATTERN, is_local
from gateway.content.untrusted_text import DEFAULT_PORTS, bracket_ipv6
from gateway.oic.urls import is_oracle_host

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
# Pages and mails put quotes around a text and invisible characters into it.
_INVISIBLE = dict.fromkeys(map(ord, INVISIBLE))
_QUOTES = "\"'`<>\u201c\u201d\u201e\u2018\u2019\u201a\u00ab\u00bb"


class InvalidInput(ValueError):
    """The pasted text is not the requested value. The message is "problem; remedy", without the text."""


class Corrected(msgspec.Struct, frozen=True):
    """A value that the configuration accepts. `changes` are the differences from the pasted text, with reasons. `notes`
    are possible problems, "problem; remedy". Each is one line.
    """

    value: str
    changes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class PastedUrl(msgspec.Struct, frozen=True):
    """A parsed URL: scheme and host in lower case, no port if it is the default, the path as written."""

    scheme: str
    host: str
    port: int | None
    path: str
    query: str = ""
    has_fragment: bool = False

    @property
    def is_oracle(self) -> bool:
        """True for a host of Oracle Cloud, in any realm."""
        return is_oracle_host(self.host)

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"{self.scheme}://{bracket_ipv6(self.host)}" + ("" if self.port is None else f":{self.port}")


def strip_pasted(text: str) -> Corrected:
    """Return the text without surrounding white space, quotes and brackets, and without invisible characters.

    Raise InvalidInput if nothing remains.
    """
    visible = text.translate(_INVISIBLE)
    inner = _strip_all(visible.strip(), _QUOTES)
    possible_changes = (
        (visible != text, "removed invisible characters"),
        (inner != visible.strip(), "removed the quotes around the value"),
        (visible != visible.strip(), "removed the white space around the value"),
    )
    if not inner:
        raise InvalidInput("is empty; enter a value")
    return Corrected(inner, tuple(change for is_so, change in possible_changes if is_so))


def read_url(text: str) -> tuple[PastedUrl, tuple[str, ...]]:
    """Return the pasted URL and the changes of its scheme, host and port. The caller corrects path, query and fragment.

    Raise InvalidInput for a text that is not an http or https URL, and for a URL with a user or password.
    """
    pasted = strip_pasted(text)
    if re.search(r"\s", pasted.value):
        raise InvalidInput("has white space in it; copy the URL again, whole and without other text")
    changes = list(pasted.changes)
    whole = _with_scheme(pasted.value, changes)
    parts = _split(whole)
    url = PastedUrl(parts.scheme, parts.hostname or "", parts.port, parts.path, parts.query, "#" in whole)
    if url.host not in parts.netloc or parts.scheme != whole[: len(parts.scheme)]:
        changes.append("changed the host to lower case")
    if url.is_oracle and url.scheme == "http":
        changes.append("replaced http with https: Oracle accepts only TLS")
        url = replace(url, scheme="https", port=None if url.port == 80 else url.port)
    if url.port == DEFAULT_PORTS[url.scheme]:
        changes.append(f"removed `:{url.port}`, the default port of {url.scheme}")
        url = replace(url, port=None)
    return url, tuple(changes)


def _strip_all(text: str, characters: str) -> str:
    """Strip the characters and white space, in any order: quotes may enclose white space, and white space quotes."""
    kept = [index for index, one in enumerate(text) if one not in characters and not one.isspace()]
    return text[kept[0] : kept[-1] + 1] if kept else ""


def _with_scheme(text: str, changes: list[str]) -> str:
    match = _SCHEME.match(text)
    if match is None:
        rest = text.removeprefix("//")
        host = re.split(r"[/?#]", rest, maxsplit=1)[0]
        scheme = "http" if is_local(re.sub(r":[0-9]*\Z", "", host).strip("[]")) else "https"
        changes.append(f"added {scheme}://")
        return f"{scheme}://{rest}"
    if match[1].lower() not in DEFAULT_PORTS:
        raise InvalidInput("is not an http or https URL; write it like https://host/path")
    return text


def _split(text: str) -> SplitResult:
    """Split the URL. Raise InvalidInput for a URL that the loader would reject for any key."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise InvalidInput("is not a URL; write it like https://host/path") from None
    if parts.username is not None or parts.password is not None:
        raise InvalidInput("contains a user or password; copy the URL without it")
    if port == 0 or not _is_host(parts.hostname or ""):
        raise InvalidInput("names no valid host; write it like https://host/path")
    if not re.fullmatch(r"[!-~]+", text):
        raise InvalidInput("has a character that is not allowed in URLs; copy the URL again")
    return parts


def _is_host(host: str) -> bool:
    if ":" in host:
        try:
            return ipaddress.IPv6Address(host).scope_id is None
        except ValueError:
            return False
    return re.fullmatch(HOST_PATTERN, host) is not None
