import base64
from urllib.parse import unquote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.oauth.client_auth import CLIENT_AUTH, basic_proof, post_proof, private_key_jwt_proof

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


def pair(header: str) -> tuple[str, str]:
    scheme, _, value = header.partition(" ")
    assert scheme == "Basic"
    first, colon, second = base64.b64decode(value, validate=True).decode("ascii").partition(":")
    assert colon == ":"
    return first, second


def test_basic_urlencodes_id_and_secret_before_base64() -> None:
    proof = basic_proof("a:b", "p+q%r s/é")
    assert pair(proof.headers["Authorization"]) == ("a%3Ab", "p%2Bq%25r%20s%2F%C3%A9")
    assert proof.form == {}


def test_a_plain_pair_is_the_one_of_rfc_6749() -> None:
    assert basic_proof("s6BhdRkqt3", "gX1fBat3bV").headers == {"Authorization": "Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW"}


@given(TEXT, TEXT)
def test_basic_gives_back_any_pair(client_id: str, secret: str) -> None:
    first, second = pair(basic_proof(client_id, secret).headers["Authorization"])
    assert (unquote_plus(first), unquote_plus(second)) == (client_id, secret)


def test_post_puts_both_into_the_form() -> None:
    proof = post_proof("a:b", "p q")
    assert proof.form == {"client_id": "a:b", "client_secret": "p q"}
    assert proof.headers == {}


def test_an_assertion_goes_into_the_form_with_its_type() -> None:
    proof = private_key_jwt_proof("orders", "head.claims.signature")
    assert proof.form == {
        "client_id": "orders",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": "head.claims.signature",
    }
    assert proof.headers == {}


@pytest.mark.parametrize("method", ["tls", "none"])
def test_without_a_proof_in_the_request_the_client_is_only_named(method: str) -> None:
    row = CLIENT_AUTH[method]
    assert row.needs == ""
    assert (row.make_proof("orders", "").form, row.make_proof("orders", "").headers) == ({"client_id": "orders"}, {})


@pytest.mark.parametrize("method", ["basic", "post", "private_key_jwt"])
def test_a_proof_shows_nothing_and_names_what_to_hide(method: str) -> None:
    proof = CLIENT_AUTH[method].make_proof("client", "very secret+text")
    assert repr(proof) == "ClientProof()"
    assert {"very secret+text", "very%20secret%2Btext", "very+secret%2Btext"} <= set(proof.secret_texts)
