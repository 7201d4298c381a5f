"""What comes back through a browser is a stranger's."""

import contextlib
from html.parser import HTMLParser
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.signin.authorization_response import (
    MAX_LENGTH,
    NotSignedIn,
    UnrelatedRequest,
    html_page,
    read_authorization_response,
    read_pasted,
)

STATE = "st-4711"


def read(query: str) -> str:
    return read_authorization_response(query, state=STATE, is_issuer=lambda issuer: issuer == "https://idcs.example")


def paste(text: str) -> str:
    return read_pasted(text, state=STATE, is_issuer=lambda issuer: issuer == "https://idcs.example")


def test_the_code_of_an_answer() -> None:
    assert read(f"code=a%2Bb&state={STATE}") == "a+b"
    assert read(f"code=c&state={STATE}&iss={quote('https://idcs.example')}&session_state=x") == "c"


@pytest.mark.parametrize(
    "query",
    [
        "",
        "code=c",
        "code=c&state=",
        "code=c&state=st-4712",
        "code=c&state=%ff",
        "code=c&state=\ud800",
        f"state={STATE}",
        f"code=&state={STATE}",
        f"code=c&state={STATE}&state={STATE}",
        f"code=c&code=d&state={STATE}",
        f"error=access_denied&state=other&code=c&x={STATE}",
        f"x={'y' * MAX_LENGTH}&code=c&state={STATE}",
    ],
)
def test_whatever_is_not_the_answer_to_this_question(query: str) -> None:
    with pytest.raises(UnrelatedRequest) as caught:
        read(query)
    assert STATE not in str(caught.value)


def test_a_response_of_another_issuer_is_refused() -> None:
    with pytest.raises(NotSignedIn) as caught:
        read(f"code=c&state={STATE}&iss=https://evil.example")
    assert caught.value.seen == "the response names another issuer (https://evil.example)"
    assert "`issuer`" in caught.value.remedy


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("access_denied", "policy"),
        ("invalid_scope", "`scope`"),
        ("unauthorized_client", "Grant Types"),
        ("temporarily_unavailable", "Try again"),
        ("something_else", "OAuth configuration"),
    ],
)
def test_an_error_is_explained(code: str, remedy: str) -> None:
    with pytest.raises(NotSignedIn) as caught:
        read(urlencode({"error": code, "error_description": "the\nuser\x1b[31m said no", "state": STATE}))
    assert caught.value.seen == f"{code}: the?user?[31m said no"
    assert remedy in caught.value.remedy


CODE = "AgAgNjA1YzE3-_x.y~z+/="


@pytest.mark.parametrize(
    "text",
    [
        f"http://127.0.0.1:8400/?code={quote(CODE)}&state={STATE}",
        f"  http://127.0.0.1:8400/?code={quote(CODE)}&state={STATE}#frag \n",
        f"<http://127.0.0.1:8400/?code={quote(CODE)}&state={STATE}>",
        f"?code={quote(CODE)}&state={STATE}",
        f"code={quote(CODE)}&state={STATE}",
        f"state={STATE}&code={quote(CODE)}",
        CODE,
        f" {CODE}\r",
    ],
)
def test_what_a_person_may_paste(text: str) -> None:
    assert paste(text) == CODE


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is empty"),
        (" ", "it is empty"),
        ("y", "it is neither an address with `code` and `state` nor a code"),
        ("yes please", "it is neither"),
        ("c\u00f6d\u00e9" * 8, "it is neither"),
        ("a\x07bcdefghijklmnopq", "it is neither"),
        ("oic-gateway check -c gateway.yaml", "it is neither"),
        ("idcscs-5f0c1d8e-0000-4000-8000-000000000000", "it is a client secret"),
        ("http://127.0.0.1/", "it is an address without a response"),
        (f"http://127.0.0.1/#code=c&state={STATE}", "it is an address without a response"),
        (f"https://idcs.example/authorize?response_type=code&code_challenge=x&state={STATE}", "the address to open"),
        ("?code=c", "it has no `state`"),
        ("code=c", "it has no `state`"),
        ("?code=c&state=other", "its `state` is not that of this sign-in"),
        (f"http://127.0.0.1/?state={STATE}", "it contains no code"),
        ("x" * 20000, "it is too long for a response"),
    ],
)
def test_what_a_person_may_not_paste(text: str, reason: str) -> None:
    with pytest.raises(UnrelatedRequest, match=reason) as caught:
        paste(text)
    assert "idcscs" not in str(caught.value)


def test_a_pasted_error_is_explained_too() -> None:
    with pytest.raises(NotSignedIn, match="access_denied"):
        paste(f"http://127.0.0.1/?error=access_denied&state={STATE}")


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)


@given(st.text())
def test_a_page_is_never_more_than_text(text: str) -> None:
    reader = Tags()
    reader.feed(html_page(text).decode())
    assert reader.tags == ["html", "head", "meta", "title", "body", "p", "p"]


@given(st.text())
def test_any_query_is_an_answer_or_none(text: str) -> None:
    for reader in (read, paste):
        with contextlib.suppress(UnrelatedRequest, NotSignedIn):
            assert reader(text)
