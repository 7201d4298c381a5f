"""Headers of the PROXY protocol: whole, split at every byte, malformed, too long."""

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.proxy_header import V2_LIMIT, V2_SIGNATURE, MalformedProxyHeader, ProxyHeader, read_proxy_header


def v2(family: int, block: bytes, *, command: int = 0x21, length: int | None = None) -> bytes:
    size = len(block) if length is None else length
    return V2_SIGNATURE + struct.pack("!BBH", command, family, size) + block


def block(source: str, destination: str, *ports: int) -> bytes:
    addresses = (ipaddress.ip_address(text).packed for text in (source, destination))
    return b"".join(addresses) + struct.pack("!HH", *ports)


V4 = block("192.0.2.7", "10.0.0.1", 56324, 443)
V6 = block("2001:db8::7", "fd00::1", 1, 8443)
TLV = b"\x20\x00\x05\x01\x00\x00\x00\x00\x04\x00\x02ab"
GOOD = [
    (b"PROXY TCP4 192.0.2.7 10.0.0.1 56324 443\r\n", "192.0.2.7", ("10.0.0.1", 443)),
    (b"PROXY TCP6 2001:DB8:0::7 fd00::1 1 8443\r\n", "2001:db8::7", ("fd00::1", 8443)),
    (b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:10.0.0.1 1 2\r\n", "192.0.2.7", ("10.0.0.1", 2)),
    (b"PROXY UNKNOWN\r\n", None, None),
    (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None, None),
    (v2(0x11, V4), "192.0.2.7", ("10.0.0.1", 443)),
    (v2(0x21, V6), "2001:db8::7", ("fd00::1", 8443)),
    (v2(0x11, V4 + TLV), "192.0.2.7", ("10.0.0.1", 443)),
    (v2(0x21, V6 + bytes(V2_LIMIT - 36)), "2001:db8::7", ("fd00::1", 8443)),
    (v2(0x11, V4, command=0x20), None, None),
    (v2(0x00, b"", command=0x20), None, None),
    (v2(0x00, TLV), None, None),
    (v2(0x31, bytes(216)), None, None),
]
BAD = [
    b"GET / HTTP/1.1\r\n",
    b"\x16\x03\x01",
    b"PROXY",
    b"PROXY TCP4 192.0.2.7 10.0.0.1 56324\r\n",
    b"PROXY TCP4 192.0.2.7 10.0.0.1 56324 443 \r\n",
    b"PROXY TCP4  192.0.2.7 10.0.0.1 56324 443\r\n",
    b"PROXY TCP4 2001:db8::7 10.0.0.1 1 2\r\n",
    b"PROXY TCP6 192.0.2.7 10.0.0.1 1 2\r\n",
    b"PROXY TCP6 fe80::1%eth0 fd00::1 1 2\r\n",
    b"PROXY TCP4 192.0.2.07 10.0.0.1 1 2\r\n",
    b"PROXY TCP4 192.0.2.7 10.0.0.1 01 2\r\n",
    b"PROXY TCP4 192.0.2.7 10.0.0.1 1 65536\r\n",
    b"PROXY TCP4 192.0.2.7 10.0.0.1 1 +2\r\n",
    b"PROXY TCP5 192.0.2.7 10.0.0.1 1 2\r\n",
    b"proxy TCP4 192.0.2.7 10.0.0.1 1 2\r\n",
    b"PROXY UNKNOWN" + b"x" * 100,
    v2(0x11, V4, command=0x31),
    v2(0x11, V4, command=0x22),
    v2(0x11, V4[:-1]),
    v2(0x21, V4),
    v2(0x12, V4),
    v2(0x41, V4),
    v2(0x11, b"", length=V2_LIMIT + 1),
]


@pytest.mark.parametrize(("data", "source", "destination"), GOOD)
@pytest.mark.parametrize("rest", [b"", b"GET / HTTP/1.1\r\n"])
def test_a_header_is_read_at_its_last_byte(
    data: bytes, source: str | None, destination: tuple[str, int] | None, rest: bytes
) -> None:
    for size in range(len(data)):
        assert read_proxy_header(data[:size]) is None
    assert read_proxy_header(data + rest) == ProxyHeader(len(data), source, destination)


@pytest.mark.parametrize("data", BAD)
def test_other_bytes_are_malformed(data: bytes) -> None:
    if data == b"PROXY":
        data += b"\r\n"
    with pytest.raises(MalformedProxyHeader):
        read_proxy_header(data)


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=60).map(lambda rest: b"PROXY TCP4 " + rest + b"\r\n")))
def test_no_bytes_raise_another_error(data: bytes) -> None:
    try:
        header = read_proxy_header(data)
    except MalformedProxyHeader:
        return
    assert header is None or header.size <= len(data)
