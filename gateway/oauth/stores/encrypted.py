"""A `Store` on a backend: each entry is encrypted under its name, and tokens are encoded in wall time.

The monotonic clock of one process means nothing to another, so every time is written in epoch seconds and converted to
the reader's own clock. An unknown field, which a newer release may add, is ignored; without a known field the entry is
unreadable, and a token is fetched.
"""

import json
from dataclasses import fields
from typing import Any

from gateway.oauth.clock import Clock
from gateway.oauth.lifetime import Token, token_state
from gateway.oauth.store import EntryUnreadable, StoreHealth
from gateway.oauth.stores.backend_interface import Backend, EntryReporter
from gateway.oauth.stores.entry_cipher import EntryCipher

VERSION = 1
"""Version of names and entries: releases with different versions share nothing."""
PREFIX = "oic-gateway"
MAX_SKEW = 60.0
"""Seconds by which a writer's clock may be ahead. If it is ahead by more, one of the two clocks has jumped."""

# The keys of the format, which older releases read and write. A key that ends with `_at` is a time by the monotonic
# clock, one that ends with `_wall` by the wall clock.
_STORED_KEYS = {"usable_until": "dead_at", "usable_until_wall": "dead_wall"}
_TIME_SUFFIXES = ("_at", "_wall")
_MAX_TIME = 1e12  # seconds


class EncryptedStore:
    """Tokens, leases and refresh tokens on `backend`, under `PREFIX:1:KIND:KEY`.

    Tokens and refresh tokens are encrypted. A lease, which holds only its owner and its end, is not. A token that
    cannot be read counts as missing, and stays until it is overwritten: its key may return. A refresh token that cannot
    be read is not missing: another process can read it.
    """

    def __init__(
        self, backend: Backend, *, cipher: EntryCipher, clock: Clock, reporter: EntryReporter, prefix: str = PREFIX
    ) -> None:
        self._backend = backend
        self._cipher = cipher
        self._clock = clock
        self._reporter = reporter
        self._prefix = f"{prefix}:{VERSION}"
        self._reported: dict[str, bytes] = {}  # by name: the last entry that was reported

    async def get_token(self, key: str) -> Token | None:
        """Return the token under `key`, unless it is dead."""
        return (await self._read_token(self._entry_name("token", key)))[0]

    async def put_token(self, key: str, token: Token) -> None:
        """Store a token; a dead one changes nothing."""
        name, now, wall = self._entry_name("token", key), self._clock.monotonic(), self._clock.wall()
        seconds = min(token.usable_until - now, token.usable_until_wall - wall)
        if seconds > 0:
            entry = self._cipher.encrypt(name, encode_token(token, now=now, wall=wall))
            await self._backend.write(name, entry, seconds=seconds)

    async def delete_token(self, key: str, value: str) -> None:
        """Delete the token under `key` if its value is `value`. No two encrypted entries are equal, so comparing them
        compares the tokens.
        """
        name = self._entry_name("token", key)
        token, entry = await self._read_token(name)
        if token is not None and token.value == value:
            await self._backend.delete_if_equal(name, entry)

    async def claim_lease(self, key: str, *, owner: str, seconds: float) -> bool:
        """Claim or extend the lease of `key`."""
        return await self._backend.claim(self._entry_name("lease", key), owner=owner, seconds=seconds)

    async def release_lease(self, key: str, *, owner: str) -> None:
        """Release the lease of `key`."""
        await self._backend.release(self._entry_name("lease", key), owner=owner)

    async def get_refresh_token(self, key: str) -> str | None:
        """Return the refresh token under `key`. Raise EntryUnreadable."""
        name = self._entry_name("secret", key)
        plain, entry = await self._read_entry(name)
        if plain is None and entry is not None:
            raise EntryUnreadable(name)
        return None if plain is None else plain.decode()

    async def put_refresh_token(self, key: str, value: str) -> None:
        """Store a refresh token durably."""
        name = self._entry_name("secret", key)
        await self._backend.write(name, self._cipher.encrypt(name, value.encode()), seconds=None)

    async def delete_refresh_token(self, key: str) -> None:
        """Delete the refresh token under `key`."""
        await self._backend.remove(self._entry_name("secret", key))

    def health(self) -> StoreHealth:
        """Return that the store works: only `FallbackStore` observes failures."""
        return StoreHealth(ok=True, kind=self._backend.kind)

    async def check(self) -> None:
        """Return if the backend can be read and written. Raise StoreDown."""
        await self._backend.check(f"{self._prefix}:check")

    async def close(self) -> None:
        """Close the backend."""
        await self._backend.close()

    def _entry_name(self, kind: str, key: str) -> str:
        return f"{self._prefix}:{kind}:{key}"

    async def _read_token(self, name: str) -> tuple[Token | None, bytes]:
        """Return the token, unless it is dead, and its entry."""
        plain, entry = await self._read_entry(name)
        if plain is None or entry is None:
            return None, entry or b""
        now, wall = self._clock.monotonic(), self._clock.wall()
        try:
            token = decode_token(plain, now=now, wall=wall)
        except (ValueError, RecursionError):
            self._report_unreadable(name, entry)
            return None, entry
        return (None if token_state(token, now=now, wall=wall) == "dead" else token), entry

    async def _read_entry(self, name: str) -> tuple[bytes | None, bytes | None]:
        """Return the plain entry, None if it cannot be read, and the encrypted one, None if there is none."""
        entry = await self._backend.read(name)
        if entry is None:
            return None, None
        plain = self._cipher.decrypt(name, entry)
        if plain is None:
            self._report_unreadable(name, entry)
        return plain, entry

    def _report_unreadable(self, name: str, entry: bytes) -> None:
        """Report each unreadable entry once."""
        if self._reported.get(name) != entry:
            self._reported[name] = entry
            self._reporter.on_unreadable_entry(name)


