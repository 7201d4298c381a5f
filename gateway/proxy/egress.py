"""Egress proxies: what the environment says of them, and one whose password is read each time that it is needed."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from urllib import request
from urllib.parse import unquote, urlsplit

from gateway.proxy.dialing import EgressProxy, basic

PORT = 3128


@dataclass(frozen=True, slots=True)
class Way:
    """Out through a proxy: `password` gives the password of now, and may raise OSError."""

    host: str
    port: int
    username: str
    password: Callable[[], str]

    @classmethod
    def to(cls, url: str, username: str, password: Callable[[], str]) -> "Way":
        """By the proxy's URL."""
        parts = urlsplit(url)
        return cls(parts.hostname or "", parts.port or PORT, username, password)

    @property
    def url(self) -> str:
        """The proxy's URL, with nothing secret."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def authorization(self) -> str:
        """The Proxy-Authorization of now; empty where there is no user. Raises OSError as `password` does."""
        return basic(self.username, self.password()) if self.username else ""

    def proxy(self) -> EgressProxy:
        """The proxy with the password of now. Raises OSError as `password` does."""
        return EgressProxy(self.host, self.port, self.authorization())


def way_of(url: str, proxies: dict[str, str]) -> Way | None:
    """What HTTPS_PROXY and NO_PROXY, as urllib reads them, say of an https URL."""
    parts = urlsplit(url)
    found = proxies.get("https")
    if parts.scheme != "https" or not found or _bypassed(parts.netloc, proxies):
        return None
    # As curl reads it: the scheme may be missing, user and password are percent-encoded.
    via = urlsplit(found if "://" in found else f"http://{found}")
    return Way(via.hostname or "", via.port or PORT, unquote(via.username or ""), partial(unquote, via.password or ""))


def _bypassed(authority: str, proxies: dict[str, str]) -> bool:
    bypass: Callable[[str, dict[str, str]], bool] = request.proxy_bypass_environment  # type: ignore[attr-defined] # typeshed knows it on Windows only
    return bool(bypass(authority, proxies))
