"""Credentials as callers send them: Basic and WS-Security."""

import base64
import hashlib

PROFILE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#"


def basic(text: str | bytes, scheme: str = "Basic") -> bytes:
    """Return the value of an Authorization field for `user:password`."""
    data = text.encode() if isinstance(text, str) else text
    return f"{scheme} {base64.b64encode(data).decode()}".encode()


def password_digest(password: str, *, nonce: bytes, created: str) -> str:
    """Return the digest of a UsernameToken (OASIS UsernameToken Profile 1.0 §3.1)."""
    return base64.b64encode(hashlib.sha1(nonce + created.encode() + password.encode()).digest()).decode()
