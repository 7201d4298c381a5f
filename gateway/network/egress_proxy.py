"""Egress proxies: reads proxy URLs, and selects the proxy of a URL by the environment, as curl does. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import unquote, urlsplit

PORTS = {"http": 3128, "https": 443}
"""The default port, by the scheme of a proxy's URL."""
PROXY_VARIABLES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
"""The first that is not empty names the proxy of https URLs."""
EXEMPT_VARIABLES = ("no_proxy", "NO_PROXY")

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30})://")
_SEPARATORS = re.compile(r"[ \t,]+")
_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
_DECIMAL = re.compile(r"[0-9]{1,3}")


class UnusableProxy(ValueError):
    """A proxy that cannot be used: `what` is wrong, and the `remedy`; neither shows the URL."""

    def __init__(self, what: str, remedy: str, *, variable: str = "") -> None:
        super().__init__(f"{what}; {remedy}")
        self.what = what
        self.remedy = remedy
        self.variable = variable


@dataclass(frozen=True, slots=True)
class ProxyUrl:
    """Address of a proxy, whether it uses TLS, and the gateway's login."""

    host: str
    port: int
    is_tls: bool = False
    username: str = ""
    password: str = field(default="", repr=False)


def read_proxy_url(text: str) -> ProxyUrl:
    """Read a proxy's URL; one without a scheme is http, user and password are percent-encoded. Raise UnusableProxy."""
    match = _SCHEME.match(text)
    scheme = match[1].lower() if match else "http"
    if scheme not in PORTS:
        raise UnusableProxy(f"names a proxy of the kind `{scheme}`", "name an http:// or https:// proxy")
    malformed = UnusableProxy("is not the URL of a proxy", "write it like http://proxy.corp:3128")
    try:
        parts = urlsplit(text if match else f"http://{text}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise malformed from None
    if port == 0 or re.search(r"[^!-~]", text) or not (_NAME.fullmatch(host) or _address(host)):
        raise malformed
    username, password = unquote(parts.username or ""), unquote(parts.password or "")
    if ":" in username:  # RFC 7617 section 2
        raise UnusableProxy("has a colon in its user", "use a user that Basic authentication can carry")
    return ProxyUrl(host, port or PORTS[scheme], scheme == "https", username, password)


@dataclass(frozen=True, slots=True)
class Environment:
    """The proxy settings of the environment: `variable` is the one that applies, and `url` its value."""

    variable: str = ""
    url: str = field(default="", repr=False)
    exempt: str = ""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "Environment":
        """Read the variables; an empty one counts as not set."""
        variable = next((name for name in PROXY_VARIABLES if environ.get(name)), "")
        exempt = next((environ[name] for name in EXEMPT_VARIABLES if environ.get(name)), "")
        return cls(variable, environ.get(variable, ""), exempt)

    def proxy_for(self, url: str) -> ProxyUrl | None:
        """Return the proxy for a URL; None for plain http, and for hosts that NO_PROXY exempts.

        Raise UnusableProxy with the variable's name.
        """
        parts = urlsplit(url)
        if not self.url or parts.scheme != "https" or is_exempt(parts.hostname or "", self.exempt):
            return None
        try:
            return read_proxy_url(self.url)
        except UnusableProxy as error:
            raise UnusableProxy(error.what, error.remedy, variable=self.variable) from None


def is_exempt(host: str, no_proxy: str) -> bool:
    """Return whether NO_PROXY exempts the host (a name, or an address without brackets) from the proxy.

    The rules are those of curl (lib/noproxy.c): commas or blanks separate entries; `*` alone exempts all; a name
    exempts itself and its subdomains, with or without a leading or trailing dot; an address exempts itself, with
    `/BITS` its network. An entry with a port, brackets or another wildcard matches nothing.
    """
    if not host or no_proxy == "*":
        return bool(host)
    entries = filter(None, _SEPARATORS.split(no_proxy))
    address = _address(host)
    if address is not None:
        return any(_contains(entry, address) for entry in entries)
    name = host.removesuffix(".").lower()
    return any(_matches_name(entry.lower(), name) for entry in entries)


def _matches_name(entry: str, name: str) -> bool:
    bare = entry.removesuffix(".").removeprefix(".")
    return name == bare or name.endswith(f".{bare}")


def _contains(entry: str, address: IPv4Address | IPv6Address) -> bool:
    text, slash, suffix = entry.partition("/")
    network = _address(text)
    if network is None or network.version != address.version or (slash and not _DECIMAL.fullmatch(suffix)):
        return False
    bits = int(suffix or 0) or network.max_prefixlen  # curl reads /0 as the address itself
    if bits > network.max_prefixlen:
        return False
    shift = network.max_prefixlen - bits
    return int(network) >> shift == int(address) >> shift


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
