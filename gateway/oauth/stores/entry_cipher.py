"""Encryption of entries with AES-256-GCM (NIST SP 800-38D), each bound to its name.

An encrypted entry is one byte of version, a nonce of 96 random bits, ciphertext and tag. The name is the associated
data: an entry that is moved to another name cannot be decrypted. Random nonces allow 2³² entries under one key (SP
800-38D section 8.3); at one entry a second that takes 136 years.
"""

import secrets
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_VERSION = b"\x01"
_NONCE_BYTES = 12


class EntryCipher:
    """Encrypts with the first of `keys` (32 bytes each) and decrypts with any. To rotate, put a new key first, and keep
    the old one until no entry needs it.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys or any(len(key) != 32 for key in keys):
            raise ValueError("at least one key is required, each of 32 bytes")
        self._ciphers = tuple(AESGCM(key) for key in keys)

    def encrypt(self, name: str, plain: bytes) -> bytes:
        """Return the encrypted entry of that name; never the same twice."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _VERSION + nonce + self._ciphers[0].encrypt(nonce, plain, name.encode())

    def decrypt(self, name: str, entry: bytes) -> bytes | None:
        """Return the plain entry; None if it was altered, truncated, moved, or encrypted with an unknown key."""
        nonce, ciphertext = entry[1 : 1 + _NONCE_BYTES], entry[1 + _NONCE_BYTES :]
        if entry[:1] != _VERSION or len(nonce) != _NONCE_BYTES:
            return None
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(nonce, ciphertext, name.encode())
            except InvalidTag:
                continue
        return None
