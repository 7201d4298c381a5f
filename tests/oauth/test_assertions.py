import base64
import hashlib
import json
from typing import Any

import jwt
import pytest
from joserfc.jwk import ECKey, RSAKey

from gateway.oauth.assertions import jose_header, make_claims, sign
from tests.fakes.keys import pair

NOW = 1_800_000_000.9
ALGORITHMS = {"rsa": "RS256", "ec": "ES256"}


def claims() -> dict[str, Any]:
    return make_claims("orders", "jdoe", audience="https://identity.oraclecloud.com/", now=NOW, life=120.0, jti="once")


def test_the_claims_are_those_of_rfc_7523() -> None:
    assert claims() == {
        "iss": "orders",
        "sub": "jdoe",
        "aud": "https://identity.oraclecloud.com/",
        "iat": 1_800_000_000,
        "exp": 1_800_000_120,
        "jti": "once",
    }


@pytest.mark.parametrize("kind", ALGORITHMS)
def test_an_assertion_is_verified_by_the_public_key(kind: str) -> None:
    key = pair(kind).private
    token = sign(claims(), key, algorithm=ALGORITHMS[kind], headers=jose_header(key, kid="alias"))
    assert jwt.get_unverified_header(token) == {"alg": ALGORITHMS[kind], "typ": "JWT", "kid": "alias"}
    options: jwt.types.Options = {"verify_exp": False, "verify_aud": False, "verify_iat": False}
    assert jwt.decode(token, key.public_key(), algorithms=[ALGORITHMS[kind]], options=options) == claims()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ({"kid": "alias"}, {"kid": "alias"}),
        ({"x5t": "print"}, {"x5t": "print"}),
        ({"kid": "alias", "x5t": "print"}, {"kid": "alias", "x5t": "print"}),
    ],
)
def test_the_head_contains_what_is_given(header: dict[str, str], expected: dict[str, str]) -> None:
    assert jose_header(pair("ec").private, **header) == expected


@pytest.mark.parametrize(("kind", "other"), [("rsa", RSAKey), ("ec", ECKey)])
def test_without_both_the_head_has_the_thumbprint_of_the_key(kind: str, other: Any) -> None:
    assert jose_header(pair(kind).private) == {"kid": other.import_key(pair(kind).key).thumbprint()}


def test_the_thumbprint_is_the_one_of_rfc_7638() -> None:
    key = pair("ec").private
    numbers = ECKey.import_key(pair("ec").key).as_dict(private=False)
    text = json.dumps({name: numbers[name] for name in ("crv", "kty", "x", "y")}, separators=(",", ":"))
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
    assert jose_header(key) == {"kid": digest}
