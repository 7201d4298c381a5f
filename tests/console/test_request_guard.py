"""Hosts, origins, addresses and paths to return to: what is accepted, and what is not."""

import ipaddress

import pytest

from gateway.console.request_guard import client_address, is_own_origin, read_address, safe_return_path
from gateway.content.untrusted_text import browser_origin

URL = "https://gw.example.com"


@pytest.mark.parametrize(
    ("host", "origin", "is_configured"),
    [
        ("gw.example.com", URL, True),
        ("GW.example.com.", URL, True),
        ("gw.example.com:443", URL, True),
        ("gw.example.com:80", "http://gw.example.com", False),
        ("gw.example.com:9090", "http://gw.example.com:9090", False),
        ("localhost:9090", "http://localhost:9090", False),
        ("[::1]:9090", "http://[::1]:9090", False),
    ],
)
def test_a_host_is_that_of_the_url_or_of_the_port(host: str, origin: str, *, is_configured: bool) -> None:
    address = read_address(URL, host)
    assert address is not None
    assert (address.origin, address.is_configured) == (origin, is_configured)
    assert is_own_origin([origin], None, address)
    assert not is_own_origin([f"{origin}/"], None, address)
    assert not is_own_origin([origin.upper()], None, address)


@pytest.mark.parametrize(
    "host", ["", "a b", "user@gw.example.com", "gw.example.com:x", "gw.example.com/x", "[::1", "a,b"]
)
def test_a_malformed_host_is_none(host: str) -> None:
    assert read_address(URL, host) is None


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://GW.example.com:443/x", "https://gw.example.com"),
        ("http://[0:0::1]:80", "http://[::1]"),
        ("https://gw.example.com:8443", "https://gw.example.com:8443"),
        ("null", None),
        ("ftp://gw.example.com", None),
        ("https://", None),
    ],
)
def test_an_origin_is_written_as_browsers_do(url: str, origin: str | None) -> None:
    assert browser_origin(url) == origin


@pytest.mark.parametrize(
    "path",
    [
        "/console/",
        "/console/routes",
        "/console/calls?route=a&status=5xx",
        "/console/credentials/a..b",
        "/console/calls?since=2026-01-01T00:00:00%2B01:00",
    ],
)
def test_a_path_of_the_console_is_kept(path: str) -> None:
    assert safe_return_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "", "/", "/status", "/console", "//evil.example", "/console//evil.example", "https://evil.example",
        "/\\evil.example", "/console/\\evil.example", "/console/../status", "/console/%2e%2e/status",
        "/console/x\r\nSet-Cookie: a=b", "/console/x y", "/console/x#y", "/console/login?return=/console/",
        "/console/logout", "/consolex/", "javascript:alert(1)", "/console/é", "/console/" + "x" * 3000,
    ],
)  # fmt: skip
def test_any_other_path_leads_to_the_overview(path: str) -> None:
    assert safe_return_path(path) == "/console/"


@pytest.mark.parametrize(
    ("peer", "fields", "address"),
    [
        ("10.0.0.5", ["1.1.1.1"], "1.1.1.1"),
        ("10.0.0.5", ["6.6.6.6, 1.1.1.1"], "1.1.1.1"),
        ("10.0.0.5", ["6.6.6.6", "1.1.1.1, 10.0.0.6"], "1.1.1.1"),
        ("10.0.0.5", ["1.1.1.1, unknown"], "10.0.0.5"),
        ("10.0.0.5", [], "10.0.0.5"),
        ("10.0.0.5", ["2001:db8::1"], "2001:db8::1"),
        ("::ffff:10.0.0.5", ["1.1.1.1"], "1.1.1.1"),
        ("10.0.1.5", ["1.1.1.1"], "10.0.1.5"),
        (None, ["1.1.1.1"], None),
    ],
)
def test_only_proxies_name_the_address_of_a_person(peer: str | None, fields: list[str], address: str | None) -> None:
    assert client_address(peer, fields, [ipaddress.ip_network("10.0.0.0/24")]) == address
