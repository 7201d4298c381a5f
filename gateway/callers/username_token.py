"""Pure: whether a WS-Security UsernameToken proves a caller (OASIS UsernameToken Profile 1.0 §3.1)."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from gateway.callers.proof_table import CallerNames, ProofTable
from gateway.callers.replay_cache import FRESHNESS, ReplayCache
from gateway.oic.ws_security import UsernameToken

TEXT_TYPES = frozenset({"", "PasswordText"})


class TokenProof(NamedTuple):
    """The callers that a token names, or the reason why it proves nothing."""

    names: CallerNames
    problem: str = ""


def verify_tokens(
    table: ProofTable, tokens: Iterable[UsernameToken], replay_cache: ReplayCache, *, now: float
) -> TokenProof:
    """Return the callers of all tokens of a message, or the first problem. A digest is accepted once, within five
    minutes of its `Created`; `now` is in seconds since the epoch.
    """
    names: set[str] = set()
    for token in tokens:
        proof = _verify(table, token, replay_cache, now)
        if proof.problem:
            return proof
        names.update(proof.names)
    return TokenProof(tuple(names))


def _verify(table: ProofTable, token: UsernameToken, replay_cache: ReplayCache, now: float) -> TokenProof:
    if token.is_ambiguous:
        return TokenProof((), "the UsernameToken contains an element twice")
    username, password = token.values.get("Username", "").strip(), token.values.get("Password")
    if not username or password is None:
        return TokenProof((), "the UsernameToken has no user or no password")
    kind = token.password_type.rpartition("#")[2]
    if kind == "PasswordDigest":
        return _verify_digest(table, token, replay_cache, now)
    names = table.find_password(username, password) if kind in TEXT_TYPES else ()
    return TokenProof(names, "" if names else "the UsernameToken: no caller has this proof")


def _verify_digest(table: ProofTable, token: UsernameToken, replay_cache: ReplayCache, now: float) -> TokenProof:
    username, presented, nonce_text, created = (
        token.values.get(name, "").strip() for name in ("Username", "Password", "Nonce", "Created")
    )
    nonce, created_at = _decode(nonce_text), _parse_time(created)
    if not nonce or created_at is None:
        return TokenProof((), "the UsernameToken has a digest without a valid Nonce or Created")
    if abs(now - created_at) > FRESHNESS:
        return TokenProof(
            (), f"the UsernameToken was created {now - created_at:+.0f} s ago, more than {FRESHNESS:.0f} s"
        )
    names = []
    # An unknown user takes as long as a known one.
    for name, password in table.wsse_passwords(username) or (("", ""),):
        digest = hashlib.sha1(nonce + created.encode() + password.encode(), usedforsecurity=False).digest()
        if hmac.compare_digest(base64.b64encode(digest), presented.encode()) and name:
            names.append(name)
    if not names:
        return TokenProof((), "the UsernameToken: no caller has this proof")
    # By the digest, not by the Nonce: a Nonce can be written in several ways in base64.
    if not replay_cache.admit(presented, created=created_at, now=now):
        return TokenProof((), "the UsernameToken was used before")
    return TokenProof(tuple(names))


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _parse_time(text: str) -> float | None:
    """Return seconds since the epoch; a time without a zone is UTC."""
    try:
        created_at = datetime.fromisoformat(text)
        return (created_at if created_at.tzinfo is not None else created_at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
