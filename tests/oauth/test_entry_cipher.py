"""Sealed entries open under their own name and a known key, and in no other case."""

import os

import pytest

from gateway.oauth.stores.entry_cipher import EntryCipher

OLD, NEW = os.urandom(32), os.urandom(32)
NAME, PLAIN = "oic-gateway:1:token:abc", b"what nobody may read"


def test_an_encrypted_entry_decrypts_and_is_not_readable() -> None:
    seal = EntryCipher([NEW])
    encrypted = seal.encrypt(NAME, PLAIN)
    assert PLAIN not in encrypted
    assert seal.decrypt(NAME, encrypted) == PLAIN
    assert seal.decrypt(NAME, seal.encrypt(NAME, b"")) == b""


def test_no_nonce_comes_twice() -> None:
    seal = EntryCipher([NEW])
    assert len({seal.encrypt(NAME, PLAIN)[1:13] for _ in range(5000)}) == 5000


@pytest.mark.parametrize("name", ["oic-gateway:1:secret:abc", "oic-gateway:1:token:abd", "other:1:token:abc", ""])
def test_an_entry_that_was_moved_does_not_open(name: str) -> None:
    seal = EntryCipher([NEW])
    assert seal.decrypt(name, seal.encrypt(NAME, PLAIN)) is None


def test_every_changed_bit_shows() -> None:
    seal = EntryCipher([NEW])
    encrypted = seal.encrypt(NAME, PLAIN)
    for place in range(len(encrypted) * 8):
        changed = bytearray(encrypted)
        changed[place // 8] ^= 1 << place % 8
        assert seal.decrypt(NAME, bytes(changed)) is None, place


def test_nothing_cut_or_lengthened_opens() -> None:
    seal = EntryCipher([NEW])
    encrypted = seal.encrypt(NAME, PLAIN)
    assert not any(seal.decrypt(NAME, encrypted[:length]) for length in range(len(encrypted)))
    assert seal.decrypt(NAME, encrypted + b"\0") is None
    assert seal.decrypt(NAME, PLAIN * 9) is None


def test_the_first_key_encrypts_and_all_decrypt() -> None:
    both = EntryCipher([NEW, OLD])
    assert both.decrypt(NAME, EntryCipher([OLD]).encrypt(NAME, PLAIN)) == PLAIN
    assert EntryCipher([NEW]).decrypt(NAME, both.encrypt(NAME, PLAIN)) == PLAIN
    assert EntryCipher([OLD]).decrypt(NAME, both.encrypt(NAME, PLAIN)) is None


@pytest.mark.parametrize("keys", [[], [b""], [NEW, NEW[:31]], [NEW + b"1"]])
def test_only_keys_of_32_bytes_are_taken(keys: list[bytes]) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        EntryCipher(keys)
