"""WS-Security tokens as proofs: text and digest, fresh and used once."""

import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.callers.proof_table import CallerProofs, ProofTable
from gateway.callers.replay_cache import FRESHNESS, ReplayCache
from gateway.callers.username_token import verify_tokens
from gateway.oic.ws_security import UsernameToken, WsSecurityScanner
from tests.fakes.proofs import PROFILE, password_digest

NOW = 1_800_000_000.0
TABLE = ProofTable(
    [CallerProofs("crm", wsse=(("anna", "pässword"), ("anna", "old"))), CallerProofs("hr", wsse=(("bob", "x"),))],
    key=b"k" * 32,
)
WRONG = "no caller has this proof"


def created(offset: float = 0.0) -> str:
    return datetime.fromtimestamp(NOW + offset, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def text(password: str, user: str = "anna", kind: str = PROFILE + "PasswordText") -> UsernameToken:
    return UsernameToken({"Username": user, "Password": password}, kind)


def digest(
    password: str = "pässword", *, user: str = "anna", at: str = created(), nonce: bytes = b"nonce"
) -> UsernameToken:
    hashed = password_digest(password, nonce=nonce, created=at)
    values = {"Username": user, "Password": hashed, "Nonce": base64.b64encode(nonce).decode(), "Created": at}
    return UsernameToken(values, PROFILE + "PasswordDigest")


def without(token: UsernameToken, name: str) -> UsernameToken:
    return UsernameToken({key: value for key, value in token.values.items() if key != name}, token.password_type)


TOKENS = {
    "text": ([text("pässword")], ("crm",), ""),
    "text without a type": ([text("pässword", kind="")], ("crm",), ""),
    "the older password": ([text("old")], ("crm",), ""),
    "blanks around the user": ([text("old", user="\n anna ")], ("crm",), ""),
    "blanks around the password": ([text(" old")], (), WRONG),
    "a wrong password": ([text("nix")], (), WRONG),
    "an empty password": ([text("")], (), WRONG),
    "an unknown user": ([text("old", user="nix")], (), WRONG),
    "an unknown type": ([text("old", kind=PROFILE + "PasswordHash")], (), WRONG),
    "no password": ([without(text("old"), "Password")], (), "no user or no password"),
    "no user": ([without(text("old"), "Username")], (), "no user or no password"),
    "a digest": ([digest()], ("crm",), ""),
    "a digest of the older password": ([digest("old")], ("crm",), ""),
    "a digest of a wrong password": ([digest("nix")], (), WRONG),
    "a digest of an unknown user": ([digest(user="nix")], (), WRONG),
    "a digest of another user": ([digest("x")], (), WRONG),
    "a digest as text": ([text(digest().values["Password"])], (), WRONG),
    "a digest without nonce": ([without(digest(), "Nonce")], (), "without a valid Nonce or Created"),
    "a digest without creation": ([without(digest(), "Created")], (), "without a valid Nonce or Created"),
    "a time that is none": ([digest(at="yesterday")], (), "without a valid Nonce or Created"),
    "five minutes old": ([digest(at=created(-300))], ("crm",), ""),
    "older": ([digest(at=created(-301))], (), "more than 300 s"),
    "from the future": ([digest(at=created(301))], (), "more than 300 s"),
    "with fractions of a second": ([digest(at=created()[:-1] + ".123456Z")], ("crm",), ""),
    "without a time zone": ([digest(at=created()[:-1])], ("crm",), ""),
    "in another time zone": ([digest(at=created(7200)[:-1] + "+02:00")], ("crm",), ""),
    "used twice": ([digest(), digest()], (), "used before"),
    "two tokens of one caller": ([digest(), digest(nonce=b"other"), text("old")], ("crm",), ""),
    "two callers": ([text("old"), text("x", user="bob")], ("crm", "hr"), ""),
    "a right and a wrong one": ([text("old"), text("nix")], (), WRONG),
    "none": ([], (), ""),
}


@pytest.mark.parametrize(("tokens", "names", "problem"), TOKENS.values(), ids=TOKENS)
def test_tokens(tokens: list[UsernameToken], names: tuple[str, ...], problem: str) -> None:
    proof = verify_tokens(TABLE, tokens, ReplayCache(), now=NOW)
    assert tuple(sorted(proof.names)) == names
    assert problem in proof.problem
    assert bool(problem) == bool(proof.problem)


def test_an_ambiguous_token_proves_nothing() -> None:
    token = text("old")
    token.is_ambiguous = True
    assert verify_tokens(TABLE, [token], ReplayCache(), now=NOW).problem


def test_a_digest_is_refused_the_second_time_until_it_is_too_old() -> None:
    seen, used = ReplayCache(), digest()
    assert verify_tokens(TABLE, [used], seen, now=NOW).names == ("crm",)
    for later in (0, 100, FRESHNESS, FRESHNESS + 1, 10_000, -100):
        assert verify_tokens(TABLE, [used], seen, now=NOW + later).problem


@pytest.mark.parametrize("spelling", ["bm9uY2W=", "bm9uY2X="])
def test_another_spelling_of_the_nonce_is_the_same_token(spelling: str) -> None:
    seen, used = ReplayCache(), digest(nonce=b"nonce")
    again = UsernameToken({**used.values, "Nonce": spelling}, used.password_type)
    assert base64.b64decode(spelling) == b"nonce"
    assert verify_tokens(TABLE, [used], seen, now=NOW).names == ("crm",)
    assert verify_tokens(TABLE, [again], seen, now=NOW).problem == "the UsernameToken was used before"


def test_a_wrong_digest_uses_up_nothing() -> None:
    seen = ReplayCache()
    verify_tokens(TABLE, [digest("nix")], seen, now=NOW)
    assert len(seen) == 0
    assert verify_tokens(TABLE, [digest()], seen, now=NOW).names == ("crm",)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1500), st.integers(-310, 310)), max_size=60))
