"""What a person pasted: without what came along with it, and a URL taken apart. Pure.

No sentence here repeats what was pasted: it may be a secret that was meant for another question.
"""

import ipaddress
import re
from dataclasses import dataclass, replace
from urllib.parse import SplitResult, urlsplit

from gateway.config.typography import UNSEEN
from gateway.config.values import HOST_PATTERN, is_local
from gateway.oic.urls import is_oracle_host

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_PORTS = {"https": 443, "http": 80}
# What pages and mails put around a text, and what of it no screen shows.
_UNSEEN = dict.fromkeys(map(ord, UNSEEN))
_QUOTES = "\"'`<>\u201c\u201d\u201e\u2018\u2019\u201a\u00ab\u00bb"


class InvalidInput(ValueError):
    """What was pasted is not what was asked for; the message reads "what is wrong; what to do", without the value."""


@dataclass(frozen=True, slots=True)
class Corrected:
    """A value as it can be used. `changes` say what is different from what was pasted, and why; `notes` what else is to
    be known of it. One line each.
    """

    value: str
    changes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PastedUrl:
    """A URL taken apart: scheme and host in lower case, no port where it is the scheme's own, the path as written."""

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
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port is None else f":{self.port}")


def bare(text: str) -> Corrected:
    """The text without white space, quotes and brackets around it, and without what no screen shows.

    Raises Uncorrectable when nothing is left.
    """
    seen = text.translate(_UNSEEN)
    inner = _without(seen.strip(), _QUOTES)
    found = (
        (seen != text, "took out characters that no screen shows"),
        (inner != seen.strip(), "took away the quotes around it"),
        (seen != seen.strip(), "took away the white space around it"),
    )
    if not inner:
        raise InvalidInput("is empty; write it")
    return Corrected(inner, tuple(change for is_so, change in found if is_so))


def read_url(text: str) -> tuple[PastedUrl, tuple[str, ...]]:
    """The URL that was pasted, and what was changed in it; its path, query and fragment are left to the caller.

    Raises Uncorrectable for what is no http or https URL, and for one with a user or password in it.
    """
    pasted = bare(text)
    if re.search(r"\s", pasted.value):
        raise InvalidInput("has white space in it; copy it anew, alone and whole")
    changes = list(pasted.changes)
    whole = _with_scheme(pasted.value, changes)
    parts = _split(whole)
    url = PastedUrl(parts.scheme, parts.hostname or "", parts.port, parts.path, parts.query, "#" in whole)
    if url.host not in parts.netloc or parts.scheme != whole[: len(parts.scheme)]:
        changes.append("wrote the host in small letters")
    if url.is_oracle and url.scheme == "http":
        changes.append("wrote https for http: Oracle speaks TLS only")
        url = replace(url, scheme="https", port=None if url.port == 80 else url.port)
    if url.port == _PORTS[url.scheme]:
        changes.append(f"left off `:{url.port}`, which {url.scheme} means anyway")
        url = replace(url, port=None)
    return url, tuple(changes)


def _without(text: str, letters: str) -> str:
    """Quotes may stand around white space, and that around quotes."""
    inner = [place for place, letter in enumerate(text) if letter not in letters and not letter.isspace()]
    return text[inner[0] : inner[-1] + 1] if inner else ""


def _with_scheme(text: str, changes: list[str]) -> str:
    match = _SCHEME.match(text)
    if match is None:
        rest = text.removeprefix("//")
        host = re.split(r"[/?#]", rest, maxsplit=1)[0]
        scheme = "http" if is_local(re.sub(r":[0-9]*\Z", "", host).strip("[]")) else "https"
        changes.append(f"put {scheme}:// before it")
        return f"{scheme}://{rest}"
    if match[1].lower() not in _PORTS:
        raise InvalidInput("is not an http or https URL; write it like https://host/path")
    return text


def _split(text: str) -> SplitResult:
    """Raises Uncorrectable for what the loader would refuse in any URL."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise InvalidInput("is not a URL; write it like https://host/path") from None
    if parts.username is not None or parts.password is not None:
        raise InvalidInput("carries a user or password; copy the URL without it")
    if port == 0 or not _is_host(parts.hostname or ""):
        raise InvalidInput("names no valid host; write it like https://host/path")
    if not re.fullmatch(r"[!-~]+", text):
        raise InvalidInput("has a character that URLs do not have; copy it anew")
    return parts


def _is_host(host: str) -> bool:
    if ":" in host:
        try:
            return ipaddress.IPv6Address(host).scope_id is None
        except ValueError:
            return False
    return re.fullmatch(HOST_PATTERN, host) is not None
