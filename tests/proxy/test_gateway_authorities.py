"""Which absolute-form targets name the gateway itself: authority x port x listen address x `hosts` x `public_url`."""

import pytest

from gateway.config.resolved import configured_host
from gateway.http.local_address import LocalAddress
from gateway.proxy.gateway_authorities import GatewayAuthorities

LOCAL = ("10.0.0.5", 8080)
V6 = ("fd00::5", 8080)


def includes(
    authority: str,
    local: tuple[str, int] | None = LOCAL,
    *,
    listen: str = "10.0.0.5:8080",
    hosts: tuple[str, ...] = (),
    public_url: str | None = None,
    scheme: str = "http",
) -> bool:
    reached = None if local is None else LocalAddress(*local, configured_host(listen))
    return GatewayAuthorities(hosts=hosts, public_url=public_url).contains(scheme, authority, reached)


LOOPBACK = ["localhost", "LOCALHOST", "localhost.", "127.0.0.1", "127.8.9.1", "[::1]", "[0:0::1]", "[::ffff:127.0.0.1]"]
FOREIGN = [
    *("erp", "files.internal", "example.com", "10.9.8.7", "10.0.0.50", "[fd00::6]", "[::ffff:10.0.0.6]", "0.0.0.0"),
    *("localhost.example.com", "xlocalhost", "127.1", "2130706433", "0x7f.0.0.1", "127.0.0.01", "[::1%25lo]", "[::]"),
    *("user@localhost", "a:b@127.0.0.1", "", "[]", "[localhost]", "[127.0.0.1]", "local%68ost", "gw.example.com"),
]


@pytest.mark.parametrize("host", LOOPBACK)
@pytest.mark.parametrize("local", [LOCAL, V6, ("127.0.0.1", 8080), ("::ffff:10.0.0.5", 8080)])
def test_loopback_needs_the_port_of_the_listener(host: str, local: tuple[str, int]) -> None:
    assert includes(f"{host}:8080", local)
    assert includes(f"{host}:08080", local)
    for port in ("", ":", ":80", ":443", ":8081", ":0", ":18080", ":80800"):
        assert not includes(f"{host}{port}", local)


@pytest.mark.parametrize("host", FOREIGN)
@pytest.mark.parametrize("port", ["", ":", ":80", ":443", ":8080", ":1234"])
def test_a_foreign_authority_is_never_the_gateway(host: str, port: str) -> None:
    assert not includes(f"{host}{port}")
    assert not includes(f"{host}{port}", None, listen="unix:/run/gw.sock")


@pytest.mark.parametrize(
    ("local", "host"),
    [
        (LOCAL, "10.0.0.5"),
        (LOCAL, "[::ffff:10.0.0.5]"),
        (("::ffff:10.0.0.5", 8080), "10.0.0.5"),
        (V6, "[fd00::5]"),
        (V6, "[FD00:0:0::5]"),
        (("fe80::1%eth0", 8080), "[fe80::1]"),
    ],
)
@pytest.mark.parametrize("listen", ["0.0.0.0:8080", "[::]:8080", "0.0.0.0:0"])
def test_the_address_that_was_connected_to_counts(listen: str, local: tuple[str, int], host: str) -> None:
    assert includes(f"{host}:8080", local, listen=listen)
    assert not includes(host, local, listen=listen)
    assert not includes(f"{host}:80", local, listen=listen)


def test_the_configured_listen_address_counts_too() -> None:
    assert includes("0.0.0.0:8080", listen="0.0.0.0:8080")
    assert includes("[::]:8080", listen="[::]:8080")
    assert includes("GW.corp.:8080", listen="gw.corp:8080")
    assert not includes("gw.corp", listen="gw.corp:8080")
    assert not includes("0.0.0.0:8080", listen="10.0.0.5:8080")


def test_a_listener_on_port_80_needs_no_port() -> None:
    local = ("10.0.0.5", 80)
    assert includes("10.0.0.5", local)
    assert includes("localhost:80", local)
    assert not includes("erp", local)
    assert not includes("localhost", local, scheme="https")


@pytest.mark.parametrize("local", [LOCAL, None])
def test_a_listed_host_has_the_default_port_or_the_listeners(local: tuple[str, int] | None) -> None:
    hosts = ("gw.example.com", "GW2", "10.7.7.7")
    for host in ("gw.example.com", "GW.Example.COM.", "gw2", "10.7.7.7"):
        assert includes(host, local, hosts=hosts)
        assert includes(f"{host}:80", local, hosts=hosts)
        assert includes(f"{host}:443", local, hosts=hosts, scheme="https")
        assert includes(f"{host}:8080", local, hosts=hosts) is (local is not None)
        assert not includes(f"{host}:3000", local, hosts=hosts)
    assert not includes("other.example.com", local, hosts=hosts)


@pytest.mark.parametrize("local", [LOCAL, None])
def test_the_public_url_has_its_own_port_only(local: tuple[str, int] | None) -> None:
    for url in ("https://gw.example.com", "https://GW.example.com:443/oic"):
        assert includes("gw.example.com", local, public_url=url)
        assert includes("gw.example.com:443", local, public_url=url)
        assert includes("gw.example.com", local, public_url=url, scheme="https")
        assert not includes("gw.example.com:8080", local, public_url=url)
    assert includes("gw:18080", local, public_url="http://gw:18080")
    assert not includes("gw", local, public_url="http://gw:18080")
    assert not includes("gw:8080", local, public_url="http://gw:18080")


def test_a_unix_socket_has_no_port_of_its_own() -> None:
    for authority in ("localhost", "localhost:80", "127.0.0.1", "[::1]:8080"):
        assert not includes(authority, None, listen="unix:/run/gw.sock")
