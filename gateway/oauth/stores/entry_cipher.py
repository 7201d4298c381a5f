"""Entries sealed with AES-256-GCM (NIST SP 800-38D), each bound to its name.

A sealed entry is one byte of version, a nonce of 96 random bits, ciphertext and tag. The name is the associated data:
an entry that is moved under another name does not open. A random nonce is good for 2³² entries under one key (SP
800-38D §8.3); a gateway that writes one a second takes 136 years for them.
"""

import secrets
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_VERSION = b"\x01"
_NONCE = 12


class EntryCipher:
    """Seals with the first of `keys` (32 bytes each) and opens with any: a new key goes first until nothing is left
    that the old one sealed.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys or any(len(key) != 32 for key in keys):
            raise ValueError("keys of 32 bytes are needed, one at least")
        self._ciphers = tuple(AESGCM(key) for key in keys)

    def encrypt(self, name: str, plain: bytes) -> bytes:
        """The sealed entry of that name; never twice the same."""
        nonce = secrets.token_bytes(_NONCE)
        return _VERSION + nonce + self._ciphers[0].encrypt(nonce, plain, name.encode())

    def decrypt(self, name: str, sealed: bytes) -> bytes | None:
        """What was sealed under this name; None for anything else: tampered with, cut, moved, of an unknown key."""
        nonce, text = sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :]
        if sealed[:1] != _VERSION or len(nonce) != _NONCE:
            return None
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(nonce, text, name.encode())
            except InvalidTag:
                continue
        return None
