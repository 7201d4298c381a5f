"""Read PROXY protocol headers, versions 1 and 2 (haproxy.org, doc/proxy-protocol.txt). Pure."""

import ipaddress
import re
import struct
from typing import NamedTuple

from gateway.content.untrusted_text import read_ip_address

V1_PREFIX = b"PROXY "
V1_LIMIT = 107
"""Maximum bytes of a header of version 1, with its line end."""
V2_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V2_LIMIT = 4096
"""Maximum bytes after the fixed part of version 2: addresses, and TLVs, which are skipped."""
_FIXED = struct.Struct("!12sBBH")
_ADDRESS = re.compile(rb"[0-9A-Fa-f.:]{2,45}")
_PORT = re.compile(rb"0|[1-9][0-9]{0,4}")
_LOCAL, _PROXY = 0x20, 0x21  # version 2, and the command
# Bytes of an address, by family and transport of version 2. Others contain no address: unspecified, and unix sockets.
_WIDTHS = {0x11: 4, 0x21: 16}
_WITHOUT_ADDRESS = frozenset({0x00, 0x31, 0x32})


class MalformedProxyHeader(Exception):
    """The bytes are not a PROXY protocol header."""


class ProxyHeader(NamedTuple):
    """A header of `size` bytes. `source` is the address of the caller, `destination` the address and port that it
    connected to. Both are None if the header has no addresses (UNKNOWN, LOCAL): those of the connection apply.
    """

    size: int
    source: str | None = None
    destination: tuple[str, int] | None = None


def read_proxy_header(data: bytes) -> ProxyHeader | None:
    """Return the header that `data` begins with, None while it is incomplete. Raise MalformedProxyHeader."""
    if data.startswith(V2_SIGNATURE[: len(data)]):
        return _read_v2(data)
    if data.startswith(V1_PREFIX[: len(data)]):
        return _read_v1(data)
    raise MalformedProxyHeader("there is no PROXY protocol header")


def _read_v1(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\r\n", 0, V1_LIMIT)
    if end < 0:
        if len(data) >= V1_LIMIT:
            raise MalformedProxyHeader("the PROXY protocol header has no end")
        return None
    words = data[:end].split(b" ")
    if words[1:2] == [b"UNKNOWN"]:
        return ProxyHeader(end + 2)
    version = {b"TCP4": 4, b"TCP6": 6}.get(words[1])
    if version is None or len(words) != 6:
        raise MalformedProxyHeader("the PROXY protocol header is malformed")
    source, destination = (_read_address(version, word) for word in words[2:4])
    _, port = (_read_port(word) for word in words[4:])
    return ProxyHeader(end + 2, source, (destination, port))


def _read_v2(data: bytes) -> ProxyHeader | None:
    if len(data) < _FIXED.size:
        return None
    _, command, family, length = _FIXED.unpack_from(data)
    if command not in {_LOCAL, _PROXY}:
        raise MalformedProxyHeader("the PROXY protocol header has an unknown version or command")
    if length > V2_LIMIT:
        raise MalformedProxyHeader(f"the PROXY protocol header is longer than {V2_LIMIT} bytes")
    size = _FIXED.size + length
    if len(data) < size:
        return None
    if command == _LOCAL or family in _WITHOUT_ADDRESS:
        return ProxyHeader(size)
    width = _WIDTHS.get(family, V2_LIMIT)
    if length < 2 * width + 4:
        raise MalformedProxyHeader("the PROXY protocol header has an unknown family or no address")
    block = data[_FIXED.size :]
    source, destination = (_format_address(block[start : start + width]) for start in (0, width))
    return ProxyHeader(size, source, (destination, int.from_bytes(block[2 * width + 2 : 2 * width + 4], "big")))


def _read_address(version: int, word: bytes) -> str:
    address = read_ip_address(word.decode("latin-1"))
    if address is None or _ADDRESS.fullmatch(word) is None or (b":" in word) is (version == 4):
        raise MalformedProxyHeader("the PROXY protocol header has a malformed address")
    return str(address)


def _format_address(packed: bytes) -> str:
    """Return an address as text, an IPv4-mapped one as IPv4."""
    address = ipaddress.ip_address(packed)
    return str(getattr(address, "ipv4_mapped", None) or address)


def _read_port(word: bytes) -> int:
    if _PORT.fullmatch(word) is None or int(word) > 65535:
        raise MalformedProxyHeader("the PROXY protocol header has a malformed port")
    return int(word)
