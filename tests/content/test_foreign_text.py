"""Text from outside is read without raising, whatever it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.content.foreign_text import host_of, plain_host, read_authority, read_date, read_url

ODD = [
    "http://[",
    "http://[::1",
    "http://h:x/",
    "http://h:99999/",
    "http://[::1]x/",
    "//[",
    "http://\u2100/",
    "http://[v1.x]/",
]


@pytest.mark.parametrize("text", ODD)
def test_an_odd_url_is_none_or_whole(text: str) -> None:
    url = read_url(text)
    assert url is None or isinstance(url.path, str)
    assert isinstance(host_of(text), str)


def test_a_url_comes_apart() -> None:
    assert read_url("https://u:p@Acme:443/a/b?c#d") == ("https", "u:p@Acme:443", "acme", 443, "/a/b", "c")
    assert read_url("/a") == ("", "", "", None, "/a", "")


@given(st.text(max_size=40), st.sampled_from(["", "http://", "http://[", "//", "https://a:", "Mon, 01 Jan ", "[::"]))
def test_nothing_raises(text: str, start: str) -> None:
    for read in (read_url, read_authority, read_date, plain_host, host_of):
        read(start + text)


@pytest.mark.parametrize(
    "text",
    ["", " ", "Thu", "Thu, 99 Jan 2026 00:00:00 GMT", "Mon, 01 Jan 2026 00:00:00 -99999999", "1 1 1 1:1:1 +9999"],
)
def test_an_odd_date_is_none(text: str) -> None:
    assert read_date(text) is None


def test_a_date_without_a_zone_is_utc() -> None:
    for text in ("Thu, 01 Jan 1970 00:00:10 GMT", "Thu Jan  1 00:00:10 1970"):
        date = read_date(text)
        assert date is not None
        assert date.timestamp() == 10
