import jwt

from gateway.sandbox.access_tokens import SigningKey, shared_key


def test_a_key_reads_what_it_signed_and_nothing_else() -> None:
    key = shared_key()
    token = key.sign({"sub": "a", "exp": 1})
    assert key.verify(token) == {"sub": "a", "exp": 1}
    assert SigningKey().verify(token) is None
    head, payload, signature = token.split(".")
    assert key.verify(f"{head}.{payload[:-2]}AA.{signature}") is None
    assert key.verify("") is None


def test_the_header_names_the_key() -> None:
    header = jwt.get_unverified_header(shared_key().sign({}))
    assert (header["alg"], header["kid"]) == ("RS256", "SIGNING_KEY")


def test_an_unsigned_token_is_not_read() -> None:
    assert shared_key().verify(jwt.encode({"sub": "a"}, "", algorithm="none")) is None
