"""Texts that look like secrets are masked."""

import pytest

from gateway.observe.secret_mask import mask


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("sent Authorization: Bearer abc.def-ghi/123==", "sent Authorization: Bearer ***"),
        ("basic dXNlcjpwYXNz was refused", "basic *** was refused"),
        ("got eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl back", "got *** back"),
        ("grant_type=password&password=hunter2&scope=x", "grant_type=password&password=***&scope=x"),
        ('{"access_token": "s3cret", "expires_in": 5}', '{"access_token": "***", "expires_in": 5}'),
        ("client_secret='top secret'", "client_secret='*** secret'"),
        ("proxy http://joe:pw@egress:3128 is down", "proxy http://***@egress:3128 is down"),
        ("a basic mistake; the bearer of news", "a basic ***; the bearer of news"),
    ],
)
def test_text_that_looks_like_a_secret_is_masked(text: str, masked: str) -> None:
    assert mask(text) == masked


def test_other_text_is_unchanged() -> None:
    text = "connect to https://idcs-0123.identity.oraclecloud.com/oauth2/v1/token failed: timed out; a@b.example"
    assert mask(text) == text
