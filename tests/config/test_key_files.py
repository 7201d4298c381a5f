"""Private keys and certificates are read, and must belong together."""

import hashlib
import ssl

import jwt
import pytest

from gateway.config.key_files import algorithm, certificate, private_key, thumbprint
from tests.fakes.keys import pair


@pytest.mark.parametrize(("kind", "expected"), [("rsa", "RS256"), ("ec", "ES256")])
def test_private_key_determines_its_algorithm(kind: str, expected: str) -> None:
    for key in (
        private_key(pair(kind).key),
        private_key(pair(kind).locked("open sesame"), password="open sesame"),
    ):
        assert key.private_numbers() == pair(kind).private.private_numbers()
        assert algorithm(key) == algorithm(key, wanted=expected) == expected
        with pytest.raises(ValueError, match=rf"signs {expected} only; write `algorithm: {expected}`"):
            algorithm(key, wanted={"RS256": "ES256", "ES256": "RS256"}[expected])


@pytest.mark.parametrize(
    ("pem", "password", "what"),
    [
        (pair().locked("open sesame"), None, "is encrypted; name its password"),
        (pair().locked("open sesame"), "hunter2", "is not a PEM private key, or `key_password` is wrong"),
        (pair().key, "needless", "is not encrypted; remove `key_password`"),
        ("hunter3", None, "is not a PEM private key; write it"),
        (pair().certificate, None, "is not a PEM private key; write it"),
        ("", None, "is not a PEM private key; write it"),
        (pair("short").key, None, "is neither RSA of 2048 bits or more nor EC P-256"),
        (pair("p384").key, None, "is neither RSA of 2048 bits or more nor EC P-256"),
    ],
)
def test_unusable_key_is_rejected_without_quoting_it(pem: str, password: str | None, what: str) -> None:
    with pytest.raises(ValueError, match=what) as caught:
        private_key(pem, password=password)
    assert caught.value.__cause__ is None
    for line in (*filter(None, pem.splitlines()), password or "-----"):
        assert line not in str(caught.value)


def test_certificate_must_belong_to_the_key() -> None:
    pem = pair().certificate.encode()
    found = certificate(pem, key=pair().private)
    assert found == certificate(pem)
    with pytest.raises(ValueError, match="does not belong to the private key"):
        certificate(pem, key=pair(name="other").private)
    with pytest.raises(ValueError, match="is not a PEM certificate"):
        certificate(pair().key.encode())


def test_thumbprint_is_the_sha_1_of_the_der() -> None:
    digest = hashlib.sha1(ssl.PEM_cert_to_DER_cert(pair().certificate), usedforsecurity=False).digest()
    printed = thumbprint(certificate(pair().certificate.encode()))
    assert jwt.utils.base64url_decode(printed) == digest
    assert "=" not in printed
