import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.corrections.pasted_text import InvalidInput
from gateway.config.values import NAME_PATTERN
from gateway.init.route_naming import credential_name, default_name, route_name, route_path


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("ORDERS", "orders"),
        ("CREATE_SALES_ORDER", "create_sales_order"),
        ("ORDERS%7C01.00", "orders-7c01.00"),
        ("", "oic"),
        ("%%%", "oic"),
        ("A" * 200, "a" * 63),
    ],
)
def test_default_name_comes_from_the_integration(code: str, name: str) -> None:
    assert default_name(code) == name


@given(st.text())
def test_any_code_gives_valid_names(code: str) -> None:
    for name in (default_name(code), credential_name(default_name(code))):
        assert re.fullmatch(NAME_PATTERN, name)


def test_route_name_is_checked() -> None:
    assert route_name(" orders ").value == "orders"
    for text in ("", "my orders", "-x", "a" * 64, "ä"):
        with pytest.raises(InvalidInput, match="; "):
            route_name(text)


@pytest.mark.parametrize(
    ("text", "path"),
    [("/orders/", "/orders/"), ("orders", "/orders/"), ("/a/b", "/a/b/"), ("/", "/"), (" /x/ ", "/x/")],
)
def test_path_gets_slashes_at_both_ends(text: str, path: str) -> None:
    assert route_path(text).value == path
    assert bool(route_path(text).changes) == (text != path)
    assert route_path(path).changes == ()


@pytest.mark.parametrize("text", ["", "//", "/a//b/", "/a/../b/", "/a%2fb/", "/a?b", "/ä/", "/a b/", "/a\\b/"])
def test_invalid_path_is_rejected(text: str) -> None:
    with pytest.raises(InvalidInput, match="; "):
        route_path(text)
