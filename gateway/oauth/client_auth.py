"""How a client shows who it is to the token endpoint: one row per way. Pure.

A client certificate (RFC 8705 §2) is shown by the TLS connection itself; the form then only names the client, as that
of a public client does (RFC 6749 §3.2.1).
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

# Codes after which the next of several client secrets is tried at once: only a wrong secret is another secret's turn.
NEXT_SECRET = frozenset({"invalid_client"})


@dataclass(frozen=True, slots=True)
class ClientProof:
    """What client authentication adds to a token request; `hidden` are the texts that must never be shown."""

    headers: dict[str, str] = field(default_factory=dict, repr=False)
    form: dict[str, str] = field(default_factory=dict, repr=False)
    hidden: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class ClientAuth:
    """One way: `show` makes the proof from the client id and the value named by `needs` (empty: of nothing)."""

    show: Callable[[str, str], ClientProof]
    needs: str = ""


def basic(client_id: str, client_secret: str) -> ClientProof:
    """HTTP Basic. Id and secret are form-urlencoded first (RFC 6749 §2.3.1, appendix B), then base64.

    A blank becomes `%20`, not `+`: form decoders take both, and servers that only undo percent-encoding take no `+`.
    """
    pair = base64.b64encode(f"{quote(client_id, safe='')}:{quote(client_secret, safe='')}".encode()).decode()
    return ClientProof(headers={"Authorization": f"Basic {pair}"}, hidden=(*redactions(client_secret), pair))


def post(client_id: str, client_secret: str) -> ClientProof:
    """Id and secret in the form (RFC 6749 §2.3.1)."""
    return ClientProof(form={"client_id": client_id, "client_secret": client_secret}, hidden=redactions(client_secret))


def private_key_jwt(client_id: str, assertion: str) -> ClientProof:
    """A signed assertion in the form (RFC 7523 §2.2); the id beside it is optional (RFC 7521 §4.2), and harmless."""
    form = {"client_id": client_id, "client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
    return ClientProof(form=form, hidden=redactions(assertion))


def named(client_id: str, _nothing: str) -> ClientProof:
    """Only the id in the form: the connection's certificate proves it (RFC 8705 §2), or nothing does."""
    return ClientProof(form={"client_id": client_id})


def redactions(secret: str) -> tuple[str, ...]:
    """All the ways in which a server may quote the secret back."""
    return secret, quote(secret, safe=""), quote_plus(secret)


CLIENT_AUTH = {
    "basic": ClientAuth(basic, "client_secret"),
    "post": ClientAuth(post, "client_secret"),
    "private_key_jwt": ClientAuth(private_key_jwt, "client_assertion"),
    "tls": ClientAuth(named),
    "none": ClientAuth(named),
}