def test_no_proof_is_admitted_twice(uses: list[tuple[int, int, int]]) -> None:
    """Whatever the order, the clock and the bound."""
    seen, admitted = ReplayCache(max_entries=4), set()
    for name, now, age in uses:
        proof = f"{name} {now + age}", float(now + age)
        if seen.admit(proof[0], created=proof[1], now=float(now)):
            assert proof not in admitted
            admitted.add(proof)
        assert len(seen) <= 4 or len(seen) <= len(admitted)


def test_the_number_of_proofs_in_memory_is_bounded() -> None:
    seen = ReplayCache(max_entries=100)
    for number in range(1000):
        seen.admit(str(number), created=NOW + number % 300, now=NOW)
    assert len(seen) <= 100
    assert seen.admit("new", created=NOW + 299, now=NOW)


def scanned(content: str) -> UsernameToken:
    envelope = (
        "<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'><s:Header><Security><UsernameToken>"
        f"{content}</UsernameToken></Security><x>Username</x></s:Header><s:Body><Username>no</Username></s:Body>"
        "</s:Envelope>"
    )
    scanner = WsSecurityScanner(declares_soap=True, reads_tokens=True)
    assert scanner.feed(envelope.encode(), last=True)
    [token] = scanner.tokens
    return token


def test_the_reader_returns_the_texts_of_a_token() -> None:
    token = scanned(
        "<a:Username>an&#110;a</a:Username><!-- x --><Password Type='#PasswordText'>p<![CDATA[<&]]>&amp;</Password>"
        "<Other>ignored</Other><w:Nonce EncodingType='b64'>bm9u</w:Nonce> text <Created/>"
    )
    assert token.values == {"Username": "anna", "Password": "p<&&", "Nonce": "bm9u", "Created": ""}
    assert (token.password_type, token.is_ambiguous) == ("#PasswordText", False)
    assert "anna" not in repr(token)


@pytest.mark.parametrize(
    "content",
    ["<Username>a</Username><Username>b</Username>", "<Password>a<b/></Password>", "<x><Username>a</Username></x>"],
)
def test_a_token_with_two_meanings_is_ambiguous(content: str) -> None:
    assert scanned(content).is_ambiguous