def encode_token(token: Token, *, now: float, wall: float) -> bytes:
    """Encode a token; `now` (monotonic) and `wall` (epoch) are one moment of the writer's clocks."""
    values = {_stored_key(field.name): getattr(token, field.name) for field in fields(Token)}
    return json.dumps({key: _shift_time(key, value, wall - now) for key, value in values.items()}).encode()


def decode_token(data: bytes, *, now: float, wall: float) -> Token:
    """Decode a token, its times by the reader's clocks. Raise ValueError for data that `encode_token` did not write,
    and for a token that was obtained in the future.

    A token that was obtained shortly after `now`, by its entry, comes from a clock that is ahead by at least as much.
    It counts as obtained now, and its end is that much earlier.
    """
    document = json.loads(data)
    if not isinstance(document, dict):
        raise ValueError("not a token")  # noqa: TRY004 - every unreadable entry is a ValueError
    keys = {field.name: _stored_key(field.name) for field in fields(Token)}
    values = {key: _check_value(key, document.get(key)) for key in keys.values()}
    skew = max(0.0, values["obtained_at"] - wall)
    if skew > MAX_SKEW:
        raise ValueError("obtained in the future")
    return Token(
        **{
            name: values[key] - skew if key.endswith("_wall") else _shift_time(key, values[key], now - wall - skew)
            for name, key in keys.items()
        }
    )


def _stored_key(name: str) -> str:
    return _STORED_KEYS.get(name, name)


def _shift_time(key: str, value: Any, seconds: float) -> Any:
    return value + seconds if key.endswith("_at") else value


def _check_value(key: str, value: Any) -> Any:
    if key.endswith(_TIME_SUFFIXES):
        is_valid = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MAX_TIME
    else:
        is_valid = isinstance(value, str)
    if not is_valid:
        raise ValueError(f"`{key}` is missing or invalid")
    return value
