"""URLs, authorities and dates of peers are read without raising."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.content.untrusted_text import (
    normalize_host,
    printable_line,
    read_authority,
    read_date,
    read_host,
    read_retry_after,
    read_url,
    split_host_port,
)

UNUSUAL_URLS = [
    "http://[",
    "http://[::1",
    "http://h:x/",
    "http://h:99999/",
    "http://[::1]x/",
    "//[",
    "http://\u2100/",
    "http://[v1.x]/",
]


@pytest.mark.parametrize("text", UNUSUAL_URLS)
def test_an_unusual_url_is_none_or_complete(text: str) -> None:
    url = read_url(text)
    assert url is None or isinstance(url.path, str)
    assert isinstance(read_host(text), str)


def test_a_url_is_split_into_its_parts() -> None:
    assert read_url("https://u:p@Acme:443/a/b?c#d") == ("https", "u:p@Acme:443", "acme", 443, "/a/b", "c")
    assert read_url("/a") == ("", "", "", None, "/a", "")


@given(st.text(max_size=40), st.sampled_from(["", "http://", "http://[", "//", "https://a:", "Mon, 01 Jan ", "[::"]))
def test_nothing_raises(text: str, start: str) -> None:
    for read in (read_url, read_authority, read_date, normalize_host, read_host):
        read(start + text)


@pytest.mark.parametrize(
    "text",
    ["", " ", "Thu", "Thu, 99 Jan 2026 00:00:00 GMT", "Mon, 01 Jan 2026 00:00:00 -99999999", "1 1 1 1:1:1 +9999"],
)
def test_an_unusual_date_is_none(text: str) -> None:
    assert read_date(text) is None


def test_a_date_without_a_zone_is_utc() -> None:
    for text in ("Thu, 01 Jan 1970 00:00:10 GMT", "Thu Jan  1 00:00:10 1970"):
        date = read_date(text)
        assert date is not None
        assert date.timestamp() == 10


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("[::1]:0", ("::1", 0)),
        (":9090", ("", 9090)),
        ("host:65536", None),
        ("host:٣", None),
        ("host", None),
    ],
)
def test_a_listen_address_is_split_at_its_last_colon(text: str, expected: tuple[str, int] | None) -> None:
    assert split_host_port(text) == expected


def test_a_printable_line_has_no_control_characters() -> None:
    assert printable_line("a\r\n\x1bé b", 5) == "a????"


@pytest.mark.parametrize(("text", "seconds"), [("7", 7.0), (" 7 ", 7.0), ("-7", None), ("7.5", None), ("1" * 10, None)])
def test_retry_after_is_a_number_of_seconds(text: str, seconds: float | None) -> None:
    assert read_retry_after(text, now=0.0) == seconds
