import pytest

from gateway.config.corrections.pasted_text import InvalidInput, read_url, strip_pasted
from gateway.oic.urls import is_oracle_host, parse_oic_host


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("x", "x"),
        ("  x\t", "x"),
        ('"x"', "x"),
        ("'x'", "x"),
        ("<https://x>", "https://x"),
        ("\u201cx\u201d", "x"),
        ('" x "', "x"),
        ("\ufeffx\u200b", "x"),
        ("\u00a0x", "x"),
        ("`x`\n", "x"),
        ("'\"x\"'", "x"),
    ],
)
def test_quotes_and_white_space_are_removed(text: str, value: str) -> None:
    found = strip_pasted(text)
    assert found.value == value
    assert bool(found.changes) == (text != value)
    assert strip_pasted(value).changes == ()


@pytest.mark.parametrize("text", ["", "  ", '""', "\u200b", "' '"])
def test_empty_text_is_rejected(text: str) -> None:
    with pytest.raises(InvalidInput, match="is empty"):
        strip_pasted(text)


@pytest.mark.parametrize(
    ("text", "origin", "change"),
    [
        ("https://a.example/x", "https://a.example", ""),
        ("a.example/x", "https://a.example", "added https://"),
        ("//a.example/x", "https://a.example", "added https://"),
        ("127.0.0.1:8181/x", "http://127.0.0.1:8181", "added http://"),
        ("localhost:8181", "http://localhost:8181", "added http://"),
        ("[::1]:8181/x", "http://[::1]:8181", "added http://"),
        ("HTTPS://A.example", "https://a.example", "lower case"),
        ("https://a.example:443/x", "https://a.example", "removed `:443`"),
        ("http://a.example:80/x", "http://a.example", "removed `:80`"),
        ("http://a.example:443/x", "http://a.example:443", ""),
        ("https://a.example:8443", "https://a.example:8443", ""),
        ("http://a.oraclecloud.com:443", "https://a.oraclecloud.com", "only TLS"),
        ("http://a.oraclecloud.com:80", "https://a.oraclecloud.com", "only TLS"),
        ("http://a.oraclegovcloud.uk", "https://a.oraclegovcloud.uk", "only TLS"),
    ],
)
def test_url_is_parsed_and_completed(text: str, origin: str, change: str) -> None:
    url, changes = read_url(text)
    assert url.origin == origin
    assert change in " ".join(changes)
    assert bool(changes) == bool(change)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "is empty"),
        ("ftp://a.example", "is not an http or https URL"),
        ("javascript://a", "is not an http or https URL"),
        ("https://user:hunter2@a.example", "contains a user or password"),
        ("user@a.example", "contains a user or password"),
        ("https://a.example:0", "names no valid host"),
        ("https://a.example:99999", "is not a URL"),
        ("https://[::1", "is not a URL"),
        ("https://", "names no valid host"),
        ("https://a_b!.example", "names no valid host"),
        ("https://a.example/ b", "has white space"),
        ("https://a.example https://b.example", "has white space"),
        ("https://a.example/é", "has a character"),
        ("https://[fe80::1%25eth0]/", "names no valid host"),
    ],
)
def test_invalid_url_is_rejected_and_not_displayed(text: str, what: str) -> None:
    with pytest.raises(InvalidInput, match=what) as caught:
        read_url(text)
    assert ";" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert len(text) < 9 or text not in str(caught.value)


def test_oracle_hosts_are_recognized() -> None:
    for host in (
        "a.oraclecloud.com",
        "A.ORACLECLOUD.COM",
        "x.oraclecloud.eu",
        "y.oraclecloud20.com",
        "oraclecloud.com",
    ):
        assert is_oracle_host(host), host
    for host in ("oraclecloud.com.evil.example", "notoraclecloud.com", "oracle.com", "a.example"):
        assert not is_oracle_host(host), host


def test_oic_hosts_are_parsed() -> None:
    third = parse_oic_host("ACME-1.integration.us-phoenix-1.ocp.oraclecloud.com")
    assert third is not None
    assert (third.name, third.region) == ("ACME-1", "us-phoenix-1")
    assert third.domain == "integration.us-phoenix-1.ocp.oraclecloud.com"
    second = parse_oic_host("acme.integration.ocp.oraclecloud.com")
    assert second is not None
    assert (second.name, second.region) == ("acme", "")
    assert parse_oic_host("api.acme.example") is None
    assert parse_oic_host("x.y.integration.us-phoenix-1.ocp.oraclecloud.com") is None
