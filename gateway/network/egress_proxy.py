"""Read proxy URLs, and select the egress proxy of a URL by environment variables, as curl does. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import unquote, urlsplit

DEFAULT_PROXY_PORTS = {"http": 3128, "https": 443}
"""The default port of a proxy, by the scheme of its URL."""
PROXY_VARIABLES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
"""The first of these that is not empty contains the proxy of https URLs."""
NO_PROXY_VARIABLES = ("no_proxy", "NO_PROXY")

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30})://")
_SEPARATORS = re.compile(r"[ \t,]+")
_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
_DECIMAL = re.compile(r"[0-9]{1,3}")


class UnusableProxy(ValueError):
    """A proxy cannot be used: the `problem` and its `remedy`. Neither shows the URL, which may contain a password."""

    def __init__(self, problem: str, remedy: str, *, variable: str = "") -> None:
        super().__init__(f"{problem}; {remedy}")
        self.problem = problem
        self.remedy = remedy
        self.variable = variable


@dataclass(frozen=True, slots=True)
class ProxyUrl:
    """The address of a proxy, whether it uses TLS, and the gateway's credentials for it."""

    host: str
    port: int
    is_tls: bool = False
    username: str = ""
    password: str = field(default="", repr=False)


def read_proxy_url(text: str) -> ProxyUrl:
    """Read a proxy URL. The default scheme is http; user and password are percent-encoded. Raise UnusableProxy."""
    match = _SCHEME.match(text)
    scheme = match[1].lower() if match else "http"
    if scheme not in DEFAULT_PROXY_PORTS:
        raise UnusableProxy(f"has the unsupported scheme `{scheme}`", "use an http:// or https:// proxy")
    malformed = UnusableProxy("is not a proxy URL", "write it like http://proxy.corp:3128")
    try:
        parts = urlsplit(text if match else f"http://{text}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise malformed from None
    if port == 0 or re.search(r"[^!-~]", text) or not (_HOST_NAME.fullmatch(host) or _read_address(host)):
        raise malformed
    username, password = unquote(parts.username or ""), unquote(parts.password or "")
    if ":" in username:  # RFC 7617 section 2
        raise UnusableProxy(
            "has a colon in its user name", "use a user name without a colon, as Basic authentication requires"
        )
    return ProxyUrl(host, port or DEFAULT_PROXY_PORTS[scheme], scheme == "https", username, password)


@dataclass(frozen=True, slots=True)
class ProxyEnvironment:
    """The proxy settings in environment variables: `url` is the value of `variable`, `exempt` that of NO_PROXY."""

    variable: str = ""
    url: str = field(default="", repr=False)
    exempt: str = ""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "ProxyEnvironment":
        """Read the variables. An empty variable counts as not set."""
        variable = next((name for name in PROXY_VARIABLES if environ.get(name)), "")
        exempt = next((environ[name] for name in NO_PROXY_VARIABLES if environ.get(name)), "")
        return cls(variable, environ.get(variable, ""), exempt)

    def proxy_for(self, url: str) -> ProxyUrl | None:
        """Return the proxy for a URL; None for plain http and for hosts that NO_PROXY exempts.

        Raise UnusableProxy with the name of the variable.
        """
        parts = urlsplit(url)
        if not self.url or parts.scheme != "https" or is_exempt(parts.hostname or "", self.exempt):
            return None
        try:
            return read_proxy_url(self.url)
        except UnusableProxy as error:
            raise UnusableProxy(error.problem, error.remedy, variable=self.variable) from None


def is_exempt(host: str, no_proxy: str) -> bool:
    """Return whether NO_PROXY exempts the host (a name, or an address without brackets) from the proxy.

    The rules are those of curl (lib/noproxy.c). Commas or white space separate entries. `*` alone exempts all hosts. A
    name exempts itself and its subdomains, with or without a leading or trailing dot. An address exempts itself;
    `ADDRESS/BITS` exempts a network. An entry with a port, brackets or another wildcard matches nothing.
    """
    if not host or no_proxy == "*":
        return bool(host)
    entries = filter(None, _SEPARATORS.split(no_proxy))
    address = _read_address(host)
    if address is not None:
        return any(_network_contains(entry, address) for entry in entries)
    name = host.removesuffix(".").lower()
    return any(_matches_name(entry.lower(), name) for entry in entries)


def _matches_name(entry: str, name: str) -> bool:
    bare = entry.removesuffix(".").removeprefix(".")
    return name == bare or name.endswith(f".{bare}")


def _network_contains(entry: str, address: IPv4Address | IPv6Address) -> bool:
    text, slash, suffix = entry.partition("/")
    network = _read_address(text)
    if network is None or network.version != address.version or (slash and not _DECIMAL.fullmatch(suffix)):
        return False
    bits = int(suffix or 0) or network.max_prefixlen  # curl reads /0 as the address itself
    if bits > network.max_prefixlen:
        return False
    shift = network.max_prefixlen - bits
    return int(network) >> shift == int(address) >> shift


def _read_address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
