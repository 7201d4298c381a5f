"""Exactly one caller must be named, and no proof may be wrong."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.callers.identification import ConnectionFacts, combine_callers, identify_head
from gateway.callers.proof_table import CallerProofs, ProofTable
from tests.fakes.proofs import basic

KEY = b"k" * 32
CALLERS = (
    CallerProofs("erp", basic=(("erp", "pässword"), ("erp", "old"))),
    CallerProofs("scanner", api_keys=("new-key", "old-key")),
    CallerProofs("lab", networks=(ipaddress.ip_network("10.2.0.0/16"), ipaddress.ip_network("fd00:2::/32"))),
    CallerProofs("batch", user_ids=(1001,)),
    CallerProofs("both", basic=(("both", "secret"),), api_keys=("both-key",)),
)
TABLE = ProofTable(CALLERS, key=KEY)
HERE = ConnectionFacts("127.0.0.1", None, None)
LAB = ConnectionFacts("10.2.3.4", None, None)
WRONG, TWO, REPEATED = "no caller has this proof", "different callers", "repeated"

CASES = {
    "no proof": (HERE, None, None, None, ""),
    "Basic": (HERE, basic("erp:pässword"), None, "erp", ""),
    "Basic in Latin-1": (HERE, basic("erp:pässword".encode("latin-1")), None, "erp", ""),
    "Basic during a rotation": (HERE, basic("erp:old"), None, "erp", ""),
    "a wrong password": (HERE, basic("erp:password"), None, None, WRONG),
    "an empty password": (HERE, basic("erp:"), None, None, WRONG),
    "an unknown user": (HERE, basic("nix:pässword"), None, None, WRONG),
    "user and password of two callers": (HERE, basic("erp:secret"), None, None, WRONG),
    "malformed base64": (HERE, b"Basic !!", None, None, WRONG),
    "a very long password": (HERE, basic("erp:" + "x" * 100_000), None, None, WRONG),
    "a repeated field": (HERE, basic("erp:old") + b", " + basic("erp:old"), None, None, REPEATED),
    "X-Api-Key": (HERE, None, b"new-key", "scanner", ""),
    "the older key": (HERE, None, b"old-key", "scanner", ""),
    "a repeated key": (HERE, None, b"new-key, new-key", None, WRONG),
    "an empty key": (HERE, None, b"", None, WRONG),
    "a wrong key": (HERE, None, b"New-key", None, WRONG),
    "Bearer": (HERE, b"Bearer new-key", None, "scanner", ""),
    "a wrong Bearer": (HERE, b"Bearer nix", None, None, WRONG),
    "the key as a password": (HERE, basic("scanner:new-key"), None, None, WRONG),
    "the same caller twice": (HERE, basic("both:secret"), b"both-key", "both", ""),
    "two callers": (HERE, basic("erp:old"), b"new-key", None, TWO),
    "a right and a wrong proof": (HERE, basic("erp:old"), b"nix", None, WRONG),
    "a wrong and a right proof": (HERE, basic("erp:nix"), b"new-key", None, WRONG),
    "a network": (LAB, None, None, "lab", ""),
    "an IPv4-mapped address": (ConnectionFacts("::ffff:10.2.0.0", None, None), None, None, "lab", ""),
    "an IPv6 network": (ConnectionFacts("fd00:2::1", None, None), None, None, "lab", ""),
    "an address beside the network": (ConnectionFacts("10.3.0.0", None, None), None, None, None, ""),
    "a network and another caller": (LAB, basic("erp:old"), None, None, TWO),
    "a network and a wrong proof": (LAB, basic("erp:nix"), None, None, WRONG),
    "a unix user": (ConnectionFacts(None, 1001, None), None, None, "batch", ""),
    "another unix user": (ConnectionFacts(None, 0, None), None, None, None, ""),
    "a scheme that no caller uses": (LAB, b"Negotiate abc", None, "lab", ""),
}


@pytest.mark.parametrize(("facts", "authorization", "key", "caller", "problem"), CASES.values(), ids=CASES)
def test_proofs(
    facts: ConnectionFacts, authorization: bytes | None, key: bytes | None, caller: str | None, problem: str
) -> None:
    found = identify_head(TABLE, facts, authorization=authorization, api_key=key)
    assert found.caller == caller
    assert problem in found.problem
    assert bool(problem) == bool(found.problem)


def test_a_kind_that_no_caller_uses_is_not_a_proof() -> None:
    table = ProofTable([CALLERS[2]], key=KEY)
    for authorization, key in ((basic("erp:nix"), None), (b"Bearer x", None), (None, b"x"), (b"Bearer x, Basic", b"")):
        assert identify_head(table, LAB, authorization=authorization, api_key=key) == ("lab", "")


def test_a_kind_counts_while_its_secret_cannot_be_read() -> None:
    table = ProofTable([CallerProofs("erp"), CALLERS[2]], key=KEY, uses=frozenset({"basic", "api_key"}))
    for authorization, key in ((basic("erp:nix"), None), (b"Bearer x", None), (None, b"x")):
        assert WRONG in identify_head(table, LAB, authorization=authorization, api_key=key).problem


def test_equal_proofs_of_two_callers_name_neither() -> None:
    table = ProofTable([CallerProofs("a", api_keys=("x",)), CallerProofs("b", api_keys=("x",))], key=KEY)
    found = identify_head(table, HERE, authorization=None, api_key=b"x")
    assert (found.caller, found.problem) == (None, "the proofs name different callers: a, b")


@given(st.text(max_size=30).filter(lambda text: ":" not in text), st.text(max_size=30))
def test_any_user_and_password_are_found(user: str, password: str) -> None:
    try:
        credentials = f"{user}:{password}".encode()
    except UnicodeEncodeError:
        return
    table = ProofTable([CallerProofs("erp", basic=((user, password),), wsse=((user, password),))], key=KEY)
    assert table.find_basic(credentials) == ("erp",)
    assert table.find_basic(credentials + b"x") == ()
    assert table.find_password(user, password) == ("erp",)
    assert table.find_password(user + "1", password) == ()


@given(st.lists(st.sampled_from(["a", "b", "c"])))
def test_callers_are_combined_only_if_all_are_the_same(names: list[str]) -> None:
    found = combine_callers(names)
    assert found.caller == (names[0] if len(set(names)) == 1 else None)
    assert bool(found.problem) == (len(set(names)) > 1)


def test_the_repr_of_proofs_shows_no_secret() -> None:
    assert "pässword" not in repr(CALLERS)
    assert "new-key" not in repr(CALLERS)
    assert "pässword" not in repr(TABLE)
