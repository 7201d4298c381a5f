"""Client authentication at the token endpoint, one row per method. Pure.

A client certificate (RFC 8705 §2) is presented by the TLS connection; the form then only names the client, as for a
public client (RFC 6749 §3.2.1).
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus

import msgspec

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

# Error codes after which the next of several client secrets is tried at once: another secret helps only if this one was
# wrong.
NEXT_SECRET = frozenset({"invalid_client"})


@dataclass(frozen=True, slots=True)
class ClientProof:
    """What client authentication adds to a token request. `secret_texts` must never be shown."""

    headers: dict[str, str] = field(default_factory=dict, repr=False)
    form: dict[str, str] = field(default_factory=dict, repr=False)
    secret_texts: tuple[str, ...] = field(default=(), repr=False)


class ClientAuth(msgspec.Struct, frozen=True):
    """One method: `make_proof` takes the client id and the value that `needs` names (empty: no value)."""

    make_proof: Callable[[str, str], ClientProof]
    needs: str = ""


def basic_proof(client_id: str, client_secret: str) -> ClientProof:
    """Return an HTTP Basic proof: id and secret form-urlencoded (RFC 6749 §2.3.1, appendix B), then base64.

    A blank becomes `%20`, not `+`: form decoders accept both, servers that only decode percent-encoding reject `+`.
    """
    pair = base64.b64encode(f"{quote(client_id, safe='')}:{quote(client_secret, safe='')}".encode()).decode()
    return ClientProof(headers={"Authorization": f"Basic {pair}"}, secret_texts=(*redactions(client_secret), pair))


def post_proof(client_id: str, client_secret: str) -> ClientProof:
    """Return a proof with id and secret in the form (RFC 6749 §2.3.1)."""
    return ClientProof(
        form={"client_id": client_id, "client_secret": client_secret}, secret_texts=redactions(client_secret)
    )


def private_key_jwt_proof(client_id: str, assertion: str) -> ClientProof:
    """Return a proof with a signed assertion in the form (RFC 7523 §2.2), and the optional id (RFC 7521 §4.2)."""
    form = {"client_id": client_id, "client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
    return ClientProof(form=form, secret_texts=redactions(assertion))


def client_id_proof(client_id: str, _nothing: str) -> ClientProof:
    """Return a form with the id only: the certificate of the connection proves it (RFC 8705 §2), or nothing does."""
    return ClientProof(form={"client_id": client_id})


def redactions(secret: str) -> tuple[str, ...]:
    """Return the encodings in which a server may quote the secret."""
    return secret, quote(secret, safe=""), quote_plus(secret)


CLIENT_AUTH = {
    "basic": ClientAuth(basic_proof, "client_secret"),
    "post": ClientAuth(post_proof, "client_secret"),
    "private_key_jwt": ClientAuth(private_key_jwt_proof, "client_assertion"),
    "tls": ClientAuth(client_id_proof),
    "none": ClientAuth(client_id_proof),
}
