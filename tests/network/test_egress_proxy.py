"""Egress proxies: proxy URLs, the environment variables that apply, the hosts that NO_PROXY exempts."""

import pytest

from gateway.network.egress_proxy import ProxyEnvironment, ProxyUrl, UnusableProxy, is_exempt, read_proxy_url

URL = "https://oic.example:443/ic/"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://proxy.corp:8080", ProxyUrl("proxy.corp", 8080)),
        ("HTTP://proxy.corp", ProxyUrl("proxy.corp", 3128)),
        ("proxy.corp", ProxyUrl("proxy.corp", 3128)),
        ("proxy.corp:8080", ProxyUrl("proxy.corp", 8080)),
        ("gate:p%2Fw@proxy.corp:8080", ProxyUrl("proxy.corp", 8080, username="gate", password="p/w")),
        ("http://gate:p@ss@[::1]:3128/", ProxyUrl("::1", 3128, username="gate", password="p@ss")),
        ("https://proxy.corp", ProxyUrl("proxy.corp", 443, is_tls=True)),
        ("https://gate@proxy.corp:3129", ProxyUrl("proxy.corp", 3129, is_tls=True, username="gate")),
    ],
)
def test_a_proxy_url_is_read_as_curl_reads_it(text: str, expected: ProxyUrl) -> None:
    assert read_proxy_url(text) == expected


SCHEMES = "socks socks4 socks4a socks5 socks5h SOCKS5 ftp quic http2 https+unix ws wss file unix ssh".split()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_unsupported_scheme_is_rejected_by_name(scheme: str) -> None:
    with pytest.raises(UnusableProxy) as caught:
        read_proxy_url(f"{scheme}://gate:pass-word@proxy.corp:1080")
    assert f"`{scheme.lower()}`" in caught.value.problem
    assert "pass-word" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["http://", "://x", "http://a b", "http://h:99999", "http://h:0", "http://[x]", "a:b:c@"]
)
def test_a_text_that_is_no_proxy_url_is_rejected(text: str) -> None:
    with pytest.raises(UnusableProxy, match="is not a proxy URL"):
        read_proxy_url(text)


def test_no_repr_contains_the_password_of_a_proxy() -> None:
    environment = ProxyEnvironment.from_environ({"HTTPS_PROXY": "http://gate:pass-word@proxy.corp"})
    assert "pass-word" not in repr(environment) + repr(environment.proxy_for(URL))


@pytest.mark.parametrize(
    ("environ", "variable"),
    [
        ({}, ""),
        ({"HTTP_PROXY": "http://p"}, ""),
        ({"ALL_PROXY": "http://p"}, "ALL_PROXY"),
        ({"ALL_PROXY": "http://p", "HTTPS_PROXY": "http://p"}, "HTTPS_PROXY"),
        ({"https_proxy": "http://p", "HTTPS_PROXY": "http://p"}, "https_proxy"),
        ({"https_proxy": "", "HTTPS_PROXY": "http://p"}, "HTTPS_PROXY"),
    ],
)
def test_the_first_variable_that_is_set_counts(environ: dict[str, str], variable: str) -> None:
    environment = ProxyEnvironment.from_environ(environ)
    assert environment.variable == variable
    assert (environment.proxy_for(URL) is not None) == bool(variable)


def test_plain_http_and_exempt_hosts_need_no_proxy() -> None:
    environment = ProxyEnvironment.from_environ({"HTTPS_PROXY": "socks5://p", "no_proxy": "oic.example"})
    assert environment.proxy_for(URL) is None
    assert environment.proxy_for("http://other.example/") is None
    with pytest.raises(UnusableProxy) as caught:
        environment.proxy_for("https://other.example/")
    assert caught.value.variable == "HTTPS_PROXY"


# The results of lib/noproxy.c in curl 7.86 and later (IPv6 networks: 8.0 and later).
EXEMPT = [
    ("*", "oic.example"),
    ("*", "::1"),
    ("oic.example", "oic.example"),
    ("OIC.Example", "oic.eXample"),
    (".example", "oic.example"),
    ("example", "oic.example"),
    (".oic.example", "oic.example"),
    ("oic.example.", "oic.example"),
    ("oic.example", "oic.example."),
    (".example.", "a.b.example."),
    ("other,oic.example", "oic.example"),
    ("other, oic.example", "oic.example"),
    ("other,,\toic.example ,", "oic.example"),
    ("127.0.0.1", "127.0.0.1"),
    ("10.0.0.0/8", "10.9.8.7"),
    ("10.1.2.3/8", "10.9.8.7"),
    ("10.9.8.7/32", "10.9.8.7"),
    ("192.168.1.64/26", "192.168.1.127"),
    ("::1", "::1"),
    ("0:0::1", "::1"),
    ("fd00::/8", "fd12::9"),
    ("fd00::/127", "fd00::1"),
]
NOT_EXEMPT = [
    ("", "oic.example"),
    ("*.example", "oic.example"),
    ("*,other", "oic.example"),
    ("ic.example", "oic.example"),
    ("oic.example:443", "oic.example"),
    ("127.0.0.1:443", "127.0.0.1"),
    ("127.0.0", "127.0.0.1"),
    (".1", "127.0.0.1"),
    ("10.0.0.0/8", "11.0.0.1"),
    ("10.0.0.0/33", "10.0.0.0"),
    ("0.0.0.0/0", "10.0.0.1"),
    ("192.168.1.64/26", "192.168.1.128"),
    ("10.0.0.0/8", "oic.example"),
    ("[::1]", "::1"),
    ("::1/129", "::1"),
    ("fd00::/8", "fe80::1"),
    ("::ffff:10.0.0.1", "10.0.0.1"),
    ("oic.example", "10.0.0.1"),
]


@pytest.mark.parametrize(
    ("no_proxy", "host", "expected"),
    [*((*case, True) for case in EXEMPT), *((*case, False) for case in NOT_EXEMPT)],
)
def test_no_proxy_works_as_in_curl(no_proxy: str, host: str, *, expected: bool) -> None:
    assert is_exempt(host, no_proxy) == expected
