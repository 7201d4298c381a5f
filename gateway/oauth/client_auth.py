"""How a client shows who it is to the token endpoint (RFC 6749 §2.3.1). Pure."""

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus


@dataclass(frozen=True, slots=True)
class Proof:
    """What client authentication adds to a token request; `hidden` are the texts that must never be shown."""

    headers: dict[str, str] = field(default_factory=dict, repr=False)
    form: dict[str, str] = field(default_factory=dict, repr=False)
    hidden: tuple[str, ...] = field(default=(), repr=False)


def basic(client_id: str, client_secret: str) -> Proof:
    """HTTP Basic. Id and secret are form-urlencoded first (RFC 6749 §2.3.1, appendix B), then base64.

    A blank becomes `%20`, not `+`: form decoders take both, and servers that only undo percent-encoding take no `+`.
    """
    pair = base64.b64encode(f"{quote(client_id, safe='')}:{quote(client_secret, safe='')}".encode()).decode()
    return Proof(headers={"Authorization": f"Basic {pair}"}, hidden=(*_shapes(client_secret), pair))


def post(client_id: str, client_secret: str) -> Proof:
    """Id and secret in the form."""
    form = {"client_id": client_id, "client_secret": client_secret}
    return Proof(form=form, hidden=_shapes(client_secret))


def _shapes(secret: str) -> tuple[str, ...]:
    """All the ways in which a server may quote the secret back."""
    return secret, quote(secret, safe=""), quote_plus(secret)


CLIENT_AUTH: dict[str, Callable[[str, str], Proof]] = {"basic": basic, "post": post}
