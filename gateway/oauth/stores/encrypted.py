"""A `Store` on a backend: each entry is encrypted under its name, and tokens are encoded in wall time.

The monotonic clock of one process means nothing to another, so every time is written in epoch seconds and converted to
the reader's own clock. An unknown field, which a newer release may add, is ignored; without a known field the entry is
unreadable, and a token is fetched.
"""

import json
from dataclasses import fields
from typing import Any

from gateway.oauth.clock import Clock
from gateway.oauth.lifetime import Token, state
from gateway.oauth.store import StoreHealth
from gateway.oauth.stores.backend_interface import Backend, EntryReporter
from gateway.oauth.stores.entry_cipher import EntryCipher

VERSION = 1
"""Of names and entries: releases with different versions share nothing."""
PREFIX = "oic-gateway"
MAX_SKEW = 60.0
"""Seconds by which a writer's clock may be ahead. If it is more, one of the two clocks has jumped."""

_TIME_SUFFIXES = ("_at", "_wall")  # of a field's name: a time by the monotonic clock, one by the wall clock
_MAX_TIME = 1e12  # seconds


class EncryptedStore:
    """Tokens, leases and refresh tokens on `backend`, under `PREFIX:1:KIND:KEY`.

    Tokens and refresh tokens are encrypted. A lease, which holds only its owner and its end, is not. An entry that
    cannot be read counts as missing, and stays until it is overwritten: its key may return.
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

    async def get(self, key: str) -> Token | None:
        """Return the token under `key`; never a dead one."""
        return (await self._read_token(self._name("token", key)))[0]

    async def put(self, key: str, token: Token) -> None:
        """Store a token; a dead one changes nothing."""
        name, now, wall = self._name("token", key), self._clock.monotonic(), self._clock.wall()
        seconds = min(token.dead_at - now, token.dead_wall - wall)
        if seconds > 0:
            entry = self._cipher.encrypt(name, encode_token(token, now=now, wall=wall))
            await self._backend.write(name, entry, seconds=seconds)

    async def drop(self, key: str, value: str) -> None:
        """Delete the token under `key` if its value is `value`. No two encrypted entries are equal, so comparing them
        compares the tokens.
        """
        name = self._name("token", key)
        token, entry = await self._read_token(name)
        if token is not None and token.value == value:
            await self._backend.delete_if_equal(name, entry)

    async def claim(self, key: str, *, owner: str, seconds: float) -> bool:
        """Claim or extend the lease of `key`."""
        return await self._backend.claim(self._name("lease", key), owner=owner, seconds=seconds)

    async def release(self, key: str, *, owner: str) -> None:
        """Release the lease of `key`."""
        await self._backend.release(self._name("lease", key), owner=owner)

    async def secret(self, key: str) -> str | None:
        """Return the refresh token under `key`."""
        plain, _ = await self._read(self._name("secret", key))
        return None if plain is None else plain.decode()

    async def keep_secret(self, key: str, value: str) -> None:
        """Store a refresh token durably."""
        name = self._name("secret", key)
        await self._backend.write(name, self._cipher.encrypt(name, value.encode()), seconds=None)

    async def drop_secret(self, key: str) -> None:
        """Delete the refresh token under `key`."""
        await self._backend.remove(self._name("secret", key))

    def health(self) -> StoreHealth:
        """Return that the store works; `FallbackStore` knows better."""
        return StoreHealth(ok=True, kind=self._backend.kind)

    async def check(self) -> None:
        """Return if the backend can be read and written. Raise StoreDown."""
        await self._backend.check(f"{self._prefix}:check")

    async def close(self) -> None:
        """Close the backend."""
        await self._backend.close()

    def _name(self, kind: str, key: str) -> str:
        return f"{self._prefix}:{kind}:{key}"

    async def _read_token(self, name: str) -> tuple[Token | None, bytes]:
        """Return the token, unless it is dead, and its entry."""
        plain, entry = await self._read(name)
        if plain is None:
            return None, entry
        now, wall = self._clock.monotonic(), self._clock.wall()
        try:
            token = decode_token(plain, now=now, wall=wall)
        except (ValueError, RecursionError):
            self._report(name, entry)
            return None, entry
        return (None if state(token, now=now, wall=wall) == "dead" else token), entry

    async def _read(self, name: str) -> tuple[bytes | None, bytes]:
        entry = await self._backend.read(name)
        if entry is None:
            return None, b""
        plain = self._cipher.decrypt(name, entry)
        if plain is None:
            self._report(name, entry)
        return plain, entry

    def _report(self, name: str, entry: bytes) -> None:
        """Report each unreadable entry once."""
        if self._reported.get(name) != entry:
            self._reported[name] = entry
            self._reporter.unreadable(name)


def encode_token(token: Token, *, now: float, wall: float) -> bytes:
    """Encode a token; `now` (monotonic) and `wall` (epoch) are one moment of the writer's clocks."""
    values = {field.name: getattr(token, field.name) for field in fields(Token)}
    return json.dumps({name: _shift(name, value, wall - now) for name, value in values.items()}).encode()


def decode_token(data: bytes, *, now: float, wall: float) -> Token:
    """Decode a token, its times by the reader's clocks. Raise ValueError for data that `encode_token` did not write,
    and for a token that was obtained in the future.

    A token that seems obtained shortly after `now` comes from a clock that is ahead by at least as much: it counts as
    obtained now, and ends so much earlier.
    """
    document = json.loads(data)
    if not isinstance(document, dict):
        raise ValueError("not a token")  # noqa: TRY004 - every unreadable entry is a ValueError
    values = {field.name: _checked(field.name, document.get(field.name)) for field in fields(Token)}
    skew = max(0.0, values["obtained_at"] - wall)
    if skew > MAX_SKEW:
        raise ValueError("obtained in the future")
    return Token(
        **{
            name: value - skew if name.endswith("_wall") else _shift(name, value, now - wall - skew)
            for name, value in values.items()
        }
    )


def _shift(name: str, value: Any, seconds: float) -> Any:
    return value + seconds if name.endswith("_at") else value


def _checked(name: str, value: Any) -> Any:
    if name.endswith(_TIME_SUFFIXES):
        is_valid = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MAX_TIME
    else:
        is_valid = isinstance(value, str)
    if not is_valid:
        raise ValueError(f"`{name}` is missing or invalid")
    return value
