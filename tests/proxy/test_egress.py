"""Egress proxies: what the environment says, and a password that is read each time."""

import pytest

from gateway.proxy.dialing import EgressProxy
from gateway.proxy.egress import Way, way_of

URL = "https://oic.example:443/ic/"


@pytest.mark.parametrize(
    ("proxies", "url", "authorization"),
    [
        ({"https": "http://proxy.corp:8080"}, "http://proxy.corp:8080", ""),
        ({"https": "proxy.corp"}, "http://proxy.corp:3128", ""),
        ({"https": "http://gate:p%2Fw@[::1]:3128"}, "http://[::1]:3128", "Basic Z2F0ZTpwL3c="),
    ],
)
def test_the_environment_names_a_proxy(proxies: dict[str, str], url: str, authorization: str) -> None:
    way = way_of(URL, proxies)
    assert way is not None
    assert (way.url, way.authorization()) == (url, authorization)


@pytest.mark.parametrize(
    ("url", "proxies"),
    [
        (URL, {}),
        (URL, {"http": "http://proxy.corp:8080"}),
        (URL.replace("https", "http"), {"https": "http://proxy.corp:8080"}),
        (URL, {"https": "http://proxy.corp:8080", "no": "oic.example"}),
    ],
)
def test_or_none(url: str, proxies: dict[str, str]) -> None:
    assert way_of(url, proxies) is None


def test_the_password_is_that_of_now() -> None:
    passwords = iter(("old", "new"))
    way = Way.to("http://proxy.corp", "gate", lambda: next(passwords))
    assert way.proxy() == EgressProxy("proxy.corp", 3128, "Basic Z2F0ZTpvbGQ=")
    assert way.authorization() == "Basic Z2F0ZTpuZXc="
    assert "old" not in repr(way)


def test_without_a_user_no_password_is_asked_for() -> None:
    assert Way.to("http://proxy.corp:1", "", lambda: pytest.fail("asked")).authorization() == ""
