"""Who may call: the contract's rules of address, Host and browser, row by row."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest, Forbidden
from gateway.proxy.admission import Admission, check_browser

OPEN = Admission([ip_network("10.0.0.0/8"), ip_network("fd00::/8")], ["gw.example.com", "Other.Example."])
CLOSED = Admission([], [])


@pytest.mark.parametrize(
    ("address", "accepted"),
    [
        (None, True),
        ("", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.255.0.1", True),
        ("::ffff:10.0.0.1", True),
        ("fd00::1", True),
        ("fd00::1%eth0", True),
        ("11.0.0.1", False),
        ("::ffff:11.0.0.1", False),
        ("fe80::1%eth0", False),
        ("2001:db8::1", False),
        ("0.0.0.0", False),
    ],
)
def test_loopback_may_always_call_and_the_networks_of_allow(address: str | None, *, accepted: bool) -> None:
    assert OPEN.accepts_address(address) is accepted


@pytest.mark.parametrize("address", ["10.0.0.1", "fd00::1", "192.168.0.1", "::ffff:10.0.0.1"])
def test_without_allow_only_local_callers_may_call(address: str) -> None:
    assert not CLOSED.accepts_address(address)


def verdict(host: str | None, admission: Admission = OPEN, *, required: bool = True) -> str:
    try:
        admission.check_host(None if host is None else host.encode("latin-1"), required=required)
    except (BadRequest, Forbidden) as error:
        return error.code
    return "ok"


@pytest.mark.parametrize(
    ("rule", "host"),
    [
        ("localhost", "localhost"), ("localhost", "LOCALHOST:8080"), ("localhost", "localhost."),
        ("localhost", "localhost:"), ("localhost", "a.localhost"), ("an IP literal", "127.0.0.1"),
        ("an IP literal", "203.0.113.7:80"), ("an IP literal", "[::1]"), ("an IP literal", "[2001:DB8::1]:8080"),
        ("an IP literal", "[::ffff:10.0.0.1]"), ("a name of one label", "gateway"),
        ("a name of one label", "oic_gateway-1:8080"), ("a name of one label", "gateway."),
        (".local", "printer.local"), (".local", "PRINTER.LOCAL.:80"), (".internal", "gw.corp.internal"),
        (".svc", "gw.team.svc"), (".cluster.local", "gw.team.svc.cluster.local"), ("listed", "gw.example.com"),
        ("listed", "GW.Example.COM:8080"), ("listed", "gw.example.com."), ("listed", "other.example"),
    ],
)  # fmt: skip
def test_a_host_that_public_dns_cannot_point_here_is_accepted(rule: str, host: str) -> None:
    assert verdict(host) == "ok", rule


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:8080", "gw.example.com.evil.example", "xgw.example.com", "example.com",
        "127.0.0.1.nip.io", "127.0.0.1.evil.example:80", "localhost.evil.example", "local.evil.example",
        "evil.locals", "evilinternal.example", "127.1", "0x7f.0.0.1", "127.0.0.01", "a.b", "1.2.3.4.5", "256.0.0.1",
    ],
)  # fmt: skip
def test_a_host_that_public_dns_could_point_here_is_rejected(host: str) -> None:
    assert verdict(host) == "forbidden"


@pytest.mark.parametrize(
    "host",
    [
        "", " ", ":80", ".", "..", ".local", "localhost, evil.example", "localhost localhost", "user@localhost",
        "localhost:80:80", "localhost:x", "localhost:-1", "localhost:123456", "http://localhost", "localhost/x",
        "localhost?x", "localhost#x", "localhost\\x", "[::1", "::1", "[::1]x", "[]", "[1.2.3.4]", "[:::]", "[g::1]",
        "[::1%25eth0]", "local\thost", "localhost\r\nX: y", "localhost\x00", "caf\xe9", "lo%63alhost", "a*b",
        "x" * 261, f"{'a.' * 150}local",
    ],
)  # fmt: skip
def test_a_malformed_host_is_a_bad_request(host: str) -> None:
    assert verdict(host) == "bad-request"
    assert OPEN.accepts_host(host.encode("latin-1")) is None


def test_only_http_1_0_may_leave_host_out() -> None:
    assert verdict(None) == "bad-request"
    assert verdict(None, required=False) == "ok"
    assert verdict("", required=False) == "bad-request"


def test_nothing_is_listed_unless_it_is() -> None:
    assert verdict("gw.example.com", CLOSED) == "forbidden"


@given(st.text(st.characters(max_codepoint=255), max_size=30))
def test_an_accepted_host_can_stand_in_a_url(host: str) -> None:
    if OPEN.accepts_host(host.encode("latin-1")):
        assert not set(host) & set("/?#@\\<>\"' \t\r\n\x00%")
        assert host.isascii()


APP = frozenset({"https://app.example"})


@pytest.mark.parametrize(
    ("title", "origin", "fetch_site", "origins", "accepted"),
    [
        ("no browser", None, None, frozenset(), True),
        ("typed into the address bar", None, "none", frozenset(), True),
        ("the gateway's own page", None, "Same-Origin", frozenset(), True),
        ("another site's page", None, "cross-site", frozenset(), False),
        ("a sister site's page", None, "same-site", frozenset(), False),
        ("a word yet unknown", None, "nested", frozenset(), False),
        ("two words", None, "none, cross-site", frozenset(), False),
        ("no word", None, "", frozenset(), False),
        ("a page that fetches", "https://evil.example", "cross-site", frozenset(), False),
        ("an old browser", "https://evil.example", None, frozenset(), False),
        ("an origin beside an innocent word", "https://evil.example", "none", frozenset(), False),
        ("a sandboxed frame", "null", None, frozenset(), False),
        ("an empty origin", "", None, frozenset(), False),
        ("a listed origin", "https://app.example", "cross-site", APP, True),
        ("a listed origin of an old browser", "https://app.example", None, APP, True),
        ("another origin", "https://evil.example", None, APP, False),
        ("a listed host by http", "http://app.example", None, APP, False),
        ("a listed host with a port", "https://app.example:444", None, APP, False),
        ("a longer name", "https://app.example.evil", None, APP, False),
        ("two origins", "https://app.example, https://evil.example", None, APP, False),
        ("a listed page that sends no origin", None, "cross-site", APP, False),
        ("any origin", "https://evil.example", "cross-site", frozenset({"*"}), True),
        ("any page that sends none", None, "cross-site", frozenset({"*"}), True),
    ],
)
def test_a_page_in_a_browser_cannot_drive_the_gateway(
    title: str, origin: str | None, fetch_site: str | None, origins: frozenset[str], *, accepted: bool
) -> None:
    page, site = (None if word is None else word.encode() for word in (origin, fetch_site))
    if accepted:
        check_browser(page, site, origins)
        return
    with pytest.raises(Forbidden):
        check_browser(page, site, origins)
