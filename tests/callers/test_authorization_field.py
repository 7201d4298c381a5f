"""What counts as Basic or Bearer, and what is malformed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.callers.authorization_field import PresentedCredentials, read_authorization
from tests.fakes.proofs import basic

FIELDS = {
    "Basic": (basic("erp:secret"), "basic", b"erp:secret"),
    "any letter case": (basic("erp:secret", "bAsIc"), "basic", b"erp:secret"),
    "several blanks": (basic("erp:secret").replace(b" ", b"   "), "basic", b"erp:secret"),
    "no padding": (basic("erp:secr").rstrip(b"="), "basic", b"erp:secr"),
    "a colon in the password": (basic("erp:a:b"), "basic", b"erp:a:b"),
    "an empty password": (basic("erp:"), "basic", b"erp:"),
    "an empty user": (basic(":secret"), "basic", b":secret"),
    "Latin-1": (basic("erp:pä".encode("latin-1")), "basic", b"erp:p\xe4"),
    "NUL in the password": (basic(b"erp:\0"), "basic", b"erp:\0"),
    "no colon": (basic("erp"), "basic", None),
    "not base64": (b"Basic erp:secret", "basic", None),
    "a blank inside": (b"Basic ZXJw OnM=", "basic", None),
    "base64url": (b"Basic ZXJwOj8_Pz8-", "basic", None),
    "no value": (b"Basic", "basic", None),
    "an empty value": (b"Basic ", "basic", None),
    "Bearer": (b"Bearer abc.def", "bearer", b"abc.def"),
    "Bearer without a value": (b"Bearer ", "bearer", None),
    "two Basic fields": (basic("erp:a") + b", " + basic("erp:a"), "repeated", None),
    "Negotiate before Basic": (b"Negotiate abc, " + basic("erp:a"), "repeated", None),
    "Basic before Bearer": (basic("erp:a") + b", Bearer key", "repeated", None),
    "Digest": (b'Digest username="erp", realm="x"', "other", None),
    "Negotiate": (b"Negotiate abc==", "other", None),
    "no scheme": (b"", "other", None),
}


@pytest.mark.parametrize(("field", "scheme", "value"), FIELDS.values(), ids=FIELDS)
def test_fields(field: bytes, scheme: str, value: bytes | None) -> None:
    assert read_authorization(field) == (scheme, value)


@given(st.binary(max_size=200))
def test_any_bytes_are_read(field: bytes) -> None:
    assert isinstance(read_authorization(field), PresentedCredentials)


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_any_credentials_are_decoded(user: bytes, password: bytes) -> None:
    assert read_authorization(basic(user + b":" + password)) == ("basic", user + b":" + password)
