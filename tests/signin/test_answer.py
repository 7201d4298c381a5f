"""What comes back through a browser is a stranger's."""

import contextlib
from html.parser import HTMLParser
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.signin.answer import LONGEST, NotAnswer, NotSignedIn, page, read_answer, read_pasted

STATE = "st-4711"


def read(query: str) -> str:
    return read_answer(query, state=STATE, is_issuer=lambda said: said == "https://idcs.example")


def paste(text: str) -> str:
    return read_pasted(text, state=STATE, is_issuer=lambda said: said == "https://idcs.example")


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
        f"x={'y' * LONGEST}&code=c&state={STATE}",
    ],
)
def test_whatever_is_not_the_answer_to_this_question(query: str) -> None:
    with pytest.raises(NotAnswer) as caught:
        read(query)
    assert STATE not in str(caught.value)


def test_an_answer_of_another_issuer_is_refused_before_its_code_is_used() -> None:
    with pytest.raises(NotSignedIn) as caught:
        read(f"code=c&state={STATE}&iss=https://evil.example")
    assert caught.value.seen == "the answer is from another issuer (https://evil.example)"
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


@pytest.mark.parametrize(
    "text",
    [
        f"http://127.0.0.1:8400/?code=c&state={STATE}",
        f"  http://127.0.0.1:8400/?code=c&state={STATE}#frag \n",
        f"?code=c&state={STATE}",
        "c",
        " c\r",
    ],
)
def test_what_a_person_may_paste(text: str) -> None:
    assert paste(text) == "c"


@pytest.mark.parametrize("text", ["", " ", "two words", "cödé", "a\x07b", "http://127.0.0.1/", "?code=c", "x" * 20000])
def test_what_a_person_may_not_paste(text: str) -> None:
    with pytest.raises(NotAnswer):
        paste(text)


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
    reader.feed(page(text).decode())
    assert reader.tags == ["html", "head", "meta", "title", "body", "p", "p"]


@given(st.text())
def test_any_query_is_an_answer_or_none(text: str) -> None:
    for reader in (read, paste):
        with contextlib.suppress(NotAnswer, NotSignedIn):
            assert reader(text)
