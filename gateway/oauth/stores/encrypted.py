"""A `Store` of a shelf: entries sealed under their names, tokens in wall time."""

from gateway.oauth.clock import Clock
from gateway.oauth.lifetime import Token, state
from gateway.oauth.store import StoreHealth
from gateway.oauth.stores.backend_interface import Backend, EntryReporter
from gateway.oauth.stores.entry_cipher import EntryCipher
from gateway.oauth.stores.token_entry import pack, unpack

VERSION = 1
"""Of names and of what stands under them: releases that do not understand each other share nothing."""
PREFIX = "oic-gateway"


class EncryptedStore:
    """Tokens, leases and refresh tokens on `shelf`, under `PREFIX:1:KIND:KEY`.

    Tokens and refresh tokens are sealed. A lease says only who fetches, and until when, and is not. An entry that
    cannot be read is as good as none, and left where it is until it is overwritten: its key may come back.
    """

    def __init__(
        self, shelf: Backend, *, seal: EntryCipher, clock: Clock, watch: EntryReporter, prefix: str = PREFIX
    ) -> None:
        self._shelf = shelf
        self._seal = seal
        self._clock = clock
        self._watch = watch
        self._prefix = f"{prefix}:{VERSION}"
        self._told: dict[str, bytes] = {}  # by name: the last entry that was said to be unreadable

    async def get(self, key: str) -> Token | None:
        """See `Store`."""
        return (await self._token(self._name("token", key)))[0]

    async def put(self, key: str, token: Token) -> None:
        """See `Store`; a dead token changes nothing."""
        name, now, wall = self._name("token", key), self._clock.monotonic(), self._clock.wall()
        seconds = min(token.dead_at - now, token.dead_wall - wall)
        if seconds > 0:
            await self._shelf.write(name, self._seal.encrypt(name, pack(token, now=now, wall=wall)), seconds=seconds)

    async def drop(self, key: str, value: str) -> None:
        """See `Store`; no two entries are the same bytes, so comparing the sealed ones is comparing the tokens."""
        name = self._name("token", key)
        token, sealed = await self._token(name)
        if token is not None and token.value == value:
            await self._shelf.delete_if_equal(name, sealed)

    async def claim(self, key: str, *, owner: str, seconds: float) -> bool:
        """See `Store`."""
        return await self._shelf.claim(self._name("lease", key), owner=owner, seconds=seconds)

    async def release(self, key: str, *, owner: str) -> None:
        """See `Store`."""
        await self._shelf.release(self._name("lease", key), owner=owner)

    async def secret(self, key: str) -> str | None:
        """See `Store`."""
        name = self._name("secret", key)
        plain, _ = await self._read(name)
        return None if plain is None else plain.decode()

    async def keep_secret(self, key: str, value: str) -> None:
        """See `Store`."""
        name = self._name("secret", key)
        await self._shelf.write(name, self._seal.encrypt(name, value.encode()), seconds=None)

    async def drop_secret(self, key: str) -> None:
        """See `Store`."""
        await self._shelf.remove(self._name("secret", key))

    def health(self) -> StoreHealth:
        """Well, as far as anyone knows: see `Sharing`."""
        return StoreHealth(ok=True, kind=self._shelf.kind)

    async def check(self) -> None:
        """Returns where the shelf can be read and written; raises StoreDown."""
        await self._shelf.check(f"{self._prefix}:check")

    async def close(self) -> None:
        """See `Store`."""
        await self._shelf.close()

    def _name(self, kind: str, key: str) -> str:
        return f"{self._prefix}:{kind}:{key}"

    async def _token(self, name: str) -> tuple[Token | None, bytes]:
        """The token, unless it is dead, and the entry that holds it."""
        plain, sealed = await self._read(name)
        if plain is None:
            return None, sealed
        now, wall = self._clock.monotonic(), self._clock.wall()
        try:
            token = unpack(plain, now=now, wall=wall)
        except (ValueError, RecursionError):
            self._tell(name, sealed)
            return None, sealed
        return (None if state(token, now=now, wall=wall) == "dead" else token), sealed

    async def _read(self, name: str) -> tuple[bytes | None, bytes]:
        sealed = await self._shelf.read(name)
        if sealed is None:
            return None, b""
        plain = self._seal.decrypt(name, sealed)
        if plain is None:
            self._tell(name, sealed)
        return plain, sealed

    def _tell(self, name: str, sealed: bytes) -> None:
        """Once for each entry, however often it is asked for."""
        if self._told.get(name) != sealed:
            self._told[name] = sealed
            self._watch.unreadable(name)
